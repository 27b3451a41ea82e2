"""The first sheet: the question, and the totals of every table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kling_reports.render.values import facts, titled
from kling_reports.render.workbook.book import Book
from kling_reports.render.workbook.layout import Sheet
from kling_reports.render.workbook.parts import is_exact
from kling_reports.report import UNIT, Cell, Column

if TYPE_CHECKING:
    import pandas as pd
    from xlsxwriter.worksheet import Worksheet

NAME: Final = "Summary"
"""The name of the sheet."""


def write(book: Book) -> None:
    """Add the sheet to a workbook."""
    sheet = book.add(NAME)
    sheet.set_column(0, 0, 24)
    sheet.set_column(1, 40, 17)
    book.text(sheet, (0, 0), titled(book.report), "title")
    book.text(sheet, (1, 0), book.report.question, "question")
    at = 3
    for name, text in facts(book.report):
        book.text(sheet, (at, 0), name, "label")
        book.text(sheet, (at, 1), text)
        at += 1
    for parts in book.tables():
        at = _write_totals(book, sheet, parts, at + 1)
    for down, note in enumerate(book.report.notes, start=at + 1):
        book.text(sheet, (down, 0), note)


def _write_totals(book: Book, sheet: Worksheet, parts: Sequence[Sheet], at: int) -> int:
    """Write the totals of a table, including recomputed ones; return the next row."""
    table = parts[0].table
    book.text(sheet, (at, 0), table.title, "label")
    names = " and ".join(part.name for part in parts)
    told = f"{table.count:,} rows, in sheet {names}" if table.count else table.empty
    book.text(sheet, (at, 1), told)
    if table.totals is None or table.totals.empty:
        return at + 1
    kept = [place for place, column in enumerate(table.columns) if _is_total(table.totals, column)]
    for across, place in enumerate(kept):
        column = table.columns[place]
        head = "head_figure" if column.is_figure else "head"
        book.text(sheet, (at + 1, across), column.title, head)
    rows = list(table.total_rows(book.report.timezone))
    for down, row in enumerate(rows, start=at + 2):
        for across, place in enumerate(kept):
            _write_figure(book, sheet, (down, across), row[place], table.columns[place])
    return at + 2 + len(rows)


def _write_figure(
    book: Book, sheet: Worksheet, place: tuple[int, int], value: Cell, column: Column
) -> None:
    # There are no twins here: a figure that no cell holds exactly is text with all of its digits.
    if is_exact(value):
        book.cell(sheet, place, value, column)
    else:
        book.digits(sheet, place, value, "exact")


def _is_total(totals: pd.DataFrame, column: Column) -> bool:
    # A text in a total comments on its figures.
    return column.is_figure or column.name == UNIT or bool(totals[column.name].notna().any())
