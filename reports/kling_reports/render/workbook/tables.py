"""The sheet of a table: totals that follow its filter, heads, rows, and fitting widths."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from kling_pricing.money import from_micro
from kling_reports.render.workbook.book import Book
from kling_reports.render.workbook.layout import Sheet
from kling_reports.report import UNIT, Cell, rows_of

if TYPE_CHECKING:
    from xlsxwriter.worksheet import Worksheet

_WIDEST: Final = 48
_OF_A_TWIN: Final = 22
_LABEL: Final = "Total of the rows shown"


def write(book: Book, one: Sheet) -> int:
    """Add the sheet of one table to a workbook, without its rows; return its number, from 1.

    One sample row without values marks the place of the rows and has their formats.
    """
    table, zone = one.table, book.report.timezone
    sheet = book.add(one.name)
    book.text(sheet, (0, 0), table.title, "title")
    _write_heads(book, sheet, one)
    for down, row in enumerate(one.total_rows(zone)):
        _write_total(book, sheet, one, 1 + down, row)
    if one.count:
        _write_sample(book, sheet, one)
    else:
        book.text(sheet, (one.first_row, 0), table.empty)
    sheet.autofilter(one.head_row, 0, one.last_row, one.last_column)
    sheet.freeze_panes(one.first_row, 1)
    sheet.repeat_rows(one.head_row)
    sheet.set_row(one.head_row, 32)
    for place, width in _widths(one, zone):
        sheet.set_column(place, place, width)
    if one.marks is not None:
        # It says which rows a filter shows: only these count in the totals of a unit.
        book.text(sheet, (one.head_row, one.marks), "shown", "head")
        sheet.set_column(one.marks, one.marks, 8, None, {"hidden": True})
    return len(book.file.worksheets())


def _write_heads(book: Book, sheet: Worksheet, one: Sheet) -> None:
    for column, place in zip(one.table.columns, one.places, strict=True):
        form = "head_figure" if column.is_figure else "head"
        book.text(sheet, (one.head_row, place), column.title, form)
    for column, place in one.twins():
        book.text(sheet, (one.head_row, place), f"{column.title}, exact", "head_figure")


def _write_sample(book: Book, sheet: Worksheet, one: Sheet) -> None:
    for column, place in zip(one.table.columns, one.places, strict=True):
        sheet.write_blank(one.first_row, place, None, book.formats[column.kind])
    for _, place in one.twins():
        sheet.write_blank(one.first_row, place, None, book.formats["exact"])


def _write_total(book: Book, sheet: Worksheet, one: Sheet, at: int, row: tuple[Cell, ...]) -> None:
    """Write the totals of one unit above the heads, where no filter hides them.

    Sums follow the filter; recomputed totals would not, so they are in the summary.
    """
    for column, place, value in zip(one.table.columns, one.places, row, strict=True):
        if column.adds_up and value is not None:
            formula = one.total_formula(place, at)
            form = book.formats[f"total_{column.kind}"]
            # The result is written with the formula, for programs that read the file without
            # computing it.
            sheet.write_formula(at, place, formula, form, float(value))  # type: ignore[arg-type]
            if column.name in one.inexact:
                book.digits(sheet, (at, place + 1), value, "total_exact")
        elif column.name == UNIT:
            book.text(sheet, (at, place), str(value or ""), "total")
        else:
            sheet.write_blank(at, place, None, book.formats["total"])
    if one.table.columns[0].name != UNIT:
        book.text(sheet, (at, 0), _LABEL, "total")


def _widths(one: Sheet, zone: str) -> Iterator[tuple[int, int]]:
    """Return the width of each column, from its first rows, its totals and its largest amount."""
    # A head may fold into two lines, but not within a word.
    longest = [
        max(len(column.title) // 2 + 3, _longest_word(column.title) + 3)
        for column in one.table.columns
    ]
    some = rows_of(one.table.columns, one.sample, zone)
    for row in (*some, _largest(one), *one.total_rows(zone)):
        longest = [max(so_far, _width(value)) for so_far, value in zip(longest, row, strict=True)]
    if one.totals is not None:
        longest[0] = max(longest[0], len(_LABEL) + 1)
    for column, place, width in zip(one.table.columns, one.places, longest, strict=True):
        yield place, min(width + 2, _WIDEST)
        if column.name in one.inexact:
            yield place + 1, _OF_A_TWIN


def _largest(one: Sheet) -> tuple[Cell, ...]:
    """Return a row with the largest amounts: one that does not fit would be shown as ######."""
    return tuple(
        (from_micro(-one.largest[column.name]) if column.kind == "money" else None)
        for column in one.table.columns
    )


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _width(value: Cell) -> int:
    if value is None:
        return 0
    if isinstance(value, datetime):
        return len("2026-10-31 22:00:00")
    return len(f"{value:,.6f}") if isinstance(value, Decimal) else len(str(value))
