"""Writing: rows as CSV, lines of JSON, a JSON list or Parquet, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from kling_ledger.tabular.cells import csv_text, json_text
from kling_ledger.tabular.files import Kind, whole_file
from kling_ledger.tabular.parquet_table import pyarrow_or_refuse

if TYPE_CHECKING:
    import pandas as pd

Columns = Mapping[str, Sequence[Any]]
"""Some rows by column; all columns have the same length."""

WriteColumns = Callable[[Columns], None]
WriteFrame = Callable[["pd.DataFrame"], None]


@contextmanager
def frame_file(path: Path, kind: Kind) -> Iterator[WriteFrame]:
    """Write frames to a file, which appears whole at the end or not at all.

    Every frame has the columns of the first. Raises ConfigError if it cannot be written.
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
        yield _csv_of_frames(file)
        return
    with _OBJECTS[kind](file) as write:
        yield lambda frame: write(columns_of(frame))


def _csv_of_frames(file: IO[str]) -> WriteFrame:
    """Return a writer of frames as CSV: each distinct cell is quoted only once."""
    from kling_ledger.tabular.frames import columns_of

    is_begun = False

    def write(frame: pd.DataFrame) -> None:
        nonlocal is_begun
        columns = columns_of(frame, written=csv_text)
        if not is_begun:
            file.write(",".join(map(csv_text, columns)) + "\n")
            is_begun = True
        lines = map(",".join, zip(*columns.values(), strict=True))
        file.writelines(f"{line}\n" for line in lines)

    return write


@contextmanager
def jsonl_writer(file: IO[str]) -> Iterator[WriteColumns]:
    """Write one JSON object per line."""

    def write(columns: Columns) -> None:
        file.writelines(f"{line}\n" for line in _objects(columns))

    yield write


@contextmanager
def json_writer(file: IO[str]) -> Iterator[WriteColumns]:
    """Write one list of JSON objects, one per line."""
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


_OBJECTS: Final = {"jsonl": jsonl_writer, "json": json_writer}
