"""Writing a priced manifest: printed, or as a CSV, JSONL or Parquet file.

An output file appears whole or not at all: it is written beside its place and moved there at the
end.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kling_ledger.cli.output import _cell as safe_cell
from kling_ledger.cli.output import print_table, say
from kling_ledger.errors import ConfigError
from kling_ledger.manifests.reading import KINDS, Row, pyarrow_or_refuse
from kling_pricing.money import from_micro, plain

TABLE_ROWS: Final = 1_000
"""How many rows a table for people shows; a file or another format has them all."""

IN_UNITS: Final = {
    "amount_micro": "amount",
    "low_micro": "low",
    "expected_micro": "expected",
    "usd_micro": "usd",
}
"""The columns of millionths, and what they are called once they are plain decimals."""

Write = Callable[[pd.DataFrame], None]
"""Writes the next rows."""


def sink_for(out: str | None, form: str, name: str) -> AbstractContextManager[Write]:
    """Write to a file by its extension, or print; `name` is what must not be written over."""
    if out is None:
        return _PRINTERS[form](sys.stdout)
    path = Path(out)
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"{out}: got {path.suffix}, allowed: .csv, .jsonl or .parquet")
    if path.exists() and name != "-" and path.samefile(name):
        raise ConfigError(f"{out}: this is the manifest itself: name another file")
    return _file_sink(path, kind)


@contextmanager
def _file_sink(path: Path, kind: str) -> Iterator[Write]:
    try:
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    try:
        with _FILES[kind](Path(beside)) as write:
            yield write
        Path(beside).chmod(0o666 & ~_umask())
        Path(beside).replace(path)
    finally:
        Path(beside).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _text_file(
    path: Path, *, sink: Callable[[Any], AbstractContextManager[Write]]
) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file, sink(file) as write:
        yield write


@contextmanager
def _csv_sink(file: Any) -> Iterator[Write]:
    writer = csv.writer(file, lineterminator="\n")
    is_begun = False

    def write(frame: pd.DataFrame) -> None:
        nonlocal is_begun
        shown = in_units(frame)
        if not is_begun:
            writer.writerow([safe_cell(name) for name in shown.columns])
            is_begun = True
        cells = [[safe_cell(_plain(value)) for value in _cells(shown[name])] for name in shown]
        writer.writerows(zip(*cells, strict=True))

    yield write


@contextmanager
def _jsonl_sink(file: Any) -> Iterator[Write]:
    def write(frame: pd.DataFrame) -> None:
        file.writelines(_json(row) + "\n" for row in rows_of(in_units(frame)))

    yield write


@contextmanager
def _json_sink(file: Any) -> Iterator[Write]:
    mark = "[\n"

    def write(frame: pd.DataFrame) -> None:
        nonlocal mark
        for row in rows_of(in_units(frame)):
            file.write(f"{mark}  {_json(row)}")
            mark = ",\n"

    yield write
    file.write("\n]\n")


@contextmanager
def _table_sink(file: Any) -> Iterator[Write]:  # noqa: ARG001
    shown: list[Row] = []
    rows = 0

    def write(frame: pd.DataFrame) -> None:
        nonlocal rows
        rows += len(frame)
        shown.extend(rows_of(in_units(frame.head(TABLE_ROWS - len(shown)))))

    yield write
    if shown:
        print_table(shown, _worth_showing(shown))
    if rows > len(shown):
        say(f"the first {len(shown)} of {rows} rows; --out FILE or --format csv has them all")


def _worth_showing(rows: Sequence[Row]) -> list[str]:
    """Return the columns that tell a person something: a range only where there is one."""
    used = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    if any(row["low"] != row["amount"] for row in rows):
        return used
    return [name for name in used if name not in {"low", "expected"}]


@contextmanager
def _parquet_sink(path: Path) -> Iterator[Write]:
    arrow = pyarrow_or_refuse()
    writer: Any = None

    def write(frame: pd.DataFrame) -> None:
        nonlocal writer
        schema = None if writer is None else writer.schema
        table = arrow.Table.from_pandas(_storable(frame), schema=schema, preserve_index=False)
        table = table.replace_schema_metadata(None)
        writer = writer or arrow.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


_PRINTERS: Final[Mapping[str, Callable[[Any], AbstractContextManager[Write]]]] = {
    "csv": _csv_sink,
    "json": _json_sink,
    "table": _table_sink,
}
_FILES: Final[Mapping[str, Callable[[Path], AbstractContextManager[Write]]]] = {
    "csv": partial(_text_file, sink=_csv_sink),
    "jsonl": partial(_text_file, sink=_jsonl_sink),
    "parquet": _parquet_sink,
}


def in_units(frame: pd.DataFrame) -> pd.DataFrame:
    """Replace millionths by amounts in plain decimal text."""
    texts = {
        name: pd.Series(_as_text(frame[name]), dtype=object, index=frame.index)
        for name in IN_UNITS
        if name in frame.columns
    }
    return frame.assign(**texts).rename(columns=IN_UNITS)


def _as_text(amounts: pd.Series[Any]) -> list[str | None]:
    text_of = {micro: plain(from_micro(int(micro))) for micro in amounts.dropna().unique().tolist()}
    return [text_of.get(micro) for micro in amounts.tolist()]


def _storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Give every column one type that a Parquet file knows: text, where it is not clear."""
    loose = [
        str(name)
        for name, dtype in frame.dtypes.items()
        if pd.api.types.is_object_dtype(dtype) or isinstance(dtype, pd.CategoricalDtype)
    ]
    texts = {
        name: pd.Series(
            [None if cell is None else str(_plain(cell)) for cell in _cells(frame[name])],
            dtype="string",
            index=frame.index,
        )
        for name in loose
    }
    return frame.assign(**texts)


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """Return the rows of a table with Python values; None for a blank."""
    names = list(frame.columns)
    columns = (_cells(frame[name]) for name in names)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _cells(column: pd.Series[Any]) -> list[Any]:
    """Return a column as Python values; None for a blank, whole seconds as an int."""
    loose = column.astype(object)
    cells = loose.where(column.notna(), None).tolist()
    if column.dtype == "Float64":
        return [int(cell) if cell is not None and cell == int(cell) else cell for cell in cells]
    return cells


def _plain(value: object) -> object:
    """Write a value as one cell of text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list, tuple)):
        return _json(value)
    return plain(value) if isinstance(value, Decimal) else value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_other)


def _other(value: object) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value)
