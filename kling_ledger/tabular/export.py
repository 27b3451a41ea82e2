"""Export: a file of rows from another program, with everything that such programs add around them.

Its text may be in any encoding; its table may begin below other lines, be on one of several sheets
of a workbook, or anywhere in a JSON document. The caller says which columns are known, and gets
every table that may be the right one. All cells are text, as written.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from kling_ledger.errors import ConfigError
from kling_ledger.tabular import xlsx
from kling_ledger.tabular.cells import Written
from kling_ledger.tabular.encodings import Text, text_of
from kling_ledger.tabular.files import opened
from kling_ledger.tabular.grids import Knows, Line, lines_of_text, table_of, trimmed
from kling_ledger.tabular.json_lists import (
    cell_of,
    error_in,
    flat,
    lists_in,
    tells_of_more,
    texts_in,
)
from kling_ledger.tabular.json_table import JsonLines, parse_json
from kling_ledger.tabular.parquet_table import ParquetTable
from kling_ledger.tabular.table import Row, whole

_OTHERS: Final[Mapping[bytes, str]] = {
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "a workbook of the old kind (.xls)",
    b"\x1f\x8b": "a compressed file",
}
"""Files that are not tables, by how they begin."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table of an export: its columns and its rows, whose cells are all text.

    `name` says where it is in the file; it is empty if the file is the table. `above` are the lines
    above it, `beside` other texts of the document. `encoding` is None if only the ASCII part is
    certain. `is_part` says that the file mentions more rows than it has: it is one page of several.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Row]
    above: Sequence[str] = ()
    beside: Sequence[str] = ()
    encoding: str | None = "utf-8"
    is_part: bool = False


def read_export(
    path: Path,
    *,
    knows: Knows,
    is_chinese: Callable[[str], bool],
    encoding: str | None = None,
) -> list[Sheet]:
    """Read every table of an export that may be the right one: those with the most known columns.

    `encoding` is what the user says; `is_chinese` decides whether decoded text makes sense.
    ConfigError for a file that cannot be opened, is empty, or has no rows.
    """
    with opened(str(path)) as file:
        start = file.read(len(xlsx.SIGNATURE))
        file.seek(0)
        _refuse_others(start, str(path))
        if start == xlsx.SIGNATURE:
            sheets = list(_of_workbook(file, str(path), knows))
        elif start == b"PAR1":
            sheets = [_of_parquet(file, str(path))]
        else:
            text = text_of(file.read(), str(path), said=encoding, is_chinese=is_chinese)
            sheets = list(_of_text(text, str(path), knows))
    most = max((knows(sheet.columns) for sheet in sheets), default=0)
    return [sheet for sheet in sheets if knows(sheet.columns) == most]


def _refuse_others(start: bytes, name: str) -> None:
    for signature, what in _OTHERS.items():
        if start.startswith(signature):
            raise ConfigError(f"{name}: this is {what}", hint="export it as CSV, XLSX or JSON")


def _of_workbook(file: IO[bytes], name: str, knows: Knows) -> Iterator[Sheet]:
    for title, lines in xlsx.read_workbook(file, name):
        columns, rows, above = table_of(lines, name, knows=knows, is_sparse=True)
        yield Sheet(title, columns, rows, above=above)


def _of_parquet(file: IO[bytes], name: str) -> Sheet:
    table = ParquetTable(file, name)
    return _of_rows("", list(table.rows()), table.columns)


def _of_text(text: Text, name: str, knows: Knows) -> Iterator[Sheet]:
    first = trimmed(text.text)[:1]
    if not first:
        raise ConfigError(f"{name}: the file is empty", hint="a table needs a line of column names")
    if first == "<":
        raise ConfigError(f"{name}: this is a web page", hint="export it as CSV, XLSX or JSON")
    if first in "{[":
        sheets = _of_json(text.text, name, knows)
    else:
        lines = lines_of_text(text.text, name, knows=knows)
        columns, rows, above = table_of(lines, name, knows=knows)
        sheets = [Sheet("", columns, rows, above=above)]
    yield from (replace(sheet, encoding=text.encoding) for sheet in sheets)


def _of_json(text: str, name: str, knows: Knows) -> list[Sheet]:
    try:
        document = parse_json(text, Written)
    except json.JSONDecodeError as error:
        if trimmed(text).startswith("["):
            raise ConfigError(f"{name}: line {error.lineno}: not JSON: {error}") from None
        lines = JsonLines(io.BytesIO(text.encode("utf-8", "surrogatepass")), name, number=Written)
        return [_of_rows("", list(whole(lines)))]
    except ValueError as error:
        raise ConfigError(f"{name}: not JSON: {error}") from None
    if _is_grid(document):
        lines_of = [
            Line(f"entry {number}", list(map(cell_of, cells)))
            for number, cells in enumerate(document, 1)
        ]
        columns, rows, above = table_of(lines_of, name, knows=knows)
        return [Sheet("", columns, rows, above=above)]
    return _of_lists(document, name)


def _of_lists(document: Any, name: str) -> list[Sheet]:
    if isinstance(document, list) and not all(isinstance(one, dict) for one in document):
        raise ConfigError(f"{name}: not a list of JSON objects")
    found = list(lists_in(document))
    refusal = error_in(document)
    if refusal is not None and not any(rows for _, rows in found):
        raise ConfigError(f"{name}: this is an error, not a bill: {refusal}")
    tables = [
        _of_rows(path, [Row(f"entry {number}", cells) for number, cells in enumerate(rows, 1)])
        for path, rows in found
    ]
    is_envelope = isinstance(document, dict) and any(path for path, _ in found)
    is_part = tells_of_more(document, max((len(rows) for _, rows in found), default=0))
    beside = [f"{key}: {text}" for key, text in texts_in(document).items()] if is_envelope else []
    return [replace(one, is_part=is_part, beside=beside) for one in tables]


def _is_grid(document: Any) -> bool:
    return (
        bool(document)
        and isinstance(document, list)
        and all(isinstance(one, list) for one in document)
    )


def _of_rows(name: str, rows: Sequence[Row], columns: Sequence[str] = ()) -> Sheet:
    """Return objects as the rows of a table; each has only the cells that it names."""
    texts = [Row(row.place, flat(row.cells)) for row in rows]
    found = dict.fromkeys((*columns, *(column for row in texts for column in row.cells)))
    return Sheet(name, list(found), texts)
