"""A report as a workbook: a summary, charts, a sheet for each table, and the assumptions.

A cell of a sheet is a double, which does not hold more than fifteen digits exactly: a column with a
longer amount gets a text twin that does. Every formula in the workbook is our own; text of the
ledger is written as text, never as a formula or a link.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC
from itertools import groupby
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Any, Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from kling_reports.render.workbook import charts, checks, summary, tables
from kling_reports.render.workbook.book import Book
from kling_reports.render.workbook.formats import formats
from kling_reports.render.workbook.layout import Sheet, laid_out
from kling_reports.render.workbook.parts import MOST_ROWS, parted
from kling_reports.render.workbook.rows import rows, sample_of
from kling_reports.report import Report

if TYPE_CHECKING:
    from xlsxwriter import Workbook

_OPTIONS: Final = {
    "in_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
_TAKEN: Final = (summary.NAME, charts.NAME, checks.CONTROLS, checks.ASSUMPTIONS)
_LEVEL: Final = 3
"""The compression level: twice as fast as the default, for a file a tenth larger."""

_OF_A_CELL: Final = 100
_LARGE: Final = 2**30
"""The size of a sheet, in bytes, from which its length may need more than 32 bits: some programs
complain about files with such lengths, so small files avoid them. A cell takes about 100 bytes."""


def render(report: Report, *, most_rows: int = MOST_ROWS) -> bytes:
    """Return the workbook; the same report gives the same bytes.

    Rows that do not fit in one sheet continue in another.
    """
    written_to = io.BytesIO()
    write(report, written_to, most_rows=most_rows)
    return written_to.getvalue()


def write(report: Report, to: IO[bytes], *, most_rows: int = MOST_ROWS) -> None:
    """Write what `render` returns; only one batch of a long table is in memory at a time."""
    sheets = laid_out(report, _TAKEN, most_rows)
    without_rows = io.BytesIO()
    numbers = _write_without_rows(report, sheets, without_rows)
    found = _Rows(sheets, report.timezone)
    with (
        ZipFile(without_rows) as read,
        ZipFile(to, "w", ZIP_DEFLATED, compresslevel=_LEVEL) as file,
    ):
        for part in read.infolist():
            one = numbers.get(part.filename)
            pieces = [read.read(part)]
            written = pieces if one is None else found.filled(pieces[0].decode(), one)
            # A time of its own would change the bytes of the same report.
            named = ZipInfo(part.filename, part.date_time)
            named.compress_type, named.external_attr = ZIP_DEFLATED, part.external_attr
            is_large = one is not None and one.count * len(one.places) * _OF_A_CELL >= _LARGE
            with file.open(named, "w", force_zip64=is_large) as opened:
                for piece in written:
                    opened.write(piece)


class _Rows:
    """The rows of all sheets; each table's are read once, across its sheets."""

    def __init__(self, sheets: tuple[Sheet, ...], zone: str) -> None:
        self._zone = zone
        self._parts: dict[str, Iterator[Any]] = {}
        for name, group in groupby(sheets, key=lambda one: one.table.name):
            parts = list(group)
            frames = parted(parts[0].table.batches(), [part.count for part in parts])
            self._parts[name] = groupby(frames, key=itemgetter(0))

    def filled(self, file: str, one: Sheet) -> Iterator[bytes]:
        """Return the file of a sheet with its rows in place of the sample row."""
        sample = sample_of(file, one)
        yield sample.before.encode()
        first = one.first_row
        for _, frame in next(self._parts[one.table.name])[1]:
            yield rows(one, frame, first, sample, self._zone).encode()
            first += len(frame)
        yield sample.after.encode()


def _write_without_rows(
    report: Report, sheets: tuple[Sheet, ...], to: IO[bytes]
) -> dict[str, Sheet]:
    """Write the workbook without the rows of tables; return the sheet files that they belong in."""
    from xlsxwriter import Workbook

    numbers = {}
    with Workbook(to, _OPTIONS) as file:
        file.set_properties(_properties(report))
        book = Book(file, _added(file), report, sheets)
        summary.write(book)
        if drawn := charts.blocks(report):
            charts.write(book, drawn)
        for sheet in book.sheets:
            number = tables.write(book, sheet)
            if sheet.count:
                numbers[f"xl/worksheets/sheet{number}.xml"] = sheet
        checks.write_controls(book)
        checks.write_assumptions(book)
    return numbers


def _properties(report: Report) -> dict[str, Any]:
    # By default the file would contain the time of writing: never the same bytes.
    created = report.generated_at.astimezone(UTC).replace(tzinfo=None)
    return {"title": report.title, "subject": report.question, "created": created}


def _added(file: Workbook) -> dict[str, Any]:
    return {name: file.add_format(form) for name, form in formats().items()}
