"""Bullets: each limit as a bar with what is used of it; a line marks the limit itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from kling_pricing.money import from_micro
from kling_reports.amounts import short
from kling_reports.render.markup import Markup, tag, void
from kling_reports.render.pictures import MOST_BULLETS, Bullet
from kling_reports.render.svg.parts import label, percent, picture
from kling_reports.render.values import visible

_LEAST_ROOM: Final = 110
_MOST_ROOM: Final = 150
"""The most that a bar shows, in percent of its limit; longer bars are cut there."""

_HEIGHT: Final = 66


def bullets(known: Sequence[Bullet], title: str, key: str) -> Markup:
    """Draw each limit as a bar with what is used of it; a line marks the limit itself.

    If there are too many, the most used ones are drawn, in their order.
    """
    shares = {at: _of_limit(one.used, one.limit) for at, one in enumerate(known)}
    most = sorted(shares, key=lambda at: -shares[at])[:MOST_BULLETS]
    longest = max(shares.values())
    # All bars share one scale, so their limits are aligned.
    room = min(max(longest + 5, _LEAST_ROOM), _MOST_ROOM)
    parts: list[Markup] = []
    y = 4
    for at in sorted(most):
        parts += _bullet(known[at], y, room)
        y += _HEIGHT
    beyond = sum(one.used > one.limit for one in known)
    described = f"{len(known)} budgets, {beyond} of them beyond the limit."
    return picture(key, title, described, height=y, parts=parts)


def _bullet(one: Bullet, y: int, room: float) -> Iterator[Markup]:
    yield from label(y, one.name, _share(one))
    bar = y + 20
    end = percent(100, room)
    yield void("rect", class_="track", x="0%", width=end, y=bar, height=16, rx=2)
    for kind, start, stop in _stretches(one):
        x, width = percent(start, room), percent(stop - start, room)
        yield void("rect", class_=kind, x=x, width=width, y=bar, height=16)
    yield void("line", class_="limit", x1=end, x2=end, y1=bar - 4, y2=bar + 20)
    yield tag("text", _said(one), x=0, y=bar + 31, class_="quiet")


def _share(one: Bullet) -> str:
    """Return the used share of a limit; a limit of zero has none, and counts as a limit too."""
    if one.limit <= 0:
        return "over its limit" if one.used > one.limit else "nothing allowed"
    used = f"{Decimal(one.used) / one.limit:,.0%}".replace("%", " %")
    return f"{used}, over its limit" if one.used > one.limit else used


def _stretches(one: Bullet) -> Iterator[tuple[str, float, float]]:
    """Return the spent, reserved and excess parts of a bar, in percent of the limit."""
    spent, used = (_of_limit(value, one.limit) for value in (one.value, one.used))
    for kind, start, stop in (
        ("spent", 0, min(spent, 100)),
        ("reserved", min(spent, 100), min(used, 100)),
        ("beyond", 100, used),
    ):
        if stop > start:
            yield kind, start, stop


def _said(one: Bullet) -> str:
    parts = [one.value, one.on_top] if one.on_top else [one.value]
    used = " + ".join(map(_money, parts))
    limit = f"a limit of {_money(one.limit)}" if one.limit <= 0 else _money(one.limit)
    return f"{used} of {limit} {visible(one.unit)}"


def _of_limit(value: int, limit: int) -> float:
    """Return a value in percent of a limit, cut at the room there is."""
    if limit <= 0:
        return _MOST_ROOM if value > 0 else 0
    return min(max(value, 0) * 100 / limit, _MOST_ROOM)


def _money(micro: int) -> str:
    return short(from_micro(micro))
