"""Writing tables: CSV is what Python's own writer writes, however fast it is written."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from kling_ledger.tabular.cells import cell_text, guarded
from kling_ledger.tabular.writing import frame_writer

CELLS = st.one_of(
    st.text(alphabet='ab,;"\n\t =+-@1.лес\x00\u2028', max_size=6),
    st.sampled_from([None, True, False, 1, -1.5, Decimal("1.50"), [1, "a,b"], {"a": '"'}]),
)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_csv_is_written_as_pythons_own_writer_writes_it(rows: list[tuple[Any, Any]]) -> None:
    columns = {"a,b": [row[0] for row in rows], "=c": [row[1] for row in rows]}
    frame = pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})
    assert written(frame) == by_python(columns)


@given(st.lists(st.sampled_from(["", "a", 'say "hi"', "=1+1", "-1", "x,y", None]), min_size=1))
def test_a_column_of_few_words_is_written_as_any_other(cells: list[str | None]) -> None:
    frame = pd.DataFrame({"a": pd.Categorical(cells), "b": "x"})
    assert written(frame) == by_python({"a": cells, "b": ["x"] * len(cells)})


def test_what_ends_lines_elsewhere_stays_within_its_cell() -> None:
    text = written(pd.DataFrame({"a": ["x\ry", "x\r\ny"], "b": ["1", "2"]}))
    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert read == [["a", "b"], ["x\ry", "1"], ["x\r\ny", "2"]]


def test_whole_numbers_of_a_column_with_blanks_stay_whole() -> None:
    frame = pd.DataFrame(
        {
            "seconds": pd.array([5.0, 5.5, None], dtype="Float64"),
            "micro": pd.array([2**53 + 1, None, -7], dtype="Int64"),
        }
    )
    assert written(frame) == "seconds,micro\n5,9007199254740993\n5.5,\n,-7\n"


def written(frame: pd.DataFrame) -> str:
    text = io.StringIO(newline="")
    with frame_writer(text, "csv") as write:
        write(frame)
    return text.getvalue()


def by_python(columns: dict[str, list[Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([guarded(name) for name in columns])
    cells = [[guarded(cell_text(cell)) for cell in values] for values in columns.values()]
    writer.writerows(zip(*cells, strict=True))
    return text.getvalue()
