"""The last sheets: whether the sheets add up to the report, and what was assumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from kling_reports.render.workbook.book import Book
from kling_reports.render.workbook.layout import Sheet
from kling_reports.report import UNIT

if TYPE_CHECKING:
    from xlsxwriter.worksheet import Worksheet

CONTROLS: Final = "Control totals"
"""The name of the sheet that compares each sum of the report with its rows."""

ASSUMPTIONS: Final = "Assumptions"
"""The name of the sheet with the assumptions and the meaning of each column."""

_HEADS: Final = (
    "sheet",
    "sum of",
    "unit",
    "rows add up to",
    "the report says",
    "difference",
    "exact",
)
_FIRST: Final = 4


def write_controls(book: Book) -> None:
    """Write, for each sum of the report, what its sheet adds up to and the difference."""
    sheet = book.add(CONTROLS)
    book.text(sheet, (0, 0), "Do the sheets add up to the report?", "title")
    book.text(sheet, (1, 0), "Every row counts here, whether a filter shows it or not.", "question")
    for across, head in enumerate(_HEADS):
        book.text(sheet, (_FIRST - 1, across), head, "head_figure" if across > 2 else "head")
    at = _FIRST
    for parts in book.tables():
        at = _controls(book, sheet, parts, at)
    sheet.freeze_panes(_FIRST, 0)
    sheet.repeat_rows(_FIRST - 1)
    for place, width in enumerate((26, 22, 16, 20, 20, 16, 24)):
        sheet.set_column(place, place, width)
    if at > _FIRST:
        sheet.autofilter(_FIRST - 1, 0, at - 1, len(_HEADS) - 1)


def write_assumptions(book: Book) -> None:
    """Write what was assumed, and the meaning of every column of every table."""
    sheet = book.add(ASSUMPTIONS)
    for place, width in enumerate((26, 22, 12, 90)):
        sheet.set_column(place, place, width)
    book.text(sheet, (0, 0), "Assumptions", "title")
    at = 2
    for note in _assumed(book):
        sheet.merge_range(at, 0, at, 3, "", book.formats["wrapped"])
        book.text(sheet, (at, 0), note, "wrapped")
        # No program adjusts the height of merged cells by itself.
        sheet.set_row(at, 15 * (1 + len(note) // 130))
        at += 1
    _write_meanings(book, sheet, at + 1)


def _controls(book: Book, sheet: Worksheet, parts: Sequence[Sheet], at: int) -> int:
    """Write the lines of one table, one for each unit and column that adds up."""
    one = parts[0]
    units = [column.name for column in one.table.columns]
    for down, row in enumerate(one.table.total_rows()):
        for column, place, value in zip(one.table.columns, one.places, row, strict=True):
            if not column.adds_up or value is None or one.totals is None:
                continue
            form = book.formats[column.kind]
            number = float(value)  # type: ignore[arg-type]
            book.text(sheet, (at, 0), ", ".join(part.name for part in parts))
            book.text(sheet, (at, 1), column.title)
            if UNIT in units:
                book.text(sheet, (at, 2), str(row[units.index(UNIT)] or ""))
            whole = "+".join(part.whole_sum(place, 1 + down) for part in parts)
            sheet.write_formula(at, 3, f"=ROUND({whole},6)", form, number)
            sheet.write_number(at, 4, number, form)
            # Sums of doubles may be off in a digit beyond those of any amount.
            sheet.write_formula(at, 5, f"=ROUND(D{at + 1}-E{at + 1},6)", form, 0)
            book.digits(sheet, (at, 6), value, "exact")
            at += 1
    return at


def _write_meanings(book: Book, sheet: Worksheet, at: int) -> None:
    for across, head in enumerate(("sheet", "column", "kind", "meaning")):
        book.text(sheet, (at, across), head, "head")
    for one, *_ in book.tables():
        for column in one.table.columns:
            at += 1
            told = (one.name, column.title, column.kind, column.meaning)
            for across, text in enumerate(told):
                book.text(sheet, (at, across), text, "wrapped")


def _assumed(book: Book) -> Iterator[str]:
    yield from book.report.notes
    yield f"Times are in {book.report.timezone}. A period includes its start and not its end."
    yield (
        "Totals above a table follow its filter and add the rows that it shows; the summary has the"
        " totals of all. A blank cell is not known or does not apply; it is never zero."
    )
    yield (
        "Text that begins with = + - @, a tab or a line break has a quote before it, so that no"
        " program takes it for a formula."
    )
    for one, *_ in book.tables():
        for column, _ in one.twins():
            yield (
                f"{one.name}, {column.title}: a cell holds fifteen digits and some amounts have"
                " more. The figures are the nearest that a cell can hold; the column beside them,"
                " exact, has every digit as text, its total too, which does not follow the filter."
            )
