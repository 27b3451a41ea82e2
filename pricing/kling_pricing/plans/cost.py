"""Cost: what something costs in one unit: at least, as expected and at most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import add

from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Cost:
    """What something costs in one unit. Each part is an exact amount.

    `low` is the least and `high` the most; `expected` is None if it cannot be told before the run.
    A difference of two costs is a Cost too; its amounts may be negative.
    """

    low: Money
    expected: Money | None
    high: Money

    @property
    def unit(self) -> str:
        """What the amounts count."""
        return self.high.unit

    @property
    def parts(self) -> tuple[Money | None, ...]:
        """Its low, expected and high, in this order."""
        return self.low, self.expected, self.high

    def __add__(self, other: Cost) -> Cost:
        is_known = self.expected is not None and other.expected is not None
        expected = self.expected + other.expected if is_known else None  # type: ignore[operator]
        return Cost(self.low + other.low, expected, self.high + other.high)

    def __sub__(self, other: Cost) -> Cost:
        return self + -other

    def __neg__(self) -> Cost:
        expected = None if self.expected is None else self.expected * -1
        return Cost(self.low * -1, expected, self.high * -1)

    def per(self, clips: int) -> Cost:
        """Return the average cost of one of a number of clips, rounded up to a millionth."""
        share = Fraction(1, clips)
        expected = None if self.expected is None else times(self.expected, share)
        return Cost(times(self.low, share), expected, times(self.high, share))

    @classmethod
    def zero(cls, unit: str) -> Cost:
        """Return a cost of zero in a unit."""
        nothing = Money.zero(unit)
        return cls(nothing, nothing, nothing)

    @classmethod
    def by_unit(cls, costs: Iterable[Cost]) -> dict[str, Cost]:
        """Return the sum of the costs in each unit that there is."""
        sums: dict[str, Cost] = {}
        for one in costs:
            sums[one.unit] = sums[one.unit] + one if one.unit in sums else one
        return sums

    @classmethod
    def total(cls, costs: Iterable[Cost | None]) -> Cost | None:
        """Return the sum of costs in one unit; None if one is unknown, or there are none."""
        found = list(costs)
        known = [one for one in found if one is not None]
        return reduce(add, known) if known and len(known) == len(found) else None


def times(money: Money, count: Fraction) -> Money:
    """Return an amount times a number, rounded up to a millionth."""
    micro = -(-money.micro * count.numerator // count.denominator)
    return Money.from_micro(micro, money.unit)


def nearest(number: Fraction) -> int:
    """Return the nearest whole number; halves are rounded away from zero."""
    whole = int(abs(number) + Fraction(1, 2))
    return whole if number >= 0 else -whole
