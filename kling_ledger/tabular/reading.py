"""Reading: opens any file of rows, whether CSV, JSON, lines of JSON or Parquet.

The same rules apply to all rows: columns and keys appear at most once; every CSV row is as wide as
its header; only empty rows are skipped. Text is UTF-8, UTF-16 or UTF-32; CSV may also have the
encodings of western and Chinese spreadsheets.
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
    """Open a file of rows, or standard input for `-`; or read `content`, with `name` for errors.

    Raises ConfigError for a file that cannot be opened, is empty or has no rows.
    """
    suffix = Path(name).suffix
    with opened(str(name)) if content is None else nullcontext(content) as file:
        kind = kind_by_content(file, suffix=suffix)
        if kind == "parquet":
            yield ParquetTable(file, str(name))
            return
        # JSON is always UTF-8: a line that is not is reported by itself.
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
    """Refuse an empty file: a truncated one must not pass for a table without rows."""
    blocks = iter(partial(file.read, 1 << 20), b"")
    if not any(block.removeprefix(BYTE_ORDER_MARK).strip() for block in blocks):
        raise ConfigError(f"{name}: the file is empty", hint="a table needs a line of column names")
    file.seek(0)
