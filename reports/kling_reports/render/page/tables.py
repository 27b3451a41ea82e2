"""The tables of a page: as many rows as there is room for, and all heads and totals."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

from kling_reports.render.markup import Markup, tag
from kling_reports.render.page import cells
from kling_reports.render.page.cells import Shown, today_of
from kling_reports.render.values import visible, written
from kling_reports.report import UNIT, Cell, Column, Report, Table

_LONG: Final = 24
"""Texts longer than this many characters may take several lines."""

_WHOLE: Final = "white-space:nowrap;font-variant-numeric:tabular-nums"
_TIMES: Final = ("date", "month", "instant")

_CLOSING: Final = "closing_micro"
"""The main figure of a statement, although it comes late in the row."""

_CHUNK: Final = 200
"""How many rows are written at a time, until there is no more room."""

_KEYS: Final = {"actor": "user"}
"""Columns with another name for the same thing: a choice in one table applies to all."""

DRILLS: Final = ("project", "user", "model", "provider", "wallet")
"""First columns whose values the script turns into a choice for all tables of the page."""


class Listed:
    """The rows of a table that a page lists, as markup and as data, within a number of bytes.

    `marked` are rows, counted from 1, that the page links to. Only listed rows are written.
    """

    def __init__(
        self, table: Table, report: Report, room: int, marked: Collection[int] = ()
    ) -> None:
        self.table = table
        self.rows: list[Markup] = []
        self.data: list[str] = []
        self.size = 0
        self.today = today_of(report)
        for part in _parts(table):
            if not self._add(part, report, room, marked):
                break

    def _add(self, part: Table, report: Report, room: int, marked: Collection[int]) -> bool:
        """Add some rows; return whether all of them had room."""
        values = list(part.rows(report.timezone))
        shown = cells.rows(part, values, self.today)
        for row, plain in zip(shown, values, strict=True):
            number = len(self.rows) + 1
            name = row_id(part, number) if number in marked else None
            line, data = _row(part.columns, row, id=name), compact(as_json(part, plain))
            size = len(line.encode()) + len(data.encode()) + 2
            if self.size + size > room:
                return False
            self.rows.append(line)
            self.data.append(data)
            self.size += size
        return True


def _parts(table: Table) -> Iterator[Table]:
    """Yield a table's rows in parts: rows without room are never read."""
    for frame in table.batches():
        for start in range(0, len(frame), _CHUNK):
            yield replace(table, frame=frame.iloc[start : start + _CHUNK], stream=None)


def listed(report: Report, room: int, marked: dict[str, set[int]]) -> list[Listed]:
    """Share the room among the tables: long ones get what short ones leave."""
    found: dict[str, Listed] = {}
    by_length = sorted(report.tables, key=lambda table: table.count)
    for at, table in enumerate(by_length):
        share = room // (len(by_length) - at)
        one = Listed(table, report, share, marked.get(table.name, set()))
        found[table.name] = one
        room -= one.size
    return [found[table.name] for table in report.tables]


def table(one: Listed, report: Report, key: str) -> Markup:
    """Return a table that the page's script can sort, or the sentence for an empty one."""
    shown = one.table
    if shown.frame.empty:
        return tag("p", visible(shown.empty), class_="note")
    parts = (
        tag("caption", _caption(one, report)),
        tag("thead", tag("tr", *_heads(shown.columns))),
        tag("tbody", *one.rows),
        tag("tfoot", *_totals(shown, report, one.today)),
    )
    is_part = len(one.rows) < shown.count
    drawn = tag("table", *parts, data_gives=_gives(shown), data_part=is_part, id=f"{key}-t")
    # What scrolls sideways must be reachable by keyboard, and then needs a name.
    region = {"tabindex": 0, "role": "region", "aria_labelledby": f"{key}-h"}
    return tag("div", drawn, class_="scroll", **region)


def head(inside: str, *, is_figure: bool, **attributes: Any) -> Markup:
    """Return the head of a column; figures are aligned right."""
    return tag("th", inside, scope="col", class_="n" if is_figure else None, **attributes)


def as_json(table: Table, row: Sequence[Cell]) -> list[Any]:
    """Return a row as exact JSON values."""
    return [written(value, one.kind) for value, one in zip(row, table.columns, strict=True)]


def compact(thing: Any) -> str:
    """Write JSON in as few bytes as it takes."""
    return json.dumps(thing, ensure_ascii=False, separators=(",", ":"))


def id_of(table: Table) -> str:
    """Return the id of a table's section."""
    return section_id(table.name)


def section_id(name: str) -> str:
    """Return the id of the section of a table with this name."""
    return f"t-{re.sub('[^a-zA-Z0-9_]', '-', name)}"


def row_id(table: Table, number: int) -> str:
    """Return the id of a linked row; rows count from 1."""
    return f"{id_of(table)}-r{number}"


def _caption(one: Listed, report: Report) -> str:
    count = one.table.count
    unit = _only_unit(one.table)
    amounts = f". Amounts in {visible(unit)}" if unit else ""
    if len(one.rows) == count:
        return f"{count:,} row{'s' if count != 1 else ''}{amounts}"
    return (
        f"The first {len(one.rows):,} of {count:,} rows; totals and pictures are of all."
        f" kling-ledger report {report.name} --out DIR/ has every row{amounts}"
    )


def _only_unit(table: Table) -> str | None:
    """Return the unit of all amounts of a table, None if there are several or none."""
    if UNIT not in table.frame or all(column.kind != "money" for column in table.columns):
        return None
    # The frame of a long table has only the first rows; its totals have every unit.
    known = table.frame if table.totals is None else table.totals
    units = known[UNIT].dropna().unique()
    return str(units[0]) if len(units) == 1 else None


def rules(table: Table) -> str:
    """Return the style that aligns the figures of a table and keeps dates unbroken."""
    columns = list(enumerate(table.columns, start=1))
    figures = [at for at, column in columns if column.is_figure]
    times = [at for at, column in columns if column.kind in _TIMES]
    return _rule(table, figures, f"text-align:right;{_WHOLE}") + _rule(table, times, _WHOLE)


def _rule(table: Table, places: Sequence[int], style: str) -> str:
    cells = ",".join(f"#{id_of(table)}-t tr>:nth-child({at})" for at in places)
    return f"{cells}{{{style}}}\n" if places else ""


def _gives(table: Table) -> str:
    """Return the columns, counted from 1, in the order in which they are dropped if room is short.

    The unit goes first if the caption gives it; otherwise it stays, as do the first column and the
    main figure. Columns that the table does not name go last, from the right.
    """
    names = [column.name for column in table.columns]
    staying = {names[0], _main_figure(table), UNIT}
    asked = [name for name in (*table.gives_way, *reversed(names)) if name not in staying]
    if UNIT in names[1:] and _only_unit(table):
        asked.insert(0, UNIT)
    return " ".join(str(names.index(name) + 1) for name in dict.fromkeys(asked) if name in names)


def _main_figure(table: Table) -> str | None:
    """Return the column that a table is about: the one in its picture, or its first amount."""
    if table.picture is not None:
        return table.picture.value
    money = [column.name for column in table.columns if column.kind == "money"]
    return _CLOSING if _CLOSING in money else next(iter(money), None)


def _heads(columns: Sequence[Column]) -> Iterator[Markup]:
    for column in columns:
        yield head(
            tag("button", visible(column.title), type="button"),
            is_figure=column.is_figure,
            title=column.meaning or None,
            data_title=visible(column.title),
            data_key=_KEYS.get(column.name, column.name),
            data_kind=column.kind,
            data_adds=column.adds_up,
            aria_sort="none",
        )


def _totals(table: Table, report: Report, today: date | None) -> Iterator[Markup]:
    for row in cells.totals(table, list(table.total_rows(report.timezone)), today):
        first = Shown(f"Total {row[0].text}".strip())
        yield _row(table.columns, [first, *row[1:]])


def _row(columns: Sequence[Column], row: Sequence[Shown], **attributes: Any) -> Markup:
    first, *rest = (
        _cell(column, one, is_first=at == 0)
        for at, (column, one) in enumerate(zip(columns, row, strict=True))
    )
    return tag("tr", first, *rest, **attributes)


def _cell(column: Column, one: Shown, *, is_first: bool) -> Markup:
    kind = None
    if column.kind == "money" and one.text.startswith("-"):
        kind = "neg"
    elif len(one.text) > _LONG:
        kind = "w"
    if is_first:
        return tag("th", one.text, scope="row", class_=kind, title=one.exact)
    return tag("td", one.text, class_=kind, title=one.exact)
