"""Writing: rows as CSV, lines of JSON, a JSON list or Parquet, a chunk at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from kling_ledger.tabular.cells import csv_cell, guarded, json_text
from kling_ledger.tabular.files import Kind, whole_file
from kling_ledger.tabular.parquet_table import pyarrow_or_refuse

if TYPE_CHECKING:
    import pandas as pd

Columns = Mapping[str, Sequence[Any]]
"""Some rows by column, all columns of one length."""

WriteColumns = Callable[[Columns], None]
WriteFrame = Callable[["pd.DataFrame"], None]


@contextmanager
def frame_file(path: Path, kind: Kind) -> Iterator[WriteFrame]:
    """Write frames to a file, which appears whole at the end or not at all.

    Every frame has the columns of the first. Raises ConfigError where it cannot be written.
    """
    writer = _parquet_writer if kind == "parquet" else partial(_text_writer, kind=kind)
    with whole_file(path) as beside, writer(beside) as write:
        yield write


@contextmanager
def _text_writer(path: Path, *, kind: Kind) -> Iterator[WriteFrame]:
    with path.open("w", encoding="utf-8", newline="") as file, frame_writer(file, kind) as write:
        yield write


@contextmanager
def frame_writer(file: IO[str], kind: Kind) -> Iterator[WriteFrame]:
    """Write frames as text of a kind to an open file."""
    from kling_ledger.tabular.frames import columns_of

    if kind == "csv":
        with _csv_lines(file) as write_cells:
            yield lambda frame: write_cells(columns_of(frame, written=csv_cell))
        return
    with _TEXTS[kind](file) as write:
        yield lambda frame: write(columns_of(frame))


@contextmanager
def csv_writer(file: IO[str]) -> Iterator[WriteColumns]:
    """Write CSV with a header, in which no text is taken for a formula."""
    with _csv_lines(file) as write:
        yield lambda columns: write(
            {name: list(map(csv_cell, values)) for name, values in columns.items()}
        )


@contextmanager
def _csv_lines(file: IO[str]) -> Iterator[WriteColumns]:
    """Write CSV of cells that are what they are to be already."""
    writer = csv.writer(file, lineterminator="\n")
    is_begun = False

    def write(columns: Columns) -> None:
        nonlocal is_begun
        if not is_begun:
            writer.writerow([guarded(name) for name in columns])
            is_begun = True
        writer.writerows(zip(*columns.values(), strict=True))

    yield write


@contextmanager
def jsonl_writer(file: IO[str]) -> Iterator[WriteColumns]:
    """Write one JSON object a line."""

    def write(columns: Columns) -> None:
        file.writelines(f"{line}\n" for line in _objects(columns))

    yield write


@contextmanager
def json_writer(file: IO[str]) -> Iterator[WriteColumns]:
    """Write one list of JSON objects, one a line."""
    mark = "[\n"

    def write(columns: Columns) -> None:
        nonlocal mark
        for line in _objects(columns):
            file.write(f"{mark}  {line}")
            mark = ",\n"

    yield write
    file.write("\n]\n" if mark == ",\n" else "[]\n")


def _objects(columns: Columns) -> Iterator[str]:
    names = list(columns)
    for row in zip(*columns.values(), strict=True):
        yield json_text(dict(zip(names, row, strict=True)))


@contextmanager
def _parquet_writer(path: Path) -> Iterator[WriteFrame]:
    from kling_ledger.tabular.frames import storable

    arrow = pyarrow_or_refuse()
    writer: Any = None

    def write(frame: pd.DataFrame) -> None:
        nonlocal writer
        schema = None if writer is None else writer.schema
        table = arrow.Table.from_pandas(storable(frame), schema=schema, preserve_index=False)
        table = table.replace_schema_metadata(None)
        writer = writer or arrow.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


_TEXTS: Final = {"csv": csv_writer, "jsonl": jsonl_writer, "json": json_writer}
