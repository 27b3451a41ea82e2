"""PriceBook and Rate: every dated price of one provider.

A book is data. Whoever changes a price closes the dated rate and adds another, so that every
old quote can be worked out again. How a book is written is in book_format.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from kling_pricing.clip import ACTIONS
from kling_pricing.errors import NoPriceError
from kling_pricing.money import USD, round_to

Evidence = Literal["published", "live", "third_party", "assumed", "user"]
"""How a rate is known, from the provider's own page down to a guess that says so."""

Cell = tuple[str | bool, ...]
"""The values of a rate's dimensions, in their order: where a price stands in its table."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a rate was read, and when somebody last looked."""

    url: str
    checked: date
    evidence: Evidence
    note: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """How many of a unit one US dollar buys, from an instant until another (half-open)."""

    unit: str
    units_per_usd: Decimal
    valid_from: datetime
    valid_until: datetime | None
    source: Source
    note: str

    def is_valid_at(self, at: datetime) -> bool:
        """Whether the conversion holds at an instant, half-open like a rate."""
        return self.valid_from <= at and (self.valid_until is None or at < self.valid_until)

    def to_usd(self, amount: Decimal) -> Decimal:
        """Return the US dollars that an amount of the unit stands for, to the millionth."""
        return round_to(amount / self.units_per_usd)


@dataclass(frozen=True, slots=True)
class SecondsRule:
    """Two facts about length that are easily mistaken for one.

    A request has a range: outside `request_min` to `request_max` (both allowed) the provider
    refuses it. Billing has a floor: fewer seconds than `billed_min` are billed as that many.
    """

    request_min: int
    request_max: int
    billed_min: int


@dataclass(frozen=True, slots=True)
class Rate:
    """One dated price table with its source. Prices are per second, in the unit of the book."""

    provider: str
    provider_name: str
    id: str
    unit: str
    dimensions: tuple[str, ...]
    prices: Mapping[Cell, Decimal]
    seconds: SecondsRule
    valid_from: datetime
    valid_until: datetime | None
    source: Source
    note: str
    book_digest: str
    conversions: tuple[Conversion, ...]

    def is_valid_at(self, at: datetime) -> bool:
        """Whether the rate holds at an instant: from its start, up to but not at its end."""
        return self.valid_from <= at and (self.valid_until is None or at < self.valid_until)

    def to_usd(self, amount: Decimal, at: datetime) -> Decimal | None:
        """Return an amount in US dollars at that day's rate; None where no conversion is known."""
        if self.unit == USD:
            return amount
        for conversion in self.conversions:
            if conversion.is_valid_at(at):
                return conversion.to_usd(amount)
        return None


@dataclass(frozen=True, slots=True)
class PriceBook:
    """All dated prices of one provider. `digest` pins its whole content."""

    provider: str
    name: str
    unit: str
    digest: str
    rates: Mapping[tuple[str, str], tuple[Rate, ...]]

    def rate_for(self, model: str, action: str, at: datetime) -> Rate:
        """Return the one rate for a model and action at an instant; else NoPriceError."""
        for rate in self.rates.get((model, action), ()):
            if rate.is_valid_at(at):
                return rate
        raise self._no_rate(model, action, at)

    def actions_of(self, model: str) -> tuple[str, ...]:
        """Return the actions that a model is priced for, in a fixed order."""
        return tuple(action for action in ACTIONS if (model, action) in self.rates)

    @property
    def models(self) -> tuple[str, ...]:
        """Every priced model id, sorted."""
        return tuple(sorted({model for model, _ in self.rates}))

    def _no_rate(self, model: str, action: str, at: datetime) -> NoPriceError:
        dated = self.rates.get((model, action))
        if dated:
            known = [span(rate) for rate in dated]
            return NoPriceError(f"{self.provider} {model} on {at.date()}", known=known)
        actions = self.actions_of(model)
        if actions:
            return NoPriceError(f"{self.provider} {model} {action}", known=actions)
        return NoPriceError(f"{self.provider} {model}", known=self.models)


def span(dated: Rate | Conversion) -> str:
    """Say when a rate or conversion holds, for messages: `from 2026-06-03 until 2026-07-23`."""
    until = f" until {dated.valid_until.date()}" if dated.valid_until else ""
    return f"from {dated.valid_from.date()}{until}"
