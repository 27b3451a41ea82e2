"""A report as one HTML file that asks nothing of any network: pictures, tables, and its data.

A policy in the page lets only our own style and script into effect, by their digests. The tables
are there without the script, which sorts them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Final

from kling_reports.render import pictures, svg
from kling_reports.render.json import columns, heading
from kling_reports.render.markup import Markup, joined, tag, void
from kling_reports.render.pictures import Drawn
from kling_reports.render.values import facts, lines, shown, total_lines, visible, written
from kling_reports.report import UNIT, Column, Report, Table

_MOST_BYTES: Final = 280_000
_MOST_TILES: Final = 4
_SHORT: Final = 24
"""The characters of a text that stays in one line."""

_PAD: Final = "\u2007"
"""A blank as wide as a digit."""


def render(report: Report) -> bytes:
    """Return the page in UTF-8, below 300 kB.

    Where the rows of all tables are too many for that, long tables list their first rows and say
    so; totals and pictures are always of all.
    """
    rest = len(_page(report, [_Listed(table, report, 0) for table in report.tables]))
    return _page(report, _listed(report, _MOST_BYTES - rest))


class _Listed:
    """The rows of a table that are listed in a page, as markup and as data."""

    def __init__(self, table: Table, report: Report, room: int) -> None:
        self.table = table
        self.rows: list[Markup] = []
        self.data: list[str] = []
        self.size = 0
        told = lines(table, report.timezone, pad=_PAD)
        for row, values in zip(told, table.rows(report.timezone), strict=True):
            shown_row = _row(table.columns, row)
            data = _compact([written(*one) for one in zip(values, _kinds(table), strict=True)])
            size = len(shown_row.encode()) + len(data.encode()) + 2
            if self.size + size > room:
                break
            self.rows.append(shown_row)
            self.data.append(data)
            self.size += size


def _listed(report: Report, room: int) -> list[_Listed]:
    """Share the room among the tables: what short ones leave is for the long ones."""
    found: dict[str, _Listed] = {}
    by_length = sorted(report.tables, key=lambda table: len(table.frame))
    for at, table in enumerate(by_length):
        one = _Listed(table, report, room // (len(by_length) - at))
        found[table.name] = one
        room -= one.size
    return [found[table.name] for table in report.tables]


def _page(report: Report, listed: Sequence[_Listed]) -> bytes:
    style, script = _resource("page.css"), _resource("page.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}';"
        " base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=policy),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{report.title} – {report.generated_at:%Y-%m-%d}"),
        tag("style", style),
    )
    body = tag(
        "body",
        _header(report),
        _contents(report),
        tag("main", *(_section(one, report) for one in listed)),
        _footer(report),
        tag("script", _data(report, listed), type="application/json", id="data"),
        tag("script", script),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n".encode()


def _header(report: Report) -> Markup:
    told = (tag("div", tag("dt", name), tag("dd", visible(text))) for name, text in facts(report))
    return tag(
        "header",
        tag("h1", visible(report.title)),
        tag("p", visible(report.question), class_="question"),
        tag("dl", *told, class_="facts"),
        _tiles(report.main),
    )


def _tiles(table: Table) -> Markup:
    """Put the sums of money of the main table at the top, unit by unit."""
    adding = [place for place, one in enumerate(table.columns) if one.adds_up]
    money = [place for place in adding if table.columns[place].kind == "money"]
    names = [column.name for column in table.columns]
    tiles = [
        tag(
            "li",
            tag("span", visible(table.columns[place].title)),
            tag("b", shown(row[place], table.columns[place])),
            tag("span", visible(str(row[names.index(UNIT)] or "")) if UNIT in names else ""),
        )
        for row in table.total_rows()
        for place in (money or adding)[:_MOST_TILES]
        if row[place] is not None
    ]
    return tag("ul", *tiles, class_="tiles", aria_label="Totals") if tiles else Markup()


def _contents(report: Report) -> Markup:
    if len(report.tables) < 3:
        return Markup()
    links = (tag("li", tag("a", visible(one.title), href=f"#{_id(one)}")) for one in report.tables)
    return tag("nav", tag("ul", *links), aria_label="Contents")


def _section(one: _Listed, report: Report) -> Markup:
    key = _id(one.table)
    return tag(
        "section",
        tag("h2", visible(one.table.title), id=f"{key}-h"),
        *_figure(one.table, key),
        _table(one, report, key),
        id=key,
        aria_labelledby=f"{key}-h",
    )


def _figure(table: Table, key: str) -> Iterator[Markup]:
    """Draw the picture of a table, if it has one; one of time comes with a table of its own."""
    title = visible(table.title)
    known = pictures.bullets(table)
    if known:
        told = (
            "Spent + reserved of each limit. The line is the limit, the lighter part is reserved."
        )
        if len(known) > pictures.MOST_BULLETS:
            told += f" These are the {pictures.MOST_BULLETS} of {len(known):,} that are used most."
        yield tag("figure", tag("figcaption", told), svg.bullets(known, title, f"{key}-p"))
    along, across = pictures.over_time(table), pictures.bars(table)
    if along is not None:
        drawn = [
            _panel(along, at, svg.over_time(along, panel, f"{title}, {panel.unit}", f"{key}-{at}"))
            for at, panel in enumerate(along.panels)
        ]
        told = f"{along.column.title} by {along.step}: {along.column.meaning}".removesuffix(": ")
        yield _drawn(along, told, drawn, _behind(along, title))
    if across is not None:
        drawn = [
            _panel(across, at, svg.bars(across, panel, f"{title}, {panel.unit}", f"{key}-{at}"))
            for at, panel in enumerate(across.panels)
        ]
        told = f"{across.column.title}: {across.column.meaning}".removesuffix(": ")
        yield _drawn(across, told, drawn, Markup())


def _drawn(drawn: Drawn, told: str, panels: Sequence[Markup], behind: Markup) -> Markup:
    return tag(
        "figure",
        tag("figcaption", visible(told[:1].upper() + told[1:])),
        svg.key_of(drawn.series),
        tag("div", *panels, class_="panels"),
        behind,
    )


def _panel(drawn: Drawn, at: int, picture: Markup) -> Markup:
    panel = drawn.panels[at]
    over = tag("p", visible(panel.unit)) if panel.unit else Markup()
    note = f"{panel.left_out} smaller ones are in the table only."
    under = tag("span", note, class_="note") if panel.left_out else Markup()
    return tag("div", over, picture, under)


def _behind(drawn: Drawn, title: str) -> Markup:
    """Return the figures behind a picture of time, for whoever does not see it."""
    heads = [drawn.step or "", "unit", *(name or drawn.column.title for name in drawn.series)]
    figures = len(drawn.series)
    head = tag("tr", *(_head(text, is_figure=at > 1) for at, text in enumerate(heads)))
    rows = []
    for panel in drawn.panels:
        for place in panel.places:
            values = panel.at(place, drawn.series)
            scaled = (svg.figure(value, drawn.column) for value in values)
            cells = (svg.place_text(place, drawn.step or ""), panel.unit or "", *scaled)
            rows.append(
                joined(
                    tag("th", cells[0], scope="row"),
                    tag("td", visible(cells[1])),
                    *(tag("td", text, class_="n") for text in cells[-figures:]),
                )
            )
    caption = tag("caption", f"{title}: the figures of the picture")
    table = tag(
        "table", caption, tag("thead", head), tag("tbody", *(tag("tr", row) for row in rows))
    )
    scroll = tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=title)
    return tag("details", tag("summary", "Figures of this picture"), scroll)


def _table(one: _Listed, report: Report, key: str) -> Markup:
    table, count = one.table, len(one.table.frame)
    if not count:
        return tag("p", visible(table.empty), class_="note")
    told = f"{count:,} row{'s' if count != 1 else ''}"
    if len(one.rows) < count:
        told = (
            f"The first {len(one.rows):,} of {count:,} rows; totals and pictures are of all."
            " --format csv and xlsx have every row."
        )
    heads = (
        _head(
            tag("button", visible(column.title), type="button"),
            is_figure=column.is_figure,
            title=column.meaning or None,
            data_title=visible(column.title),
            aria_sort="none",
        )
        for column in table.columns
    )
    totals = (_row(table.columns, row) for row in total_lines(table, report.timezone, pad=_PAD))
    parts = (
        tag("caption", told),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *one.rows),
        tag("tfoot", *totals),
    )
    drawn = tag("table", *parts, data_sorts=True, id=f"{key}-t")
    region = {"tabindex": 0, "role": "region", "aria_labelledby": f"{key}-h"}
    return tag("div", drawn, class_="scroll", **region)


def _head(inside: str, *, is_figure: bool, **attributes: Any) -> Markup:
    return tag("th", inside, scope="col", class_="n" if is_figure else None, **attributes)


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


def _footer(report: Report) -> Markup:
    notes = tag("ul", *(tag("li", visible(note)) for note in report.notes))
    told = "A blank is not known or does not apply; it is never zero."
    return tag("footer", notes if report.notes else Markup(), tag("p", told))


def _data(report: Report, listed: Sequence[_Listed]) -> Markup:
    """Return the page's data as JSON in which nothing ends a script or begins an element."""
    tables = ",".join(
        f"{_compact(one.table.name)}:{{{_table_data(one, report)}}}" for one in listed
    )
    text = f'{_compact(heading(report))[:-1]},"tables":{{{tables}}}}}'
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _table_data(one: _Listed, report: Report) -> str:
    table = one.table
    totals = [
        [written(*cell) for cell in zip(row, _kinds(table), strict=True)]
        for row in table.total_rows(report.timezone)
    ]
    parts = {
        "title": _compact(table.title),
        "columns": _compact(columns(table)),
        "count": str(len(table.frame)),
        "rows": f"[{','.join(one.data)}]",
        "totals": _compact(totals),
    }
    return ",".join(f'"{name}":{text}' for name, text in parts.items())


def _kinds(table: Table) -> list[Any]:
    return [column.kind for column in table.columns]


def _compact(thing: Any) -> str:
    return json.dumps(thing, ensure_ascii=False, separators=(",", ":"))


def _id(table: Table) -> str:
    return f"t-{re.sub('[^a-zA-Z0-9_]', '-', table.name)}"


def _resource(name: str) -> Markup:
    return Markup(files("kling_reports.render").joinpath(name).read_text("utf-8"))


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
