"""The tables of a page: as many rows as there is room for, all heads and all totals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from kling_reports.render.markup import Markup, tag
from kling_reports.render.values import lines, total_lines, visible, written
from kling_reports.report import Cell, Column, Report, Table

_SHORT: Final = 24
"""The characters of a text that stays in one line."""

_PAD: Final = "\u2007"
"""A blank as wide as a digit."""


class Listed:
    """The rows of a table that are listed in a page, as markup and as data, within some bytes."""

    def __init__(self, table: Table, report: Report, room: int) -> None:
        self.table = table
        self.rows: list[Markup] = []
        self.data: list[str] = []
        self.size = 0
        told = lines(table, report.timezone, pad=_PAD)
        for row, values in zip(told, table.rows(report.timezone), strict=True):
            shown_row, data = _row(table.columns, row), compact(cells(table, values))
            size = len(shown_row.encode()) + len(data.encode()) + 2
            if self.size + size > room:
                break
            self.rows.append(shown_row)
            self.data.append(data)
            self.size += size


def listed(report: Report, room: int) -> list[Listed]:
    """Share the room among the tables: what short ones leave is for the long ones."""
    found: dict[str, Listed] = {}
    by_length = sorted(report.tables, key=lambda table: table.count)
    for at, table in enumerate(by_length):
        one = Listed(table, report, room // (len(by_length) - at))
        found[table.name] = one
        room -= one.size
    return [found[table.name] for table in report.tables]


def table(one: Listed, report: Report, key: str) -> Markup:
    """Return a table that the script of the page can sort, or the sentence of an empty one."""
    shown = one.table
    if shown.frame.empty:
        return tag("p", visible(shown.empty), class_="note")
    totals = (_row(shown.columns, row) for row in total_lines(shown, report.timezone, pad=_PAD))
    parts = (
        tag("caption", _caption(one)),
        tag("thead", tag("tr", *_heads(shown.columns))),
        tag("tbody", *one.rows),
        tag("tfoot", *totals),
    )
    drawn = tag("table", *parts, data_sorts=True, id=f"{key}-t")
    # What scrolls sideways has to be reached by the keyboard, and then needs a name.
    region = {"tabindex": 0, "role": "region", "aria_labelledby": f"{key}-h"}
    return tag("div", drawn, class_="scroll", **region)


def head(inside: str, *, is_figure: bool, **attributes: Any) -> Markup:
    """Return the head of a column; figures stand at the right."""
    return tag("th", inside, scope="col", class_="n" if is_figure else None, **attributes)


def cells(table: Table, row: Sequence[Cell]) -> list[Any]:
    """Return a row as JSON holds it."""
    return [written(value, one.kind) for value, one in zip(row, table.columns, strict=True)]


def compact(thing: Any) -> str:
    """Write JSON in as few bytes as it takes."""
    return json.dumps(thing, ensure_ascii=False, separators=(",", ":"))


def id_of(table: Table) -> str:
    """Return the id of a table's section."""
    return f"t-{re.sub('[^a-zA-Z0-9_]', '-', table.name)}"


def _caption(one: Listed) -> str:
    count = one.table.count
    if len(one.rows) == count:
        return f"{count:,} row{'s' if count != 1 else ''}"
    return (
        f"The first {len(one.rows):,} of {count:,} rows; totals and pictures are of all."
        " --table NAME with --format csv or xlsx has every row."
    )


def _heads(columns: Sequence[Column]) -> Iterator[Markup]:
    for column in columns:
        yield head(
            tag("button", visible(column.title), type="button"),
            is_figure=column.is_figure,
            title=column.meaning or None,
            data_title=visible(column.title),
            aria_sort="none",
        )


def _row(columns: Sequence[Column], row: Sequence[str]) -> Markup:
    first, *rest = (
        _cell(column, text, is_first=at == 0)
        for at, (column, text) in enumerate(zip(columns, row, strict=True))
    )
    return tag("tr", first, *rest)


def _cell(column: Column, text: str, *, is_first: bool) -> Markup:
    kind = "t" if len(text) <= _SHORT else None
    if column.is_figure:
        kind = "n neg" if text.startswith("-") else "n"
    if is_first:
        return tag("th", visible(text), scope="row", class_=kind)
    return tag("td", visible(text), class_=kind)
