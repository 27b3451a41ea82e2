"""Pictures as inline SVG: lengths across are percentages, so text keeps its size on any screen.

Colours and fonts are the page's; a picture says with a title and a description what it shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from kling_pricing.money import from_micro, plain
from kling_reports.render.markup import Markup, joined, tag, void
from kling_reports.render.pictures import MOST_BULLETS, MOST_SERIES, Bullet, Drawn, Panel
from kling_reports.render.values import shown, visible
from kling_reports.report import Column

_PLOT: Final = 190
_TOP: Final = 10
_AXIS: Final = 40
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_MOST_LABELS: Final = 6
_LONGEST: Final = 30
_LEAST_ROOM: Final = 110
_MOST_ROOM: Final = 150
"""How many percent of a limit the bars of bullets have room for; what is more is cut there."""


def over_time(drawn: Drawn, panel: Panel, title: str, key: str) -> Markup:
    """Draw bars along time, stacked by series; below zero what is below zero."""
    stacks = [panel.at(place, drawn.series) for place in panel.places]
    highest = max(sum(one for one in stack if one > 0) for stack in stacks)
    lowest = min(sum(one for one in stack if one < 0) for stack in stacks)
    step = _nice_step(max(highest - lowest, 1))
    scale = _Scale(-(-highest // step) * step if highest else 0, lowest // step * step)
    described = (
        f"{drawn.column.title} by {drawn.step} from {panel.places[0]} to {panel.places[-1]}:"
        f" at most {_amount(highest, drawn, panel)} in one {drawn.step}."
    )
    return _picture(
        key,
        title,
        described,
        _TOP + _PLOT + _AXIS,
        *_grid(scale, step, drawn),
        *_stacked(drawn, panel, stacks, scale),
        *_time_labels(panel.places, drawn.step or ""),
        *_hovers(drawn, panel, stacks),
        class_="plot",
    )


def bars(drawn: Drawn, panel: Panel, title: str, key: str) -> Markup:
    """Draw a bar for each place, with its value; series one after another, or below each other."""
    stacks = [panel.at(place, drawn.series) for place in panel.places]
    is_stacked = drawn.column.adds_up and all(one >= 0 for stack in stacks for one in stack)
    sums = [sum(stack) for stack in stacks]
    ends = sums if is_stacked else [one for stack in stacks for one in stack]
    low, high = min(*ends, 0), max(*ends, 0)
    parts: list[Markup] = []
    y = 4
    for place, stack, whole in zip(panel.places, stacks, sums, strict=True):
        value = _amount(whole, drawn, panel) if is_stacked or len(stack) == 1 else ""
        parts += _label(y, str(place), value)
        y += 20
        thick = 14 if is_stacked or len(stack) == 1 else 8
        parts += _bars_of(drawn, panel, stack, (low, high, y, thick), is_stacked=is_stacked)
        y += 14 + 10 if thick == 14 else 10 * len(stack) + 10
    if low < 0:
        zero = _percent(-low, high - low)
        parts.append(void("line", class_="zero", x1=zero, x2=zero, y1=20, y2=y - 6))
    largest = max(range(len(sums)), key=lambda at: abs(sums[at]))
    described = (
        f"{drawn.column.title} of {len(panel.places)}: the largest is {panel.places[largest]} with"
        f" {_amount(sums[largest], drawn, panel)}."
    )
    return _picture(key, title, described, y, *parts)


def bullets(known: Sequence[Bullet], title: str, key: str) -> Markup:
    """Draw each limit as a bar with what is used of it; a line marks the limit itself.

    Where there are too many, those that are used most are drawn, in their order.
    """
    shares = {at: _of_limit(one.used, one.limit) for at, one in enumerate(known)}
    most = sorted(shares, key=lambda at: -shares[at])[:MOST_BULLETS]
    drawn = [known[at] for at in sorted(most)]
    parts: list[Markup] = []
    longest = max(shares.values())
    room = min(max(longest + 5, _LEAST_ROOM), _MOST_ROOM)
    y = 4
    for one in drawn:
        parts += _bullet(one, y, room)
        y += 66
    beyond = sum(one.used > one.limit for one in known)
    described = f"{len(known)} budgets, {beyond} of them beyond the limit."
    return _picture(key, title, described, y, *parts)


def key_of(series: Sequence[str]) -> Markup:
    """Return the list that says which colour is which series; nothing where there is one."""
    if len(series) < 2:
        return Markup()
    entries = (
        tag(
            "li",
            tag(
                "svg",
                void("rect", width=12, height=12, rx=2, class_=_colour(at)),
                width=12,
                height=12,
                aria_hidden="true",
            ),
            visible(name),
        )
        for at, name in enumerate(series)
    )
    return tag("ul", *entries, class_="key")


class _Scale:
    """From whole numbers to pixels down a plot."""

    def __init__(self, high: int, low: int) -> None:
        self.high, self.low = high, low

    def y(self, value: int) -> float:
        """Return how far down a value stands."""
        return round(_TOP + (self.high - value) * _PLOT / max(self.high - self.low, 1), 1)


def _grid(scale: _Scale, step: int, drawn: Drawn) -> Iterator[Markup]:
    value = scale.low
    while value <= scale.high:
        y = scale.y(value)
        kind = "zero" if value == 0 else "grid"
        yield void("line", class_=kind, x1="0%", x2="100%", y1=y, y2=y)
        yield tag("text", _short(value, drawn), x=-8, y=y + 4, text_anchor="end", class_="quiet")
        value += step


def _stacked(
    drawn: Drawn, panel: Panel, stacks: Sequence[Sequence[int]], scale: _Scale
) -> Iterator[Markup]:
    width = 100 / len(panel.places)
    above, below = [0] * len(stacks), [0] * len(stacks)
    for at, _ in enumerate(drawn.series):
        rects = []
        for place, stack in enumerate(stacks):
            value = stack[at]
            if not value:
                continue
            ends = above if value > 0 else below
            top, foot = sorted((scale.y(ends[place]), scale.y(ends[place] + value)))
            ends[place] += value
            rects.append(
                void(
                    "rect",
                    x=f"{place * width + width * 0.12:.2f}%",
                    width=f"{width * 0.76:.2f}%",
                    y=top,
                    height=max(round(foot - top, 1), 0.5),
                )
            )
        yield tag("g", *rects, class_=_colour(at))


def _hovers(drawn: Drawn, panel: Panel, stacks: Sequence[Sequence[int]]) -> Iterator[Markup]:
    """Lay over each place a field that tells its figures under a pointer."""
    width = 100 / len(panel.places)
    for at, (place, stack) in enumerate(zip(panel.places, stacks, strict=True)):
        told = [
            f"{visible(name) or drawn.column.title}: {_amount(value, drawn, panel)}"
            for name, value in zip(drawn.series, stack, strict=True)
            if value
        ]
        if told:
            whole = [f"all: {_amount(sum(stack), drawn, panel)}"] if len(told) > 1 else []
            text = "\n".join((place_text(place, drawn.step or ""), *told, *whole))
            yield tag(
                "rect",
                tag("title", text),
                class_="hover",
                x=f"{at * width:.2f}%",
                width=f"{width:.2f}%",
                y=_TOP,
                height=_PLOT,
            )


def place_text(place: date, step: str) -> str:
    """Return what a place in time is called: `2026-10`, `2026`, or its first day."""
    return place.isoformat()[: {"month": 7, "year": 4}.get(step, 10)]


def figure(value: int, column: Column) -> str:
    """Return a value of a picture as a person reads it in a table."""
    is_scaled = column.kind in {"money", "percent"}
    return shown(from_micro(value) if is_scaled else value, column)


def _time_labels(places: Sequence[date], step: str) -> Iterator[Markup]:
    """Name some places under the plot; every second name gives way on a narrow screen."""
    every = -(-len(places) // (12 if step == "month" else _MOST_LABELS))
    width = 100 / len(places)
    year = None
    for count, at in enumerate(range(0, len(places), every)):
        place = places[at]
        x, y = f"{(at + 0.5) * width:.2f}%", _TOP + _PLOT + 17
        text = str(place.year) if step == "year" else _MONTHS[place.month - 1]
        if step in {"day", "week"}:
            text = f"{place.day} {text}"
        gives_way = " less" if count % 2 and len(places) > every * _MOST_LABELS // 2 else ""
        yield tag("text", text, x=x, y=y, text_anchor="middle", class_=f"quiet{gives_way}")
        if step != "year" and place.year != year:
            year = place.year
            yield tag("text", str(year), x=x, y=y + 16, text_anchor="middle", class_="quiet")


def _bars_of(
    drawn: Drawn,
    panel: Panel,
    stack: Sequence[int],
    room: tuple[int, int, int, int],
    *,
    is_stacked: bool,
) -> Iterator[Markup]:
    low, high, y, thick = room
    span = max(high - low, 1)
    end = 0
    if is_stacked or len(stack) == 1:
        yield void("rect", class_="track", x="0%", width="100%", y=y, height=thick, rx=2)
    for at, value in enumerate(stack):
        start, stop = sorted((end, end + value) if is_stacked else (0, value))
        told = f"{visible(drawn.series[at]) or drawn.column.title}: {_amount(value, drawn, panel)}"
        if value:
            yield tag(
                "rect",
                tag("title", told),
                class_=_colour(at) if value > 0 or len(stack) > 1 else "below",
                x=_percent(start - low, span),
                width=_percent(stop - start, span),
                y=y,
                height=thick,
            )
        end = stop if is_stacked else 0
        y += 0 if is_stacked else thick + 2


def _bullet(one: Bullet, y: int, room: float) -> Iterator[Markup]:
    share = Decimal(one.used) / one.limit if one.limit > 0 else None
    told = "no limit" if share is None else f"{share:,.0%}".replace("%", " %")
    yield from _label(y, one.name, told)
    bar = y + 20
    end = _percent(100, room)
    yield void("rect", class_="track", x="0%", width=end, y=bar, height=16, rx=2)
    spent, used = (_of_limit(value, one.limit) for value in (one.value, one.used))
    for kind, start, stop in (
        ("spent", 0, min(spent, 100)),
        ("reserved", min(spent, 100), min(used, 100)),
        ("beyond", 100, used),
    ):
        if stop > start:
            x, width = _percent(start, room), _percent(stop - start, room)
            yield void("rect", class_=kind, x=x, width=width, y=bar, height=16)
    yield void("line", class_="limit", x1=end, x2=end, y1=bar - 4, y2=bar + 20)
    figures = [_money(amount) for amount in (one.value, one.on_top, one.limit)]
    if not one.on_top:
        del figures[1]
    *parts, limit = figures
    said = f"{' + '.join(parts)} of {limit} {visible(one.unit)}"
    yield tag("text", said, x=0, y=bar + 31, class_="quiet")


def _of_limit(value: int, limit: int) -> float:
    """Return a value in percent of a limit, as far as there can be room for it."""
    if limit <= 0:
        return _MOST_ROOM if value > 0 else 0
    return min(max(value, 0) * 100 / limit, _MOST_ROOM)


def _label(y: int, name: str, value: str) -> Iterator[Markup]:
    name = visible(name)
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    inside = [tag("title", name), short] if short != name else [short]
    yield tag("text", *inside, x=0, y=y + 12)
    yield tag("text", value, x="100%", y=y + 12, text_anchor="end", class_="value")


def _picture(
    key: str, title: str, described: str, height: int, *parts: str, class_: str = "bars"
) -> Markup:
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


def _colour(at: int) -> str:
    return f"s{at % MOST_SERIES + 1}"


def _percent(part: float, whole: float) -> str:
    return f"{part * 100 / max(whole, 1):.2f}%"


def _nice_step(span: int) -> int:
    """Return 1, 2 or 5 times a power of ten, of which a span has two to five."""
    least = max(-(-span // 5), 1)
    power = int(10 ** (len(str(least)) - 1))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= least)


def _amount(value: int, drawn: Drawn, panel: Panel) -> str:
    """Return a value of a picture in words: with its unit, or as the percentage that it is."""
    return f"{figure(value, drawn.column)} {panel.unit or ''}".strip()


def _money(micro: int) -> str:
    return shown(from_micro(micro), Column("amount_micro", "amount", "money"))


def _short(value: int, drawn: Drawn) -> str:
    """Return a round value in few characters: `2.5 M`, `40 k`, `0.05`."""
    scaled = from_micro(value) if drawn.column.kind in {"money", "percent"} else Decimal(value)
    for size, letter in ((10**9, "bn"), (10**6, "M"), (10**3, "k")):
        if abs(scaled) >= size and abs(scaled) >= 10_000:
            return f"{plain(scaled / size)} {letter}"
    return f"{scaled:,.0f}" if scaled == scaled.to_integral_value() else plain(scaled)
