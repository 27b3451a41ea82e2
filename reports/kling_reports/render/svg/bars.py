"""Bars across, one for each place, with its value; series stand one after another or below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kling_reports.render.markup import Markup, tag, void
from kling_reports.render.pictures import Drawn, Panel
from kling_reports.render.svg.parts import amount, colour, label, named_amount, percent, picture


@dataclass(frozen=True, slots=True)
class _Across:
    """How wide values are drawn, and whether the series of a place stand one after another."""

    low: int
    high: int
    is_stacked: bool
    has_series: bool

    @property
    def span(self) -> int:
        """What the whole width stands for."""
        return max(self.high - self.low, 1)

    @property
    def is_one(self) -> bool:
        """Whether a place has one bar, which is thick and has a track behind it."""
        return self.is_stacked or not self.has_series

    @property
    def thick(self) -> int:
        """How thick a bar is."""
        return 14 if self.is_one else 8


def bars(drawn: Drawn, panel: Panel, title: str, key: str) -> Markup:
    """Draw a bar for each place, with its value; series one after another, or below each other."""
    stacks = [panel.at(place, drawn.series) for place in panel.places]
    across = _across(drawn, stacks)
    parts: list[Markup] = []
    y = 4
    for place, stack in zip(panel.places, stacks, strict=True):
        value = amount(sum(stack), drawn, panel) if across.is_one else ""
        parts += label(y, str(place), value)
        y += 20
        parts += _bars_of(drawn, panel, stack, across, y)
        y += 14 + 10 if across.is_one else 10 * len(stack) + 10
    if across.low < 0:
        zero = percent(-across.low, across.high - across.low)
        parts.append(void("line", class_="zero", x1=zero, x2=zero, y1=20, y2=y - 6))
    return picture(key, title, _described(drawn, panel, stacks), height=y, parts=parts)


def _across(drawn: Drawn, stacks: Sequence[Sequence[int]]) -> _Across:
    # A rate cannot be laid end to end with another, nor what is below zero with what is above.
    is_stacked = drawn.column.adds_up and all(one >= 0 for stack in stacks for one in stack)
    ends = [sum(stack) for stack in stacks] if is_stacked else [one for s in stacks for one in s]
    return _Across(min(*ends, 0), max(*ends, 0), is_stacked, has_series=len(drawn.series) > 1)


def _described(drawn: Drawn, panel: Panel, stacks: Sequence[Sequence[int]]) -> str:
    sums = [sum(stack) for stack in stacks]
    largest = max(range(len(sums)), key=lambda at: abs(sums[at]))
    return (
        f"{drawn.column.title} of {len(panel.places)}: the largest is {panel.places[largest]} with"
        f" {amount(sums[largest], drawn, panel)}."
    )


def _bars_of(
    drawn: Drawn, panel: Panel, stack: Sequence[int], across: _Across, y: int
) -> Iterator[Markup]:
    thick = across.thick
    if across.is_one:
        yield void("rect", class_="track", x="0%", width="100%", y=y, height=thick, rx=2)
    end = 0
    for at, value in enumerate(stack):
        start, stop = sorted((end, end + value))
        if value:
            yield tag(
                "rect",
                tag("title", named_amount(drawn.series[at], value, drawn, panel)),
                class_=colour(at) if value > 0 or across.has_series else "below",
                x=percent(start - across.low, across.span),
                width=percent(stop - start, across.span),
                y=y,
                height=thick,
            )
        if across.is_stacked:
            end = stop
        else:
            y += thick + 2
