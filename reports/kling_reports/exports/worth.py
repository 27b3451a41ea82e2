"""Worth: what one of a unit is worth in money, the source of that, and the unit's code.

A line's value depends on the line and on what the journal contained when it was written: a later
rate changes no past month, and a month is the same alone or among others.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from typing import Final

import pandas as pd

from kling_ledger.errors import ConfigError
from kling_reports.exports.lines import Line

_CURRENCY: Final = re.compile("[A-Z]{3}")


def is_currency(unit: str) -> bool:
    """Whether a unit is money: three capital letters, as in ISO 4217."""
    return _CURRENCY.fullmatch(unit) is not None


@dataclass(frozen=True, slots=True)
class Rate:
    """What one of a unit is worth in a currency, and the source of that.

    `basis` is `currency` (the unit is one), `job` (the job's own), `given` (by the caller) or
    `unit` (a job in that unit, of the day).
    """

    worth: Fraction
    currency: str
    basis: str


@dataclass(frozen=True, slots=True)
class _Job:
    """What a job in some unit was worth when it was reserved."""

    reserved_at: datetime
    period: str
    quoted_micro: int
    reserved_micro: int
    usd_micro: int


class Rates:
    """What units are worth: as `given` by the caller, or else by the `jobs` of the day.

    `jobs` come from reservations.worths.
    """

    def __init__(self, given: Mapping[str, Decimal], jobs: pd.DataFrame) -> None:
        self._given = {unit: Rate(Fraction(worth), "USD", "given") for unit, worth in given.items()}
        self._jobs: dict[str, list[_Job]] = defaultdict(list)
        # As objects: pandas numbers are limited to 64 bits, and computing a rate exceeds that.
        columns = (jobs[name].astype(object) for name in ("unit", *_Job.__slots__))
        for unit, *values in zip(*columns, strict=True):
            self._jobs[unit].append(_Job(*values))

    def of(self, line: Line) -> Rate:
        """Return the value of a transfer's unit; ConfigError if unknown."""
        if is_currency(line.unit):
            return Rate(Fraction(1), line.unit, "currency")
        if line.quoted_micro and line.reserved_micro and line.usd_micro:
            worth = first_worth(line.quoted_micro, line.reserved_micro, line.usd_micro)
            return Rate(worth, "USD", "job")
        known = self._given.get(line.unit) or self._of_its_day(line)
        if known is None:
            raise ConfigError(
                f"the worth of one {line.unit} in USD is unknown ({line.kind} {line.id})",
                hint=f"set it with --rate {line.unit}=0.01",
            )
        return known

    def _of_its_day(self, line: Line) -> Rate | None:
        """Return the rate of the last job up to a line, else of the first after it in its month.

        Credits are bought before they are used, so the first purchase precedes any job. A line may
        count in an earlier month than the one in which it was written: the later month is the
        bound.
        """
        jobs = self._jobs.get(line.unit, [])
        place = bisect_right(jobs, line.reserved_at or line.created_at, key=_reserved_at)
        nearest = (jobs[at] for at in chain(reversed(range(place)), range(place, len(jobs))))
        last = max(line.period, f"{line.created_at:%Y-%m}")
        job = next((one for one in nearest if one.period <= last), None)
        if job is None:
            return None
        return Rate(first_worth(job.quoted_micro, job.reserved_micro, job.usd_micro), "USD", "unit")


def first_worth(quoted_micro: int, reserved_micro: int, usd_micro: int) -> Fraction:
    """Return what one of a unit was worth when a job was reserved, whatever was held later.

    The held amount and its dollars rose together, to the nearest millionth, so both are scaled
    back.
    """
    usd = (2 * usd_micro * quoted_micro + reserved_micro) // (2 * reserved_micro)
    return Fraction(usd, quoted_micro)


def _reserved_at(job: _Job) -> datetime:
    return job.reserved_at


def currency_codes(units: Iterable[str]) -> dict[str, str]:
    """Return a code of three capital letters for each unit, as readers of FOCUS expect.

    A currency keeps its own. Any other unit gets a code from QMA to QZZ, which ISO 4217 will never
    assign, because no country's code begins like that. If two units would get the same code, the
    later one gets the next free one; `x_PricingCurrencyName` identifies the unit for certain.
    """
    codes: dict[str, str] = {}
    for unit in units:
        if is_currency(unit):
            codes[unit] = unit
        if unit in codes:
            continue
        place = int.from_bytes(hashlib.sha256(unit.encode()).digest()[:4], "big")
        while _code(place) in codes.values():
            place += 1
        codes[unit] = _code(place)
    return codes


def _code(place: int) -> str:
    return f"Q{chr(ord('M') + place // 26 % 14)}{chr(ord('A') + place % 26)}"
