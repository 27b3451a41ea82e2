"""Reading: the one door to a file of rows, be it CSV, JSON, lines of JSON or Parquet.

The same rules hold whatever the rows are about: UTF-8, with a byte order mark or without; columns
and keys at most once; every row of CSV as wide as its header; no row is ever skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kling_ledger.errors import ConfigError
from kling_ledger.tabular.csv_table import CsvTable
from kling_ledger.tabular.files import BYTE_ORDER_MARK, kind_by_content, opened
from kling_ledger.tabular.json_table import JsonLines, ReadNumber, read_document, read_envelope
from kling_ledger.tabular.parquet_table import ParquetTable
from kling_ledger.tabular.table import Table


@contextmanager
def open_table(
    name: str | Path,
    *,
    number: ReadNumber = float,
    envelope: bool = False,
    trusts_name: bool = True,
) -> Iterator[Table]:
    """Open a file of rows, or standard input for `-`.

    `number` reads a JSON number with a point: `str` keeps every digit of an amount, `float` is what
    goes on as JSON. With `envelope` the rows may be the only list within an object. Without
    `trusts_name` only the content says what kind of file it is, and not its extension.
    Raises ConfigError for a file that cannot be opened, is empty or is no file of rows.
    """
    with opened(str(name)) as file:
        _refuse_empty(file, str(name))
        suffix = Path(name).suffix if trusts_name else ""
        yield _table(file, str(name), suffix=suffix, number=number, envelope=envelope)


def _table(file: IO[bytes], name: str, *, suffix: str, number: ReadNumber, envelope: bool) -> Table:
    kind = kind_by_content(file, suffix=suffix)
    if kind == "csv":
        return CsvTable(file, name)
    if kind == "parquet":
        return ParquetTable(file, name)
    if kind == "json":
        return read_document(file, name, number=number)
    if envelope:
        return read_envelope(file, name, number=number)
    return JsonLines(file, name, number=number)


def _refuse_empty(file: IO[bytes], name: str) -> None:
    """Refuse a file with nothing in it: what was cut off must not pass for a table of no rows."""
    for line in file:
        if line.removeprefix(BYTE_ORDER_MARK).strip():
            file.seek(0)
            return
    raise ConfigError(f"{name}: the file is empty", hint="a table has at least its columns")
