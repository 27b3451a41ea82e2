"""A report as one HTML file that loads nothing from a network: words, pictures, tables, its data.

A policy in the page allows only our own style and script, by their digests. Everything is visible
without the script, which only sorts, filters, and shows exact figures.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Final

from kling_reports.render.markup import Markup, joined, tag, void
from kling_reports.render.page import words
from kling_reports.render.page.cells import today_of
from kling_reports.render.page.data import data
from kling_reports.render.page.figures import figures
from kling_reports.render.page.tables import Listed, id_of, listed, rules, table
from kling_reports.render.page.top import COMPARED, header
from kling_reports.render.values import titled, visible
from kling_reports.report import Report, Table

_MOST_BYTES: Final = 280_000
_TOLD: Final = (words.FINDINGS, COMPARED)
"""The tables that a page shows in its own way, before all others."""

_PLACES: Final = {
    **dict.fromkeys(("projects", "open"), "split"),
    **dict.fromkeys(("users", "models", "providers", "basis"), "half"),
    **dict.fromkeys(("project_models", "days", "jobs"), "lookup"),
}
"""The layout of an overview's tables: beside their own picture, beside each other, or (tables for
looking things up) only on a screen."""


def render(report: Report) -> bytes:
    """Return the page in UTF-8, below 300 kB.

    If there are too many rows for that, long tables list their first rows and say so; totals and
    pictures always cover all rows.
    """
    drawn = {one.name: list(_figures(one, report)) for one in report.tables}
    # The size of the page without rows shows how much room is left for them.
    rest = len(_page(report, [Listed(one, report, 0) for one in report.tables], drawn))
    found = listed(report, _MOST_BYTES - rest, words.leads_to(report))
    return _page(report, found, drawn)


def _figures(table: Table, report: Report) -> Iterator[Markup]:
    if table.name not in _TOLD:
        yield from figures(table, id_of(table), today_of(report))


def _page(report: Report, listed: Sequence[Listed], drawn: dict[str, list[Markup]]) -> bytes:
    script = _resource("page.js")
    shown = [one for one in listed if one.table.name not in _TOLD]
    body = tag(
        "body",
        tag("a", "Skip to the tables", href="#tables", class_="skip"),
        header(report),
        tag(
            "main",
            *_told(report),
            _contents(shown),
            tag("div", *(_section(one, report, drawn) for one in shown), id="tables"),
        ),
        _footer(report),
        # JSON is not a script: the policy allows it without a digest, and no browser runs it.
        tag("script", data(report, listed), type="application/json", id="data"),
        tag("script", script),
    )
    style = joined(_resource("page.css"), *(Markup(rules(one.table)) for one in shown))
    head = _head(report, style, script)
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
        tag("title", f"{titled(report)} – {report.generated_at:%Y-%m-%d}"),
        tag("style", style),
    )


def _told(report: Report) -> Iterator[Markup]:
    tables = {one.name: one for one in report.tables}
    if words.FINDINGS in tables:
        yield words.findings(tables[words.FINDINGS], report)
    if COMPARED in tables:
        yield words.compared(tables[COMPARED])


def _contents(shown: Sequence[Listed]) -> Markup:
    if len(shown) < 3:
        return Markup()
    links = (
        tag("li", tag("a", visible(_short(one.table)), href=f"#{id_of(one.table)}"))
        for one in shown
    )
    return tag("nav", tag("ul", *links), aria_label="Contents")


def _short(table: Table) -> str:
    """Return the title of a table without its time."""
    return table.title.partition(":")[0]


def _section(one: Listed, report: Report, drawn: dict[str, list[Markup]]) -> Markup:
    key, name = id_of(one.table), one.table.name
    heading, colon, time = one.table.title.partition(": ")
    of_time = tag("small", f" {visible(time)}") if colon else Markup()
    return tag(
        "section",
        tag("h2", visible(heading), of_time, id=f"{key}-h"),
        *drawn[name],
        table(one, report, key),
        id=key,
        aria_labelledby=f"{key}-h",
        class_=_PLACES.get(name) if report.name == "overview" else None,
    )


def _on_screen_alone(report: Report) -> Markup:
    """Say on paper which tables are only on the screen."""
    places = _PLACES if report.name == "overview" else {}
    names = [visible(_short(one)) for one in report.tables if places.get(one.name) == "lookup"]
    told = f"Left out of the print; look them up in: {', '.join(names)}."
    return tag("p", told, class_="paper") if names else Markup()


def _footer(report: Report) -> Markup:
    notes = tag("ul", *(tag("li", visible(note)) for note in report.notes))
    told = (
        "A blank means unknown or not applicable, never zero. Amounts are rounded for show"
        " alone: totals are of the exact figures, which the page has too."
    )
    return tag(
        "footer",
        _on_screen_alone(report),
        notes if report.notes else Markup(),
        tag("p", told),
    )


def _resource(name: str) -> Markup:
    return Markup(files("kling_reports.render.page").joinpath(name).read_text("utf-8"))


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
