"""One reader of files of rows: the same rules, whatever the rows are about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kling_ledger.errors import ConfigError
from kling_ledger.tabular import table
from kling_ledger.tabular.reading import open_table
from kling_ledger.tabular.table import Row, whole


def rows(folder: Path, text: str | bytes, name: str = "rows", **options: Any) -> list[Row]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with open_table(path, **options) as opened:
        return list(opened.rows())


def cells(folder: Path, text: str | bytes, name: str = "rows", **options: Any) -> list[Any]:
    return [dict(row.cells) for row in rows(folder, text, name, **options)]


def refusal(folder: Path, text: str | bytes, name: str = "rows", **options: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        rows(folder, text, name, **options)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a,b\n1,x\n", "rows.csv"),
        ("a;b\r\n1;x\r\n", "rows.txt"),
        ("\ufeffa\tb\n1\tx", "-rows"),
        ('{"a": "1", "b": "x"}\n\n', "rows.jsonl"),
        ('[{"a": "1", "b": "x"}]', "rows.json"),
        ('\ufeff[\n{"a": "1",\n"b": "x"}]', "rows.csv"),
        ('{"a": "1", "b": "x"}', "rows.csv"),
    ],
)
def test_the_content_says_what_kind_of_file_it_is(tmp_path: Path, text: str, name: str):
    assert cells(tmp_path, text, name) == [{"a": "1", "b": "x"}]


def test_parquet_gives_its_own_types_and_no_blank_cells(tmp_path: Path):
    pd.DataFrame({"a": [1, 2], "b": ["x", None]}).to_parquet(tmp_path / "a.parquet")
    found = rows(tmp_path, (tmp_path / "a.parquet").read_bytes())
    assert found == [Row("row 1", {"a": 1, "b": "x"}), Row("row 2", {"a": 2})]


def test_a_row_knows_its_line_though_a_cell_has_lines_of_its_own(tmp_path: Path):
    found = rows(tmp_path, 'a,b\n\n1,"x\ny"\n2,z\n')
    assert [row.place for row in found] == ["line 4", "line 5"]


def test_a_line_of_json_may_hold_what_ends_lines_elsewhere(tmp_path: Path):
    text = json.dumps({"a": "one\u2028two\x85three"}, ensure_ascii=False)
    assert cells(tmp_path, text + "\n" + text) == [{"a": "one\u2028two\x85three"}] * 2


def test_a_row_that_is_none_does_not_end_the_others(tmp_path: Path):
    found = rows(tmp_path, "a,b\n1\n1,2\n1,2,3\n")
    assert [row.problem for row in found] == [
        "1 cells under a header of 2",
        None,
        "3 cells under a header of 2",
    ]
    found = rows(tmp_path, '{"a": 1}\n{"a"\n[]\n{"a": 2}', "rows.jsonl")
    assert [row.problem is None for row in found] == [True, False, False, True]


def test_whoever_wants_whole_rows_is_told_the_first_that_is_none(tmp_path: Path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n1\n")
    with open_table(tmp_path / "rows.csv") as opened:
        with pytest.raises(ConfigError, match="line 3: 1 cells under a header of 2"):
            list(whole(opened))
        with pytest.raises(ConfigError, match="line 3"):
            list(opened.frames())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "the key a is written twice"),
        ('{"a": {"b": 1, "b": 1}}', "the key b is written twice"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", "nested too deep"),
        ('{"a": ' + "[" * 100_000, "nested too deep"),
    ],
)
def test_what_json_leaves_open_is_refused(tmp_path: Path, text: str, said: str):
    [row] = rows(tmp_path, text)
    assert said in (row.problem or "")


@pytest.mark.parametrize("text", ["a,a\n1,2\n", "a, a \n1,2\n", "a,,\n1,,\n"])
def test_a_column_is_there_once(tmp_path: Path, text: str):
    assert "is there twice" in refusal(tmp_path, text)


@pytest.mark.parametrize("text", [b"", b"\xef\xbb\xbf", b" \n\n", b"\t\r\n"])
def test_a_file_with_nothing_in_it_is_no_table_without_rows(tmp_path: Path, text: bytes):
    assert "the file is empty" in refusal(tmp_path, text)
    assert "the file is empty" in refusal(tmp_path, text, "rows.jsonl")


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_what_is_no_utf_8_is_refused_as_a_whole(tmp_path: Path, name: str):
    assert "utf-8" in refusal(tmp_path, b"a,b\n\xff,1\n", name)


def test_a_quote_that_never_ends_is_refused(tmp_path: Path):
    assert "this is no CSV" in refusal(tmp_path, 'a,b\n1,"x')


def test_numbers_keep_every_digit_where_it_is_asked_for(tmp_path: Path):
    text = '[{"a": 9007199254.7409930, "b": 5}]'
    assert cells(tmp_path, text, number=str) == [{"a": "9007199254.7409930", "b": 5}]


def test_only_who_asks_for_it_gets_the_list_in_an_envelope(tmp_path: Path):
    text = '{"total": 1, "lines": [{"a": 1}]}'
    assert cells(tmp_path, text, envelope=True) == [{"a": 1}]
    assert cells(tmp_path, text) == [{"total": 1, "lines": [{"a": 1}]}]
    two = '{"x": [], "lines": [{"a": 1}]}'
    assert cells(tmp_path, two, envelope=True) == [json.loads(two)]


def test_lines_that_are_named_so_are_read_as_lines_unless_the_name_says_nothing(tmp_path: Path):
    [row] = rows(tmp_path, '[{"a": 1}]', "rows.jsonl")
    assert (row.place, row.problem) == ("line 1", "this is no JSON object")
    assert cells(tmp_path, '[{"a": 1}]', "rows.jsonl", trusts_name=False) == [{"a": 1}]


@pytest.mark.parametrize("text", ["a,b\n1,x\n2,y\n3,z\n", '{"a": 1}\n{"b": 2}\n{"a": 3}'])
def test_frames_have_the_rows_in_their_order_however_many_at_a_time(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "rows").write_text(text)
    with open_table(tmp_path / "rows") as opened:
        [at_once] = opened.frames()
    monkeypatch.setattr(table, "CHUNK_ROWS", 2)
    with open_table(tmp_path / "rows") as opened:
        parts = list(opened.frames())
        assert opened.share() == 1
    assert list(map(len, parts)) == [2, 1]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), at_once)
