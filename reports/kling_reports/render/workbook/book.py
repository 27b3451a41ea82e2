"""An open workbook: text is written as text, numbers as numbers, and no data as a formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from kling_pricing.money import plain
from kling_reports.render.values import harmless, visible, written
from kling_reports.render.workbook.layout import FIRST_YEAR, Place, Sheet
from kling_reports.report import Cell, Column, Report

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.worksheet import Worksheet

_LONGEST_TEXT: Final = 32_767
"""The most characters of a cell; a longer text would make the file need repair."""


@dataclass(frozen=True, slots=True)
class Book:
    """An open workbook, its formats, and the report to write."""

    file: Workbook
    formats: Mapping[str, Any]
    report: Report
    sheets: tuple[Sheet, ...]

    def tables(self) -> list[list[Sheet]]:
        """Return the sheets of each table: several if one cannot hold its rows."""
        return [list(parts) for _, parts in groupby(self.sheets, key=lambda one: one.table.name)]

    def add(self, name: str) -> Worksheet:
        """Add a sheet, ready to be printed."""
        sheet = self.file.add_worksheet(name)
        sheet.hide_gridlines(2)
        sheet.set_paper(9)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        # A single & would start a code in the footer.
        sheet.set_footer(f"&L{self.report.title.replace('&', '&&')} – &A&RPage &P of &N")
        return sheet

    def text(self, sheet: Worksheet, place: Place, text: str, form: str = "text") -> None:
        """Write text as text: its content is never a formula."""
        sheet.write_string(*place, visible(harmless(text))[:_LONGEST_TEXT], self.formats[form])

    def digits(self, sheet: Worksheet, place: Place, value: Cell, form: str) -> None:
        """Write every digit of a number as text; a negative one is no formula and gets no quote."""
        told = plain(value) if isinstance(value, Decimal) else str(value)
        sheet.write_string(*place, told, self.formats[form])

    def cell(self, sheet: Worksheet, place: Place, value: Cell, column: Column) -> None:
        """Write one value with its type; nothing if it is unknown."""
        form = self.formats[column.kind]
        if value is None:
            sheet.write_blank(*place, None, form)
        elif isinstance(value, str):
            self.text(sheet, place, value)
        # A bool is an int too, so it is checked first.
        elif isinstance(value, bool):
            sheet.write_string(*place, "yes" if value else "no", form)
        elif isinstance(value, (int, Decimal)):
            sheet.write_number(*place, float(value), form)
        elif value.year < FIRST_YEAR:
            self.text(sheet, place, str(written(value, column.kind)))
        else:
            sheet.write_datetime(*place, _naive(value), form)


def _naive(value: date) -> Any:
    """Return an instant as its zone's clock shows it: sheets have no time zones."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
