"""Worth: what one of a unit is worth in money, who says so, and the code that it goes by."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

import pandas as pd

from kling_ledger.errors import ConfigError
from kling_reports.exports.lines import Line

_CURRENCY: Final = re.compile("[A-Z]{3}")


def is_currency(unit: str) -> bool:
    """Whether a unit is money: three capital letters, as ISO 4217 has them."""
    return _CURRENCY.fullmatch(unit) is not None


@dataclass(frozen=True, slots=True)
class Rate:
    """What one of a unit is worth in a currency, and who says so.

    `basis` is `currency` (the unit is one), `job` (the job's own), `given` (by the caller) or
    `unit` (the latest job in that unit).
    """

    worth: Fraction
    currency: str
    basis: str


class Rates:
    """What units are worth: `given` by the caller, else the `latest` that a job carried."""

    def __init__(self, given: Mapping[str, Decimal], latest: pd.DataFrame) -> None:
        self._known = {unit: Rate(Fraction(worth), "USD", "given") for unit, worth in given.items()}
        for unit, reserved, usd in latest.itertuples(index=False):
            rate = Rate(Fraction(int(usd), int(reserved)), "USD", "unit")
            self._known.setdefault(unit, rate)

    def of(self, line: Line) -> Rate:
        """Return what the unit of a transfer is worth; ConfigError where nobody knows."""
        if is_currency(line.unit):
            return Rate(Fraction(1), line.unit, "currency")
        if line.usd_micro and line.reserved_micro:
            return Rate(Fraction(line.usd_micro, line.reserved_micro), "USD", "job")
        if line.unit not in self._known:
            raise ConfigError(
                f"nobody knows what one {line.unit} is worth in USD ({line.kind} {line.id})",
                hint=f"say it with --rate {line.unit}=0.01",
            )
        return self._known[line.unit]


def currency_codes(units: Collection[str]) -> dict[str, str]:
    """Return three capital letters for each unit, which is what readers of FOCUS expect.

    A currency keeps its own. Any other unit has a code from QMA to QZZ, which ISO 4217 will never
    give away: they begin with the letters of no country. Where two units of one file would have the
    same, the later one by name has the next that is free; `x_PricingCurrencyName` tells for sure.
    """
    codes = {unit: unit for unit in units if is_currency(unit)}
    for unit in sorted(set(units) - set(codes)):
        place = int.from_bytes(hashlib.sha256(unit.encode()).digest()[:4], "big")
        while _code(place) in codes.values():
            place += 1
        codes[unit] = _code(place)
    return codes


def _code(place: int) -> str:
    return f"Q{chr(ord('M') + place // 26 % 14)}{chr(ord('A') + place % 26)}"
