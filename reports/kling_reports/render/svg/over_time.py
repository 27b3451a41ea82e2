"""Bars along time, stacked by series, with a scale of round figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from kling_pricing.money import from_micro, plain
from kling_reports.render.markup import Markup, tag, void
from kling_reports.render.pictures import Drawn, Panel
from kling_reports.render.svg.parts import amount, colour, named_amount, picture, place_text

_PLOT: Final = 190
_TOP: Final = 10
_AXIS: Final = 40
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_MOST_LABELS: Final = 6
_USUAL: Final = 0.76
_WIDE: Final = 0.94
"""The share of a place's width that its bar takes, and that of the bar behind it."""

_Stacks = Sequence[Sequence[int]]


def over_time(drawn: Drawn, panel: Panel, title: str, key: str) -> Markup:
    """Draw bars along time, stacked by series; negative values go below zero."""
    stacks = [panel.at(place, drawn.series) for place in panel.places]
    highest = max(sum(one for one in stack if one > 0) for stack in stacks)
    highest = max(highest, *panel.beside.values(), 0)
    lowest = min(sum(one for one in stack if one < 0) for stack in stacks)
    step = _nice_step(max(highest - lowest, 1))
    # The scale ends at the first round figure that no bar exceeds.
    scale = _Scale(-(-highest // step) * step if highest else 0, lowest // step * step)
    described = (
        f"{drawn.column.title} by {drawn.step} from {panel.places[0]} to {panel.places[-1]}:"
        f" at most {amount(highest, drawn, panel)} in one {drawn.step}."
    )
    parts = [
        *_grid(scale, step, drawn),
        *_beside(panel, scale),
        *_stacked(drawn, stacks, scale),
        *_hatched(drawn, panel, stacks, scale, key),
        *_time_labels(panel.places, drawn.step or ""),
        *_hovers(drawn, panel, stacks),
    ]
    height = _TOP + _PLOT + _AXIS
    return picture(key, title, described, height=height, parts=parts, class_="plot")


@dataclass(frozen=True, slots=True)
class _Scale:
    """Converts whole numbers to vertical pixels of a plot."""

    high: int
    low: int

    def y(self, value: int) -> float:
        """Return the vertical position of a value."""
        return round(_TOP + (self.high - value) * _PLOT / max(self.high - self.low, 1), 1)


def _grid(scale: _Scale, step: int, drawn: Drawn) -> Iterator[Markup]:
    for value in range(scale.low, scale.high + 1, step):
        y = scale.y(value)
        kind = "zero" if value == 0 else "grid"
        yield void("line", class_=kind, x1="0%", x2="100%", y1=y, y2=y)
        yield tag("text", _short(value, drawn), x=-8, y=y + 4, text_anchor="end", class_="quiet")


def _stacked(drawn: Drawn, stacks: _Stacks, scale: _Scale) -> Iterator[Markup]:
    """Draw series by series, each on top of the ones before; negative ones beneath."""
    above, below = [0] * len(stacks), [0] * len(stacks)
    for at, _ in enumerate(drawn.series):
        rects = []
        for place, stack in enumerate(stacks):
            value = stack[at]
            if value:
                ends = above if value > 0 else below
                rects.append(_bar(place, len(stacks), scale, (ends[place], ends[place] + value)))
                ends[place] += value
        yield tag("g", *rects, class_=colour(at))


def _beside(panel: Panel, scale: _Scale) -> Iterator[Markup]:
    """Draw, behind the bars and a little wider, what they are compared with."""
    rects = [
        _bar(at, len(panel.places), scale, (0, panel.beside[place]), part=_WIDE)
        for at, place in enumerate(panel.places)
        if panel.beside.get(place)
    ]
    if rects:
        yield tag("g", *rects, class_="then")


def _hatched(
    drawn: Drawn, panel: Panel, stacks: _Stacks, scale: _Scale, key: str
) -> Iterator[Markup]:
    """Hatch the bar of a time that is not over."""
    if drawn.running is None or drawn.running not in panel.places:
        return
    at = panel.places.index(drawn.running)
    ends = (sum(min(one, 0) for one in stacks[at]), sum(max(one, 0) for one in stacks[at]))
    line = void("path", d="M0 6L6 0M-1 1L1 -1M5 7L7 5", class_="hatch")
    name = f"{key}-hatch"
    box = {"width": 6, "height": 6, "patternUnits": "userSpaceOnUse"}
    yield tag("defs", tag("pattern", line, id=name, **box))
    yield _bar(at, len(panel.places), scale, ends, fill=f"url(#{name})")


def _bar(
    place: int,
    places: int,
    scale: _Scale,
    ends: tuple[int, int],
    *,
    part: float = _USUAL,
    **attributes: object,
) -> Markup:
    """Draw one bar, `part` of its place wide."""
    width = 100 / places
    top, foot = sorted(map(scale.y, ends))
    return void(
        "rect",
        x=f"{place * width + width * (1 - part) / 2:.2f}%",
        width=f"{width * part:.2f}%",
        y=top,
        # A very small value is still visible.
        height=max(round(foot - top, 1), 0.5),
        **attributes,
    )


def _hovers(drawn: Drawn, panel: Panel, stacks: _Stacks) -> Iterator[Markup]:
    """Cover each place with an area that shows its figures under the pointer."""
    width = 100 / len(panel.places)
    for at, (place, stack) in enumerate(zip(panel.places, stacks, strict=True)):
        told = [
            named_amount(name, value, drawn, panel)
            for name, value in zip(drawn.series, stack, strict=True)
            if value
        ]
        if panel.beside.get(place) and drawn.beside is not None:
            told.append(f"{drawn.beside.title}: {amount(panel.beside[place], drawn, panel)}")
        if told:
            whole = (
                [f"all: {amount(sum(stack), drawn, panel)}"] if sum(map(bool, stack)) > 1 else []
            )
            yield tag(
                "rect",
                tag("title", "\n".join((place_text(place, drawn.step or ""), *told, *whole))),
                class_="hover",
                x=f"{at * width:.2f}%",
                width=f"{width:.2f}%",
                y=_TOP,
                height=_PLOT,
            )


def _time_labels(places: Sequence[date], step: str) -> Iterator[Markup]:
    """Label some places under the plot; every second label is dropped on a narrow screen."""
    every = -(-len(places) // (12 if step == "month" else _MOST_LABELS))
    width = 100 / len(places)
    year = None
    for count, at in enumerate(range(0, len(places), every)):
        place = places[at]
        x, y = f"{(at + 0.5) * width:.2f}%", _TOP + _PLOT + 17
        gives_way = " less" if count % 2 and len(places) > every * _MOST_LABELS // 2 else ""
        text = _called(place, step)
        yield tag("text", text, x=x, y=y, text_anchor="middle", class_=f"quiet{gives_way}")
        # A year is written once, under its first place whose label is never dropped.
        if step != "year" and place.year != year and not gives_way:
            year = place.year
            yield tag("text", str(year), x=x, y=y + 16, text_anchor="middle", class_="quiet")


def _called(place: date, step: str) -> str:
    if step == "year":
        return str(place.year)
    month = _MONTHS[place.month - 1]
    return f"{place.day} {month}" if step in {"day", "week"} else month


def _nice_step(span: int) -> int:
    """Return 1, 2 or 5 times a power of ten, of which two to five fit into a span."""
    least = max(-(-span // 5), 1)
    power = int(10 ** (len(str(least)) - 1))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= least)


def _short(value: int, drawn: Drawn) -> str:
    """Return a short form of a round value: `2.5 M`, `40 k`, `0.05`."""
    scaled = from_micro(value) if drawn.column.kind in {"money", "percent"} else Decimal(value)
    for size, letter in ((10**9, "bn"), (10**6, "M"), (10**3, "k")):
        if abs(scaled) >= size and abs(scaled) >= 10_000:
            return f"{plain(scaled / size)} {letter}"
    return f"{scaled:,.0f}" if scaled == scaled.to_integral_value() else plain(scaled)
