"""Horizontal bars, one per place, with their values; series side by side or below each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kling_reports.render.markup import Markup, tag, void
from kling_reports.render.pictures import Drawn, Panel
from kling_reports.render.svg.parts import amount, colour, label, named_amount, percent, picture


@dataclass(frozen=True, slots=True)
class _Across:
    """How wide values are drawn, and whether a place's series are laid end to end."""

    low: int
    high: int
    is_stacked: bool

    @property
    def span(self) -> int:
        """The value that the whole width stands for."""
        return max(self.high - self.low, 1)


_THICK: Final = 14
_ROW: Final = 20
_GAP: Final = 10


def bars(drawn: Drawn, panel: Panel, title: str, key: str) -> Markup:
    """Draw a bar for each place, with its value; series end to end, or one bar each."""
    drawn, panel = _apart(drawn, panel)
    stacks = [panel.at(place, drawn.series) for place in panel.places]
    across = _across(drawn, stacks)
    parts: list[Markup] = []
    y = 4
    for place, stack in zip(panel.places, stacks, strict=True):
        parts += label(y, str(place), amount(sum(stack), drawn, panel))
        parts += _bars_of(drawn, panel, stack, across, y + _ROW)
        y += _ROW + _THICK + _GAP
    if across.low < 0:
        zero = percent(-across.low, across.high - across.low)
        parts.append(void("line", class_="zero", x1=zero, x2=zero, y1=20, y2=y - 6))
    return picture(key, title, _described(drawn, panel, stacks), height=y, parts=parts)


def _apart(drawn: Drawn, panel: Panel) -> tuple[Drawn, Panel]:
    """Return a picture whose series cannot be laid end to end, with a bar for each."""
    if len(drawn.series) < 2 or _can_be_stacked(drawn, panel.values.values()):
        return drawn, panel
    keys = [
        (at, name) for at in panel.places for name in drawn.series if (at, name) in panel.values
    ]
    values = {(f"{at} · {name}", ""): panel.values[at, name] for at, name in keys}
    places = tuple(place for place, _ in values)
    return replace(drawn, series=("",)), replace(panel, places=places, values=values)


def _can_be_stacked(drawn: Drawn, values: Iterable[int]) -> bool:
    # Rates cannot be laid end to end, nor can negative and positive values.
    return drawn.column.adds_up and all(one >= 0 for one in values)


def _across(drawn: Drawn, stacks: Sequence[Sequence[int]]) -> _Across:
    is_stacked = _can_be_stacked(drawn, [one for stack in stacks for one in stack])
    ends = [sum(stack) for stack in stacks] if is_stacked else [one for s in stacks for one in s]
    return _Across(min(*ends, 0), max(*ends, 0), is_stacked)


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
    yield void("rect", class_="track", x="0%", width="100%", y=y, height=_THICK, rx=2)
    end = 0
    for at, value in enumerate(stack):
        start, stop = sorted((end, end + value))
        if value:
            yield tag(
                "rect",
                tag("title", named_amount(drawn.series[at], value, drawn, panel)),
                class_=colour(at) if value > 0 else "below",
                x=percent(start - across.low, across.span),
                width=percent(stop - start, across.span),
                y=y,
                height=_THICK,
            )
        end = stop if across.is_stacked else end
