"""The parts of every picture: its frame, its labels, its colours and its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from kling_pricing.money import from_micro
from kling_reports.render.markup import Markup, joined, tag, void
from kling_reports.render.page.cells import Shown, cell
from kling_reports.render.pictures import MOST_SERIES, Drawn, Panel
from kling_reports.render.values import visible
from kling_reports.report import Column

_LONGEST: Final = 30
"""The longest name that leaves room for a value on a phone."""


def picture(
    key: str, title: str, described: str, *, height: int, parts: Sequence[str], class_: str = "bars"
) -> Markup:
    """Return a picture with its text for screen readers; `key` makes its ids unique."""
    return tag(
        "svg",
        tag("title", title, id=f"{key}-title"),
        tag("desc", described, id=f"{key}-desc"),
        joined(*parts),
        class_=class_,
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
        width="100%",
        height=height,
    )


def key_of(series: Sequence[str]) -> Markup:
    """Return the legend of the series; nothing if there is only one."""
    if len(series) < 2:
        return Markup()
    entries = (tag("li", _sample(at), visible(name)) for at, name in enumerate(series))
    return tag("ul", *entries, class_="key")


def label(y: int, name: str, value: str) -> Iterator[Markup]:
    """Write a name at the left, shortened if it is long, and a value at the right."""
    name = visible(name)
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    inside = [tag("title", name), short] if short != name else [short]
    yield tag("text", *inside, x=0, y=y + 12)
    yield tag("text", value, x="100%", y=y + 12, text_anchor="end", class_="value")


def colour(at: int) -> str:
    """Return the colour class of a series, by its position."""
    return f"s{at % MOST_SERIES + 1}"


def percent(part: float, whole: float) -> str:
    """Return a width: a part of a whole in percent."""
    return f"{part * 100 / max(whole, 1):.2f}%"


def place_text(place: date, step: str) -> str:
    """Return the name of a place in time: `2026-10`, `2026`, or its first day."""
    return place.isoformat()[: {"month": 7, "year": 4}.get(step, 10)]


def figure(value: int, column: Column) -> Shown:
    """Return a value of a picture as in a table."""
    is_scaled = column.kind in {"money", "percent"}
    return cell(from_micro(value) if is_scaled else value, column)


def amount(value: int, drawn: Drawn, panel: Panel) -> str:
    """Return a value of a picture in words: with its unit, or as a percentage."""
    return f"{figure(value, drawn.column).text} {panel.unit or ''}".strip()


def named_amount(name: str, value: int, drawn: Drawn, panel: Panel) -> str:
    """Return a value with the name of its series; for a single series, the column's title."""
    return f"{visible(name) or drawn.column.title}: {amount(value, drawn, panel)}"


def _sample(at: int) -> Markup:
    field = void("rect", width=12, height=12, rx=2, class_=colour(at))
    return tag("svg", field, width=12, height=12, aria_hidden="true")
