"""Amounts as people write them: rounded only for display, while sums use the exact figures.

An amount has two decimals; below a hundredth it has three significant digits, so that more than 0
is never shown as `0.00`. A rate, such as a cost per second, has three significant digits below one:
0.1125 and 0.1134 USD are different prices.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from kling_pricing.money import from_micro

_PLACES: Final = 2
_DIGITS: Final = 3
_SMALL: Final = Decimal("0.01")
_DAY_S: Final = 86_400
_PARTS: Final = ((_DAY_S, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def short(value: Decimal, *, is_rate: bool = False) -> str:
    """Return an amount with as few decimals as a person needs, rounded half up."""
    places = _PLACES
    if value and abs(value) < (1 if is_rate else _SMALL):
        places = max(places, _DIGITS - 1 - value.adjusted())
    rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    whole, _, after = f"{rounded:,.{places}f}".partition(".")
    text = f"{whole}.{after.rstrip('0'):0<{_PLACES}}"
    # A rate such as -0.004 with many digits is not zero; exactly zero has no sign.
    return text.removeprefix("-") if not value else text


def in_unit(micro: int, unit: str) -> str:
    """Return millionths of a unit in words: `16.88 USD`."""
    return f"{short(from_micro(micro))} {unit}"


def lasting(seconds: int) -> str:
    """Return a duration in its two largest parts; only in days from ten days up."""
    if seconds >= 10 * _DAY_S:
        return f"{seconds // _DAY_S:,} d"
    parts: list[str] = []
    rest = max(seconds, 0)
    for size, name in _PARTS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
    return " ".join(part for part in parts[:2] if part) or "0 s"
