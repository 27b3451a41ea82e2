"""US dollars shown in another currency, at a dated rate that the user gives: none is built in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Final

from kling_pricing.errors import AmountError
from kling_pricing.money import USD, Money
from kling_pricing.plans.cost import Cost, nearest

_WRITTEN: Final = re.compile(
    r"\s*([0-9]{1,9}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})\s*([A-Za-z]{3})\s*/\s*([A-Za-z]{3})\s*"
)


@dataclass(frozen=True, slots=True)
class ShownRate:
    """What one US dollar is in another currency: `per_usd` of `unit`, on a day, from a source.

    `written` is the rate as given.
    """

    unit: str
    per_usd: Fraction
    written: str
    day: date
    source: str

    @classmethod
    def parse(cls, text: str, *, unit: str, day: date, source: str) -> ShownRate:
        """Read `0.91 EUR/USD`, euros for one dollar, or `1.10 USD/EUR`, dollars for one euro.

        Raises AmountError for anything but a rate above 0 between US dollars and the unit.
        """
        allowed = f'a rate between {unit} and {USD}, as in "0.91 {unit}/{USD}"'
        match = _WRITTEN.fullmatch(text)
        number = Fraction(match[1]) if match else Fraction(0)
        if match is None or not number or {match[2], match[3]} != {unit, USD} or unit == USD:
            raise AmountError("rate", got=text, allowed=allowed)
        per_usd = number if match[2] == unit else 1 / number
        return cls(unit, per_usd, f"{match[1]} {match[2]}/{match[3]}", day, source)

    def shown(self, usd: Cost) -> Cost:
        """Return a cost in the currency, each part rounded to the nearest millionth."""
        expected = None if usd.expected is None else self._shown(usd.expected)
        return Cost(self._shown(usd.low), expected, self._shown(usd.high))

    def _shown(self, usd: Money) -> Money:
        return Money.from_micro(nearest(usd.micro * self.per_usd), self.unit)
