"""Plan: what each clip of a list costs, and all of them, by one quote per clip.

A take is one try at a clip; `takes` finished ones make one accepted clip. If a share of all
submissions fails, more are needed: `takes / (1 - failure_rate)` on average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from kling_pricing.clip import CLIP_FIELDS, Clip
from kling_pricing.errors import KlingError
from kling_pricing.library import Library, at_hand
from kling_pricing.money import Money
from kling_pricing.plans.cost import Cost, times
from kling_pricing.plans.failures import charges_failures
from kling_pricing.quote import Quote, quote

ONE: Final = Fraction(1)
NEVER: Final = Fraction(0)

Charges = Callable[[Quote], bool | None]
"""Whether the provider of a quote charges for failures; None if unknown."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A clip of a plan: those fields of a Clip that were given.

    `place` counts the rows from 1, `id` is the row's own name. `takes`, 1 or more, is how many
    finished ones make one accepted clip; `failure_rate` is the share of submissions that fail, from
    0 to below 1. `error` says why it cannot be a clip at all, `assumptions` what was assumed in
    reading it.
    """

    place: int
    fields: Mapping[str, Any]
    id: str | None = None
    takes: Fraction = ONE
    failure_rate: Fraction = NEVER
    error: KlingError | None = None
    assumptions: tuple[str, ...] = ()

    @property
    def content(self) -> tuple[object, ...]:
        """What makes two rows equal, regardless of their ids and places."""
        said = tuple(repr(self.fields.get(name)) for name in CLIP_FIELDS)
        return *said, self.takes, self.failure_rate


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """A clip of a plan with its quote: the price of one take.

    `charges_failures` says whether its provider charges for a failed take, None if unknown: then
    failures are free in `low` and `expected`, and charged in `high`.
    """

    wanted: Wanted
    quote: Quote
    charges_failures: bool | None = None

    @property
    def submissions(self) -> Fraction:
        """How many submissions it takes, on average, until all its takes have finished."""
        return self.wanted.takes / (1 - self.wanted.failure_rate)

    @property
    def cost(self) -> Cost:
        """What the accepted clip costs, in its provider's unit."""
        quoted = self.quote
        return self._cost(quoted.low, quoted.expected, quoted.amount)

    @property
    def usd(self) -> Cost | None:
        """What the accepted clip costs in US dollars; None if no conversion is known."""
        quoted = self.quote
        expected = quoted.expected
        low, high = quoted.in_usd(quoted.low.amount), quoted.usd
        if low is None or high is None:
            return None
        return self._cost(low, None if expected is None else quoted.in_usd(expected.amount), high)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the figures rest on that the provider does not vouch for."""
        quoted = self.quote
        told = (*self.wanted.assumptions, *quoted.warnings, *quoted.assumptions)
        unconverted = () if quoted.usd else (f"no known rate from {quoted.unit} to USD",)
        return tuple(dict.fromkeys([*told, *unconverted, *self._failures_unknown()]))

    def _failures_unknown(self) -> Iterator[str]:
        if self.wanted.failure_rate and self.charges_failures is None:
            name = self.quote.rate.provider_name
            yield (
                f"whether {name} charges for failed takes is not known: "
                "low and expected count none of them, high counts all"
            )

    def _cost(self, low: Money, expected: Money | None, high: Money) -> Cost:
        charged = self.submissions if self.charges_failures else self.wanted.takes
        most = self.wanted.takes if self.charges_failures is False else self.submissions
        likely = None if expected is None else times(expected, charged)
        return Cost(times(low, charged), likely, times(high, most))


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A clip of a plan without a price, and why."""

    wanted: Wanted
    error: KlingError


@dataclass(frozen=True, slots=True)
class Plan:
    """What a list of clips will cost. `rows` are in the plan's order."""

    rows: tuple[PlannedClip | Unpriced, ...]
    at: datetime

    @property
    def clips(self) -> tuple[PlannedClip, ...]:
        """The rows that have a price."""
        return tuple(row for row in self.rows if isinstance(row, PlannedClip))

    @property
    def unpriced(self) -> tuple[Unpriced, ...]:
        """The rows without a price. While there are any, no sum covers the whole plan."""
        return tuple(row for row in self.rows if isinstance(row, Unpriced))

    @property
    def costs(self) -> dict[str, Cost]:
        """What the priced rows cost, by their providers' units."""
        return Cost.by_unit(row.cost for row in self.clips)

    @property
    def usd(self) -> Cost | None:
        """What the priced rows cost in US dollars; None if one of them has no conversion."""
        return Cost.total(row.usd for row in self.clips)


def plan(
    wanted: Iterable[Wanted],
    *,
    at: datetime,
    library: Library | None = None,
    charges: Charges = charges_failures,
) -> Plan:
    """Price every clip of a list at an instant (aware); those without a price keep the reason.

    A clip without an action gets its model's first one.
    """
    desk = _Desk(at, library or at_hand(), charges)
    return Plan(tuple(desk.row(one) for one in wanted), at)


@dataclass(frozen=True, slots=True)
class _Desk:
    """Prices clips at one instant; identical rows share one quote."""

    at: datetime
    library: Library
    charges: Charges
    known: dict[tuple[str, ...], Quote | KlingError] = field(default_factory=dict)

    def row(self, wanted: Wanted) -> PlannedClip | Unpriced:
        answer = wanted.error or self._answer(wanted.fields)
        if isinstance(answer, KlingError):
            return Unpriced(wanted, answer)
        return PlannedClip(wanted, answer, self.charges(answer))

    def _answer(self, fields: Mapping[str, Any]) -> Quote | KlingError:
        # By repr, because 1 == 1.0 == True but a Clip tells them apart.
        key = tuple(repr(fields.get(name)) for name in CLIP_FIELDS)
        if key not in self.known:
            self.known[key] = self._quoted(fields)
        return self.known[key]

    def _quoted(self, fields: Mapping[str, Any]) -> Quote | KlingError:
        try:
            clip = self._clip({name: value for name, value in fields.items() if value is not None})
            quoted = quote(clip, at=self.at, book=self.library.book(clip.provider))
            # Computing the amounts can fail too, if a rule needs more than was given.
            _ = quoted.amount, quoted.low, quoted.expected
        except KlingError as error:
            return error
        return quoted

    def _clip(self, said: Mapping[str, Any]) -> Clip:
        clip = Clip(**{"provider": "", "model": "", **said})
        if "action" in said:
            return clip
        actions = self.library.book(clip.provider).actions_of(clip.model)
        return clip.with_options({"action": actions[0]}) if actions else clip
