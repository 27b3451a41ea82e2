"""The figures of a page: the pictures of a table, with what they show in words and numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date

from kling_reports.render import pictures
from kling_reports.render.markup import Markup, joined, tag
from kling_reports.render.page.tables import head
from kling_reports.render.pictures import Bullet, Drawn, Panel
from kling_reports.render.svg import bars, bullets, over_time
from kling_reports.render.svg.parts import figure, key_of, place_text
from kling_reports.render.values import visible
from kling_reports.report import Table

_Draw = Callable[[Drawn, Panel, str, str], Markup]


def figures(table: Table, key: str, today: date | None) -> Iterator[Markup]:
    """Draw the picture of a table, if it has one; a picture over time comes with its own table.

    `today` is the day of the report, None if its time was already over.
    """
    title = visible(table.title)
    known = pictures.bullets(table)
    if known:
        drawn = bullets.bullets(known, title, f"{key}-p")
        yield tag("figure", tag("figcaption", _of_bullets(known)), drawn)
    along, across = pictures.over_time(table, today), pictures.bars(table)
    if along is not None:
        told = f"{along.column.title} by {along.step}: {along.column.meaning}{_signs(along)}"
        panels = _panels(along, over_time.over_time, title, key)
        # A table that is drawn row by row shows its figures itself.
        is_said = table.picture is not None and table.picture.limit is not None
        yield _figure(along, told, panels, Markup() if is_said else _behind(along, title))
    if across is not None:
        told = f"{across.column.title}: {across.column.meaning}"
        yield _figure(across, told, _panels(across, bars.bars, title, key), Markup())


def _signs(along: Drawn) -> str:
    """Explain the grey bars and the lines of a picture over time, if it has any."""
    beside = "" if along.beside is None else f"; grey: the {along.beside.title}"
    if along.running is None or along.step is None:
        return beside
    return f"{beside}; hatched: {place_text(along.running, along.step)}, which is not over"


def _of_bullets(known: Sequence[Bullet]) -> str:
    told = "Spent + reserved of each limit. The line is the limit, the lighter part is reserved."
    if len(known) <= pictures.MOST_BULLETS:
        return told
    return f"{told} These are the {pictures.MOST_BULLETS} of {len(known):,} that are used most."


def _panels(drawn: Drawn, draw: _Draw, title: str, key: str) -> list[Markup]:
    return [
        _panel(panel, draw(drawn, panel, f"{title}, {panel.unit}", f"{key}-{at}"))
        for at, panel in enumerate(drawn.panels)
    ]


def _panel(panel: Panel, picture: Markup) -> Markup:
    over = tag("p", visible(panel.unit)) if panel.unit else Markup()
    note = f"{panel.left_out} smaller ones are in the table only."
    under = tag("span", note, class_="note") if panel.left_out else Markup()
    return tag("div", over, picture, under)


def _figure(drawn: Drawn, told: str, panels: Sequence[Markup], behind: Markup) -> Markup:
    # A column without a meaning has only its title.
    told = told.removesuffix(": ")
    return tag(
        "figure",
        tag("figcaption", visible(told[:1].upper() + told[1:])),
        key_of(drawn.series if drawn.column.adds_up else ()),
        tag("div", *panels, class_="panels"),
        behind,
    )


def _behind(drawn: Drawn, title: str) -> Markup:
    """Return the figures behind a picture over time, for readers who cannot see it."""
    heads = [drawn.step or "", "unit", *(name or drawn.column.title for name in drawn.series)]
    heads += [drawn.beside.title] if drawn.beside is not None else []
    rows = (_row(drawn, panel, place) for panel in drawn.panels for place in panel.places)
    table = tag(
        "table",
        tag("caption", f"{title}: the figures of the picture"),
        tag("thead", tag("tr", *(head(text, is_figure=at > 1) for at, text in enumerate(heads)))),
        tag("tbody", *(tag("tr", row) for row in rows)),
    )
    scroll = tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=title)
    return tag("details", tag("summary", "Figures of this picture"), scroll)


def _row(drawn: Drawn, panel: Panel, place: date) -> Markup:
    values = panel.at(place, drawn.series)
    values += [panel.beside.get(place, 0)] if drawn.beside is not None else []
    so_far = " so far" if place == drawn.running else ""
    shown = [figure(value, drawn.column) for value in values]
    return joined(
        tag("th", f"{place_text(place, drawn.step or '')}{so_far}", scope="row"),
        tag("td", visible(panel.unit or "")),
        *(tag("td", one.text, class_="n", title=one.exact) for one in shown),
    )
