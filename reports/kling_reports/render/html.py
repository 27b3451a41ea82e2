"""A report as one HTML file that asks nothing of any network: pictures, tables, and its data.

A policy in the page lets only our own style and script into effect, by their digests. The tables
are there without the script, which sorts them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from kling_reports.render.markup import Markup, tag, void
from kling_reports.render.page.data import data
from kling_reports.render.page.figures import figures
from kling_reports.render.page.tables import Listed, id_of, listed, table
from kling_reports.render.values import facts, shown, visible
from kling_reports.report import UNIT, Report, Table

_MOST_BYTES: Final = 280_000
_MOST_TILES: Final = 4


def render(report: Report) -> bytes:
    """Return the page in UTF-8, below 300 kB.

    Where the rows of all tables are too many for that, long tables list their first rows and say
    so; totals and pictures are always of all.
    """
    # What a page takes without any rows says how much room there is for them.
    rest = len(_page(report, [Listed(one, report, 0) for one in report.tables]))
    return _page(report, listed(report, _MOST_BYTES - rest))


def _page(report: Report, listed: Sequence[Listed]) -> bytes:
    script = _resource("page.js")
    body = tag(
        "body",
        _header(report),
        _contents(report),
        tag("main", *(_section(one, report) for one in listed)),
        _footer(report),
        # JSON is no script: the policy lets it be without a digest, and no browser runs it.
        tag("script", data(report, listed), type="application/json", id="data"),
        tag("script", script),
    )
    head = _head(report, _resource("page.css"), script)
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n".encode()


def _head(report: Report, style: Markup, script: Markup) -> Markup:
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}';"
        " base-uri 'none'; form-action 'none'"
    )
    return tag(
        "head",
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=policy),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{report.title} – {report.generated_at:%Y-%m-%d}"),
        tag("style", style),
    )


def _header(report: Report) -> Markup:
    told = (tag("div", tag("dt", name), tag("dd", visible(text))) for name, text in facts(report))
    return tag(
        "header",
        tag("h1", visible(report.title)),
        tag("p", visible(report.question), class_="question"),
        tag("dl", *told, class_="facts"),
        _tiles(report.main),
    )


def _tiles(main: Table) -> Markup:
    """Put the sums of money of the main table at the top, unit by unit."""
    adding = [place for place, one in enumerate(main.columns) if one.adds_up]
    money = [place for place in adding if main.columns[place].kind == "money"]
    names = [column.name for column in main.columns]
    tiles = [
        tag(
            "li",
            tag("span", visible(main.columns[place].title)),
            tag("b", shown(row[place], main.columns[place])),
            tag("span", visible(str(row[names.index(UNIT)] or "")) if UNIT in names else ""),
        )
        for row in main.total_rows()
        for place in (money or adding)[:_MOST_TILES]
        if row[place] is not None
    ]
    return tag("ul", *tiles, class_="tiles", aria_label="Totals") if tiles else Markup()


def _contents(report: Report) -> Markup:
    if len(report.tables) < 3:
        return Markup()
    links = (
        tag("li", tag("a", visible(one.title), href=f"#{id_of(one)}")) for one in report.tables
    )
    return tag("nav", tag("ul", *links), aria_label="Contents")


def _section(one: Listed, report: Report) -> Markup:
    key = id_of(one.table)
    return tag(
        "section",
        tag("h2", visible(one.table.title), id=f"{key}-h"),
        *figures(one.table, key),
        table(one, report, key),
        id=key,
        aria_labelledby=f"{key}-h",
    )


def _footer(report: Report) -> Markup:
    notes = tag("ul", *(tag("li", visible(note)) for note in report.notes))
    told = "A blank is not known or does not apply; it is never zero."
    return tag("footer", notes if report.notes else Markup(), tag("p", told))


def _resource(name: str) -> Markup:
    return Markup(files("kling_reports.render.page").joinpath(name).read_text("utf-8"))


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
