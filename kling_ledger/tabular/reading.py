"""Reading: the one door to a file of rows, be it CSV, JSON, lines of JSON or Parquet.

The same rules hold whatever the rows are about: columns and keys at most once; every row of CSV as
wide as its header; no row that says anything is ever skipped. Text is UTF-8, UTF-16 or UTF-32; CSV
may be what spreadsheets of the west and of China write too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO

from kling_ledger.errors import ConfigError
from kling_ledger.tabular.csv_table import CsvTable
from kling_ledger.tabular.encodings import encoding_of, in_utf8
from kling_ledger.tabular.files import BYTE_ORDER_MARK, Kind, kind_by_content, opened
from kling_ledger.tabular.json_table import JsonDocument, JsonLines
from kling_ledger.tabular.parquet_table import ParquetTable
from kling_ledger.tabular.table import Table


@contextmanager
def open_table(name: str | Path, content: IO[bytes] | None = None) -> Iterator[Table]:
    """Open a file of rows, or standard input for `-`; or read `content`, which is called so.

    Raises ConfigError for a file that cannot be opened, is empty or is no file of rows.
    """
    suffix = Path(name).suffix
    with opened(str(name)) if content is None else nullcontext(content) as file:
        kind = kind_by_content(file, suffix=suffix)
        if kind == "parquet":
            yield ParquetTable(file, str(name))
            return
        # JSON is UTF-8 by its own rules: of a line that is not, its row is told.
        encoding = encoding_of(file, guesses=kind == "csv")
        with in_utf8(file, str(name), encoding) as text:
            _refuse_empty(text, str(name))
            table = _table(text, str(name), kind_by_content(text, suffix=suffix))
            table.encoding = encoding
            yield table


def _table(file: IO[bytes], name: str, kind: Kind) -> Table:
    if kind == "csv":
        return CsvTable(file, name)
    return JsonDocument(file, name) if kind == "json" else JsonLines(file, name)


def _refuse_empty(file: IO[bytes], name: str) -> None:
    """Refuse a file with nothing in it: what was cut off must not pass for a table of no rows."""
    blocks = iter(partial(file.read, 1 << 20), b"")
    if not any(block.removeprefix(BYTE_ORDER_MARK).strip() for block in blocks):
        raise ConfigError(f"{name}: the file is empty", hint="a table needs a line of column names")
    file.seek(0)
