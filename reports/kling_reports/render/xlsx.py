"""A report as a workbook: a summary, a sheet for each table, its reconciliation, its assumptions.

A cell of a sheet is a double. An amount of more than fifteen digits is not exact in one: its
column then has a twin of text, which is. Every formula in the workbook is one of ours; text of the
ledger is written as text, and never as a formula or a link.
"""

from __future__ import annotations

import io
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from kling_ledger.errors import ConfigError
from kling_reports.render.workbook import checks, summary, tables
from kling_reports.render.workbook.book import Book
from kling_reports.render.workbook.formats import formats
from kling_reports.render.workbook.layout import MOST_ROWS, laid_out
from kling_reports.report import Report

if TYPE_CHECKING:
    from xlsxwriter import Workbook

_OPTIONS: Final = {
    "in_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
_TAKEN: Final = (summary.NAME, checks.RECONCILIATION, checks.ASSUMPTIONS)


def render(report: Report) -> bytes:
    """Return the workbook; the same report gives the same bytes.

    ConfigError where a table has more rows than a sheet.
    """
    from xlsxwriter import Workbook

    _refuse_what_does_not_fit(report)
    written_to = io.BytesIO()
    with Workbook(written_to, _OPTIONS) as file:
        file.set_properties(_properties(report))
        book = Book(file, _added(file), report, laid_out(report, _TAKEN))
        summary.write(book)
        for sheet in book.sheets:
            tables.write(book, sheet)
        checks.write_reconciliation(book)
        checks.write_assumptions(book)
    return written_to.getvalue()


def _properties(report: Report) -> dict[str, Any]:
    # Left alone, the file would have the time at which it was written: never the same bytes.
    created = report.generated_at.astimezone(UTC).replace(tzinfo=None)
    return {"title": report.title, "subject": report.question, "created": created}


def _added(file: Workbook) -> dict[str, Any]:
    return {name: file.add_format(form) for name, form in formats().items()}


def _refuse_what_does_not_fit(report: Report) -> None:
    for table in report.tables:
        if len(table.frame) > MOST_ROWS:
            raise ConfigError(
                f"{table.title} has {len(table.frame):,} rows, and a sheet holds {MOST_ROWS:,}",
                hint="ask for a shorter time, or use --format csv or parquet",
            )
