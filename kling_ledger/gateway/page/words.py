"""Words: texts, amounts and times as the page writes them; everything is escaped here."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Final

from kling_pricing.errors import cut, on_one_line
from kling_pricing.money import Money, plain

_LONGEST: Final = 120
_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def text(given: object) -> str:
    """Return a text for HTML, safe in any place; empty for None."""
    return "" if given is None else escape(cut(on_one_line(str(given)), _LONGEST))


def sentence(given: str) -> str:
    """Return a sentence of our own for HTML, in full."""
    return escape(on_one_line(given))


def amount(money: Money) -> str:
    """Return an exact amount without its unit: at least two decimals, thousands grouped."""
    whole, _, decimals = plain(money.amount).partition(".")
    return f"{Decimal(whole):,}.{decimals:<02}" if whole != "-0" else f"-0.{decimals:<02}"


def span(seconds: float) -> str:
    """Return a duration in its two largest parts: `3 min`, `2 h 5 min`, `4 d 3 h`."""
    left = max(int(seconds), 0)
    if left < _STEPS[-1][0]:
        return f"{left} s"
    at = next(place for place, (step, _) in enumerate(_STEPS) if left >= step)
    (step, unit), *smaller = _STEPS[at:]
    told = f"{left // step} {unit}"
    if smaller and left % step >= smaller[0][0]:
        told += f" {left % step // smaller[0][0]} {smaller[0][1]}"
    return told


def instant(at: datetime, now: datetime) -> str:
    """Return an instant in UTC as an element; if it is today, only the time."""
    is_today = at.date() == now.date()
    shown = f"{at:%H:%M:%S}" if is_today else f"{at:%Y-%m-%d %H:%M}"
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{shown}</time>'


def moment(at: datetime) -> str:
    """Return an instant in UTC for a sentence, as an element."""
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M:%S} UTC</time>'
