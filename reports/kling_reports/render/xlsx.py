"""A report as a workbook: a summary, a sheet for each table, its reconciliation, its assumptions.

A cell of a sheet is a double. An amount of more than fifteen digits is not exact in one: its
column then has a twin of text, which is. Every formula in the workbook is one of ours; text of the
ledger is written as text, and never as a formula or a link.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from kling_ledger.errors import ConfigError
from kling_pricing.money import plain
from kling_reports.render.sheets import (
    FIRST_YEAR,
    MOST_ROWS,
    Place,
    Sheet,
    is_exact,
    laid_out,
)
from kling_reports.render.values import facts, harmless, visible, written
from kling_reports.report import UNIT, Cell, Column, Report

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.worksheet import Worksheet

_INK: Final = "#1F2933"
_RULE: Final = "#9AA5B1"
_SHADE: Final = "#EEF2F6"
_AMOUNT: Final = '#,##0.00????_);[Red](#,##0.00????);"–"??????_)'
_COUNT: Final = '#,##0_);[Red](#,##0);"–"_)'
_FORMATS: Final[Mapping[str, Mapping[str, Any]]] = {
    "title": {"bold": True, "font_size": 16},
    "question": {"italic": True, "font_color": "#52606D"},
    "head": {"bold": True, "bg_color": _SHADE, "bottom": 1, "text_wrap": True, "valign": "top"},
    "head_figure": {
        "bold": True,
        "bg_color": _SHADE,
        "bottom": 1,
        "text_wrap": True,
        "valign": "top",
        "align": "right",
    },
    "label": {"bold": True, "valign": "top"},
    "wrapped": {"text_wrap": True, "valign": "top"},
    "text": {},
    "flag": {},
    "integer": {"num_format": _COUNT},
    "seconds": {"num_format": _COUNT},
    "money": {"num_format": _AMOUNT},
    "percent": {"num_format": "0.0%"},
    "instant": {"num_format": "yyyy-mm-dd hh:mm:ss", "align": "left"},
    "date": {"num_format": "yyyy-mm-dd", "align": "left"},
    "month": {"num_format": "yyyy-mm", "align": "left"},
    "exact": {"align": "right"},
    "total": {"bold": True, "top": 1},
    "total_money": {"bold": True, "top": 1, "num_format": _AMOUNT},
    "total_integer": {"bold": True, "top": 1, "num_format": _COUNT},
    "total_seconds": {"bold": True, "top": 1, "num_format": _COUNT},
    "total_percent": {"bold": True, "top": 1, "num_format": "0.0%"},
    "total_exact": {"bold": True, "top": 1, "align": "right"},
}
_WIDEST: Final = 48
_LONGEST_TEXT: Final = 32_767
_SUMMARY: Final = "Summary"
_RECONCILIATION: Final = "Reconciliation"
_ASSUMPTIONS: Final = "Assumptions"


@dataclass(frozen=True, slots=True)
class _Book:
    """An open workbook, its formats, and the report that goes into it."""

    file: Workbook
    formats: Mapping[str, Any]
    report: Report
    sheets: tuple[Sheet, ...]

    def add(self, name: str) -> Worksheet:
        """Add a sheet, ready to be printed."""
        sheet = self.file.add_worksheet(name)
        sheet.hide_gridlines(2)
        sheet.set_paper(9)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.set_footer(f"&L{self.report.title.replace('&', '&&')} – &A&RPage &P of &N")
        return sheet

    def text(self, sheet: Worksheet, place: Place, text: str, form: str = "text") -> None:
        """Write text as text: what it holds is never a formula."""
        sheet.write_string(*place, visible(harmless(text))[:_LONGEST_TEXT], self.formats[form])

    def digits(self, sheet: Worksheet, place: Place, value: Cell, form: str) -> None:
        """Write every digit of a number as text; one below zero is no formula and has no quote."""
        told = plain(value) if isinstance(value, Decimal) else str(value)
        sheet.write_string(*place, told, self.formats[form])

    def cell(self, sheet: Worksheet, place: Place, value: Cell, column: Column) -> None:
        """Write one value as what it is; nothing where nobody knows it."""
        form = self.formats[column.kind]
        if value is None:
            sheet.write_blank(*place, None, form)
        elif isinstance(value, str):
            self.text(sheet, place, value)
        elif isinstance(value, bool):
            sheet.write_string(*place, "yes" if value else "no", form)
        elif isinstance(value, (int, Decimal)):
            sheet.write_number(*place, float(value), form)
        elif value.year < FIRST_YEAR:
            self.text(sheet, place, str(written(value, column.kind)))
        else:
            sheet.write_datetime(*place, _naive(value), form)


def render(report: Report) -> bytes:
    """Return the workbook; the same report gives the same bytes.

    ConfigError where a table has more rows than a sheet.
    """
    from xlsxwriter import Workbook

    _refuse_what_does_not_fit(report)
    written_to = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with Workbook(written_to, {**options, "strings_to_numbers": False}) as file:
        file.set_properties(
            {
                "title": report.title,
                "subject": report.question,
                "created": report.generated_at.astimezone(UTC).replace(tzinfo=None),
            }
        )
        formats = {
            name: file.add_format({"font_color": _INK, "border_color": _RULE, **form})
            for name, form in _FORMATS.items()
        }
        taken = (_SUMMARY, _RECONCILIATION, _ASSUMPTIONS)
        book = _Book(file, formats, report, laid_out(report, taken))
        _write_summary(book)
        for sheet in book.sheets:
            _write_table(book, sheet)
        _write_reconciliation(book)
        _write_assumptions(book)
    return written_to.getvalue()


def _refuse_what_does_not_fit(report: Report) -> None:
    for table in report.tables:
        if len(table.frame) > MOST_ROWS:
            raise ConfigError(
                f"{table.title} has {len(table.frame):,} rows, and a sheet holds {MOST_ROWS:,}",
                hint="ask for a shorter time, or use --format csv or parquet",
            )


def _write_summary(book: _Book) -> None:
    sheet = book.add(_SUMMARY)
    sheet.set_column(0, 0, 24)
    sheet.set_column(1, 40, 17)
    book.text(sheet, (0, 0), book.report.title, "title")
    book.text(sheet, (1, 0), book.report.question, "question")
    at = 3
    for name, text in facts(book.report):
        book.text(sheet, (at, 0), name, "label")
        book.text(sheet, (at, 1), text)
        at += 1
    for one in book.sheets:
        at = _write_totals(book, sheet, one, at + 1)
    at += 1
    for note in book.report.notes:
        book.text(sheet, (at, 0), note)
        at += 1


def _write_totals(book: _Book, sheet: Worksheet, one: Sheet, at: int) -> int:
    """Write the totals of a table, those that were worked out anew too; return the next row."""
    table = one.table
    count = len(table.frame)
    book.text(sheet, (at, 0), table.title, "label")
    told = f"{count:,} rows, in sheet {one.name}" if count else table.empty
    book.text(sheet, (at, 1), told)
    kept = [place for place, column in enumerate(table.columns) if _is_total(column)]
    if table.totals is None or table.totals.empty:
        return at + 1
    for across, place in enumerate(kept):
        column = table.columns[place]
        head = "head_figure" if column.is_figure else "head"
        book.text(sheet, (at + 1, across), column.title, head)
    at += 2
    for row in table.total_rows(book.report.timezone):
        for across, place in enumerate(kept):
            value = row[place]
            if is_exact(value):
                book.cell(sheet, (at, across), value, table.columns[place])
            else:
                book.digits(sheet, (at, across), value, "exact")
        at += 1
    return at


def _is_total(column: Column) -> bool:
    return column.is_figure or column.name == UNIT


def _write_table(book: _Book, one: Sheet) -> None:
    table, zone = one.table, book.report.timezone
    sheet = book.add(one.name)
    book.text(sheet, (0, 0), table.title, "title")
    _write_heads(book, sheet, one)
    for down, row in enumerate(table.rows(zone)):
        _write_row(book, sheet, one, one.first_row + down, row)
    for down, row in enumerate(table.total_rows(zone)):
        _write_total(book, sheet, one, down, row)
    if table.frame.empty:
        book.text(sheet, (one.first_row, 0), table.empty)
    sheet.autofilter(one.head_row, 0, one.last_row, one.last_column)
    sheet.freeze_panes(one.first_row, 1)
    sheet.repeat_rows(one.head_row)
    sheet.set_row(one.head_row, 32)
    for place, width in _widths(one, zone):
        sheet.set_column(place, place, width)
    if one.marks is not None:
        _write_marks(book, sheet, one, one.marks)


def _write_heads(book: _Book, sheet: Worksheet, one: Sheet) -> None:
    for column, place in zip(one.table.columns, one.places, strict=True):
        form = "head_figure" if column.is_figure else "head"
        book.text(sheet, (one.head_row, place), column.title, form)
    for column, place in one.twins():
        book.text(sheet, (one.head_row, place), f"{column.title}, exact", "head_figure")


def _write_row(book: _Book, sheet: Worksheet, one: Sheet, at: int, row: tuple[Cell, ...]) -> None:
    for column, place, value in zip(one.table.columns, one.places, row, strict=True):
        book.cell(sheet, (at, place), value, column)
        if column.name in one.inexact and value is not None:
            book.digits(sheet, (at, place + 1), value, "exact")


def _write_total(
    book: _Book, sheet: Worksheet, one: Sheet, down: int, row: tuple[Cell, ...]
) -> None:
    """Write the totals of one unit above the heads, where no filter hides them.

    What adds up follows the filter; what was worked out anew would not, and stands in the summary.
    """
    at = 1 + down
    for column, place, value in zip(one.table.columns, one.places, row, strict=True):
        if column.adds_up and value is not None:
            formula = one.total_formula(place, at)
            form = book.formats[f"total_{column.kind}"]
            sheet.write_formula(at, place, formula, form, float(value))  # type: ignore[arg-type]
            if column.name in one.inexact:
                book.digits(sheet, (at, place + 1), value, "total_exact")
        elif column.name == UNIT:
            book.text(sheet, (at, place), str(value or ""), "total")
        else:
            sheet.write_blank(at, place, None, book.formats["total"])
    if one.table.columns[0].name != UNIT:
        book.text(sheet, (at, 0), "Total of the rows shown", "total")


def _write_marks(book: _Book, sheet: Worksheet, one: Sheet, marks: int) -> None:
    """Mark each row that a filter shows, in a hidden column: totals of one unit count these."""
    book.text(sheet, (one.head_row, marks), "shown", "head")
    for at in range(one.first_row, one.last_row + 1):
        sheet.write_formula(at, marks, one.mark_formula(at), None, 1)
    sheet.set_column(marks, marks, 8, None, {"hidden": True})


def _widths(one: Sheet, zone: str) -> Iterator[tuple[int, int]]:
    longest = [
        max(len(column.title) // 2 + 3, _longest_word(column.title) + 3)
        for column in one.table.columns
    ]
    for row in (*one.table.rows(zone), *one.table.total_rows(zone)):
        for at, value in enumerate(row):
            longest[at] = max(longest[at], _width(value))
    longest[0] = max(longest[0], 24 if one.table.totals is not None else 0)
    for column, place, width in zip(one.table.columns, one.places, longest, strict=True):
        yield place, min(width + 2, _WIDEST)
        if column.name in one.inexact:
            yield place + 1, 22


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _width(value: Cell) -> int:
    if value is None:
        return 0
    if isinstance(value, datetime):
        return 19
    return len(f"{value:,.6f}") if isinstance(value, Decimal) else len(str(value))


def _write_reconciliation(book: _Book) -> None:
    """Write, for each sum of the report, what its sheet adds up to and how far that is off."""
    sheet = book.add(_RECONCILIATION)
    book.text(sheet, (0, 0), "Do the sheets add up to the report?", "title")
    book.text(sheet, (1, 0), "Every row counts here, whether a filter shows it or not.", "question")
    heads = ("sheet", "sum of", "unit", "rows add up to", "the report says", "difference", "exact")
    for across, head in enumerate(heads):
        book.text(sheet, (3, across), head, "head_figure" if across > 2 else "head")
    at = 4
    for one in book.sheets:
        at = _reconcile(book, sheet, one, at)
    sheet.freeze_panes(4, 0)
    sheet.repeat_rows(3)
    for place, width in enumerate((26, 22, 16, 20, 20, 16, 24)):
        sheet.set_column(place, place, width)
    if at > 4:
        sheet.autofilter(3, 0, at - 1, len(heads) - 1)


def _reconcile(book: _Book, sheet: Worksheet, one: Sheet, at: int) -> int:
    units = [column.name for column in one.table.columns]
    for down, row in enumerate(one.table.total_rows()):
        for column, place, value in zip(one.table.columns, one.places, row, strict=True):
            if not column.adds_up or value is None:
                continue
            form = book.formats[column.kind]
            number = float(value)  # type: ignore[arg-type]
            book.text(sheet, (at, 0), one.name)
            book.text(sheet, (at, 1), column.title)
            if UNIT in units:
                book.text(sheet, (at, 2), str(row[units.index(UNIT)] or ""))
            sheet.write_formula(at, 3, one.whole_formula(place, 1 + down), form, number)
            sheet.write_number(at, 4, number, form)
            sheet.write_formula(at, 5, f"=ROUND(D{at + 1}-E{at + 1},6)", form, 0)
            book.digits(sheet, (at, 6), value, "exact")
            at += 1
    return at


def _write_assumptions(book: _Book) -> None:
    sheet = book.add(_ASSUMPTIONS)
    for place, width in enumerate((26, 22, 12, 90)):
        sheet.set_column(place, place, width)
    book.text(sheet, (0, 0), "Assumptions", "title")
    at = 2
    for note in _assumed(book):
        sheet.merge_range(at, 0, at, 3, "", book.formats["wrapped"])
        book.text(sheet, (at, 0), note, "wrapped")
        sheet.set_row(at, 15 * (1 + len(note) // 130))
        at += 1
    at += 1
    for across, head in enumerate(("sheet", "column", "kind", "meaning")):
        book.text(sheet, (at, across), head, "head")
    for one in book.sheets:
        for column in one.table.columns:
            at += 1
            told = (one.name, column.title, column.kind, column.meaning)
            for across, text in enumerate(told):
                book.text(sheet, (at, across), text, "wrapped")


def _assumed(book: _Book) -> Iterator[str]:
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
    for one in book.sheets:
        for column, _ in one.twins():
            yield (
                f"{one.name}, {column.title}: a cell holds fifteen digits and some amounts have"
                " more. The figures are the nearest that a cell can hold; the column beside them,"
                " exact, has every digit as text, its total too, which does not follow the filter."
            )


def _naive(value: date) -> Any:
    """Return an instant as its zone's clock shows it: a sheet knows no zones."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
