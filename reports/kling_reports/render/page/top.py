"""The top of a page: whose ledger it is, the question, and one total."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kling_reports.render.markup import Markup, joined, tag
from kling_reports.render.page import cells
from kling_reports.render.values import facts, titled, visible
from kling_reports.report import UNIT, Column, Report, Table

COMPARED: Final = "comparison"
"""The table whose first figure is the total of a page that has it."""

_TILES: Final[Mapping[str, tuple[str, ...]]] = {
    "statement": ("closing_micro", "opening_micro", "spent_micro"),
    "variance": ("committed_micro", "variance_micro"),
    "overview": ("spent_micro",),
}
"""The figures at the top of each report's page; any other report has the first that adds up."""

_MOST_UNITS: Final = 4


def header(report: Report) -> Markup:
    """Return the head of a page; its title is also that of the document."""
    told = [tag("div", tag("dt", name), tag("dd", visible(text))) for name, text in _facts(report)]
    return tag(
        "header",
        tag("h1", titled(report)),
        tag("p", visible(report.question), class_="question"),
        _tiles(report),
        tag("dl", *told, class_="facts"),
    )


def _facts(report: Report) -> list[tuple[str, str]]:
    # Next to the figures' own period, the requested time is that of the history.
    is_compared = any(table.name == COMPARED for table in report.tables)
    return [
        ("History" if is_compared and name == "Period" else name, text)
        for name, text in facts(report)
    ]


def _tiles(report: Report) -> Markup:
    tables = {table.name: table for table in report.tables}
    table = tables.get(COMPARED, report.main)
    rows = list(table.rows() if table.name == COMPARED else table.total_rows())
    columns = _columns(report, table, len(rows))
    if not columns or not rows:
        return Markup()
    label = f"{table.title.partition(', beside')[0]}" if table.name == COMPARED else ""
    tiles = [_tile(table, row, column, label) for row in rows[:_MOST_UNITS] for column in columns]
    return joined(
        tag("ul", *tiles, class_="tiles", aria_label="Totals"), *_why_several(report, len(rows))
    )


def _columns(report: Report, table: Table, rows: int) -> list[Column]:
    """Return the figures at the top: with one unit all of them, with several only the first."""
    by_name = {column.name: column for column in table.columns}
    asked = [by_name[name] for name in _TILES.get(report.name, ()) if name in by_name]
    adding = [column for column in table.columns if column.adds_up]
    money = [column for column in adding if column.kind == "money"]
    found = asked or (money or adding)[:1]
    return found if rows == 1 else found[:1]


def _tile(table: Table, row: tuple[object, ...], column: Column, label: str) -> Markup:
    names = [one.name for one in table.columns]
    value = row[names.index(column.name)]
    shown = cells.cell(value, column)  # type: ignore[arg-type]
    unit = str(row[names.index(UNIT)] or "") if UNIT in names else ""
    return tag(
        "li",
        tag("span", visible(f"{column.title}, {label}" if label else column.title)),
        tag("b", shown.text or "not known", title=shown.exact),
        Markup(" "),
        tag("span", visible(unit), class_="unit"),
    )


def _why_several(report: Report, units: int) -> Iterator[Markup]:
    if units < 2:
        return
    told = "Units cannot be added: each has its own total."
    if report.currency is not None:
        told = f"Not every amount has a rate to {report.currency}: the rest stays in its own unit."
    more = f" {units - _MOST_UNITS} more are in the table." if units > _MOST_UNITS else ""
    yield tag("p", visible(f"{told}{more}"), class_="note")
