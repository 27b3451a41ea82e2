"""Currency: amounts in another unit, at dated rates with a source.

An amount is converted to USD at the rate of its own job's reservation, and from USD to the
requested currency at the rate of its day: that of the reservation, or of the posting. Without such
a USD value it is converted at the rate of its own unit, if the file has one, and otherwise stays in
its unit. Each job's or transfer's amount is converted separately and rounded once, to the nearest
millionth, half up: so the parts add up to the whole, however they are grouped.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kling_ledger.errors import ConfigError
from kling_ledger.ledger.ids import from_us, to_us
from kling_ledger.tabular.reading import open_table
from kling_pricing.money import USD
from kling_reports.report import UNIT

HOLDS_DAYS: Final = 40
"""How many days a rate holds after its own day, unless a later one comes first: after that the
value is unknown."""

_COLUMNS: Final = ("day", "from", "to", "rate", "source")
_WORTH: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,15})?")
_EARLIEST: Final = -1
"""Before any instant of a ledger."""


@dataclass(frozen=True, slots=True)
class DatedRate:
    """What one of a unit was worth in another from a day on, in UTC, and the source."""

    day: date
    unit: str
    currency: str
    worth: Fraction
    source: str


class Rates:
    """Dated rates by their pair of units. ConfigError for two of the same pair and day."""

    def __init__(self, rates: Iterable[DatedRate] = ()) -> None:
        self._of: dict[tuple[str, str], list[DatedRate]] = defaultdict(list)
        for one in sorted(rates, key=lambda one: one.day):
            known = self._of[one.unit, one.currency]
            if known and known[-1].day == one.day:
                raise ConfigError(f"two rates from {one.unit} to {one.currency} of {one.day}")
            known.append(one)

    def on(self, day: date, unit: str, currency: str) -> Fraction | None:
        """Return what one of a unit is worth on a day; None if no rate holds."""
        if unit == currency:
            return Fraction(1)
        known = self._of.get((unit, currency), [])
        place = bisect_right(known, day, key=lambda one: one.day)
        if not place or (day - known[place - 1].day).days > HOLDS_DAYS:
            return None
        return known[place - 1].worth

    def changes(self, currency: str) -> list[date]:
        """Return every day on which the rate into a currency may differ from the day before."""
        days = [one.day for one in self.into(currency)]
        return sorted({*days, *(day + timedelta(days=HOLDS_DAYS + 1) for day in days)})

    def into(self, currency: str) -> Iterator[DatedRate]:
        """Return the rates into a currency."""
        for (_, to), known in self._of.items():
            yield from known if to == currency else ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """The display currency, and the rates into it."""

    currency: str
    rates: Rates

    @property
    def is_of_jobs_alone(self) -> bool:
        """Whether only each job's own rate is used: USD, without any other rates."""
        return self.currency == USD and not any(self.rates.into(USD))

    def begins(self) -> list[int]:
        """Return the instants at which a set of rates begins to hold; the first precedes all."""
        days = self.rates.changes(self.currency)
        return [_EARLIEST, *(to_us(datetime.combine(day, time(), UTC)) for day in days)]

    def worth(self, unit: str, usd: Fraction | None, at_us: int) -> Fraction | None:
        """Return the value of one unit at an instant; None if unknown.

        `usd` is what one is worth in USD by the job's own rate, None if it has none.
        """
        if unit == self.currency:
            return Fraction(1)
        day = from_us(max(at_us, 0)).date()
        by_usd = None if usd is None else self.rates.on(day, USD, self.currency)
        if usd is not None and by_usd is not None:
            return usd * by_usd
        return self.rates.on(day, unit, self.currency)


def converted(
    frame: pd.DataFrame,
    conversion: Conversion,
    *,
    amounts: Sequence[str],
    own: tuple[str, str],
    count: str,
) -> pd.DataFrame:
    """Return rows of alike jobs or transfers with their amounts converted and added up.

    A row stands for `count` of them, and `amounts` are those of each. `own` names the columns with
    the job's own rate: millionths of USD, for millionths of the unit. The row's rates are those at
    the instant `rate_at`.
    """
    made: dict[str, list[int]] = {name: [] for name in amounts}
    units = []
    read = [UNIT, "rate_at", count, *own, *amounts]
    # As objects: the products may exceed a column's 64 bits.
    for unit, at_us, times, usd_micro, of_micro, *each in _rows(frame, read):
        usd = Fraction(1) if unit == USD else _share(usd_micro, of_micro)
        worth = conversion.worth(unit, usd, at_us)
        units.append(unit if worth is None else conversion.currency)
        for name, micro in zip(made, each, strict=True):
            made[name].append(times * nearest(micro * (1 if worth is None else worth)))
    told = {name: pd.Series(pd.array(sums, "Int64"), frame.index) for name, sums in made.items()}
    return frame.assign(**{UNIT: pd.Series(units, frame.index, "string")}, **told)


def nearest(micro: Fraction | int) -> int:
    """Return the nearest whole number of millionths, half up."""
    exact = Fraction(micro)
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)


def read_rates(file: Path) -> Rates:
    """Read dated rates from a table, such as CSV, or from TOML, where each is a `[[rate]]`.

    A rate has a `day`, the units `from` and `to`, the `rate`, and its `source`. ConfigError, with
    the place, for an invalid rate, and for two of the same day.
    """
    rows = _of_toml(file) if file.suffix.lower() == ".toml" else _of_table(file)
    return Rates([_rate(cells, place) for place, cells in rows])


def _of_toml(file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from None
    rates = told.get("rate", [])
    if not isinstance(rates, list) or not all(isinstance(one, dict) for one in rates):
        raise ConfigError(f"{file}: rates are written as [[rate]]")
    return [(f"{file}, rate {number}", one) for number, one in enumerate(rates, start=1)]


def _of_table(file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    found = []
    with open_table(file) as table:
        for row in table.rows():
            if row.problem:
                raise ConfigError(f"{file}, {row.place}: {row.problem}")
            found.append((f"{file}, {row.place}", row.cells))
    return found


def _rate(cells: Mapping[str, Any], place: str) -> DatedRate:
    told = {name: str(cells.get(name) or "").strip() for name in _COLUMNS}
    if missing := [name for name, text in told.items() if not text]:
        raise ConfigError(
            f"{place}: a rate without {', '.join(missing)}",
            hint=f"each rate has {', '.join(_COLUMNS)}",
        )
    try:
        day = date.fromisoformat(told["day"])
    except ValueError:
        raise ConfigError(f"{place}: not a day: {told['day']}", hint="as in 2026-10-01") from None
    if not _WORTH.fullmatch(told["rate"]) or not (worth := Fraction(told["rate"])):
        raise ConfigError(f"{place}: not a rate: {told['rate']}", hint="write it as 0.9215")
    if told["from"] == told["to"]:
        raise ConfigError(f"{place}: a rate from {told['from']} to itself")
    return DatedRate(day, told["from"], told["to"], Fraction(worth), told["source"])


def _share(part: Any, of: Any) -> Fraction | None:
    return None if pd.isna(part) or pd.isna(of) or not of else Fraction(int(part), int(of))


def _rows(frame: pd.DataFrame, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(frame[name].astype(object) for name in columns), strict=True)
