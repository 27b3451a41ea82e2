"""PriceBook and Rate: every dated price of one provider.

A book is data. Whoever changes a price closes the dated rate and adds another, so that every
old quote can be worked out again. How a book is written is in book_format.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from kling_pricing.clip import ACTIONS, Clip, OptionValue, option_in_words
from kling_pricing.errors import NoPriceError
from kling_pricing.money import USD, RoundingMode, round_to

Evidence = Literal["published", "live", "third_party", "assumed", "user"]
"""How a rate is known, from the provider's own page down to a guess that says so."""

Per = Literal["second", "clip", "request", "block"]
"""What one price pays for: a second, a whole clip, a request of any size, a started block."""

Count = Literal["requested", "produced", "input", "input_and_output"]
"""Which seconds are billed: those asked for, those of the file that comes out, those of the video
that goes in, or both together."""

Cell = tuple[OptionValue, ...]
"""The values of a rate's dimensions, in their order: where a price stands in its table."""

Options = Mapping[str, OptionValue]
"""Some of a clip's fields with a value each."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a rate was read, and when somebody last looked."""

    url: str
    checked: date
    evidence: Evidence
    note: str


@dataclass(frozen=True, slots=True)
class Dated:
    """Something that holds from an instant until, not including, another."""

    valid_from: datetime
    valid_until: datetime | None

    def is_valid_at(self, at: datetime) -> bool:
        """Whether it holds at an instant: from its start, up to but not at its end."""
        return self.valid_from <= at and (self.valid_until is None or at < self.valid_until)

    def __str__(self) -> str:
        until = f" until {self.valid_until.date()}" if self.valid_until else ""
        return f"from {self.valid_from.date()}{until}"


@dataclass(frozen=True, slots=True)
class Conversion:
    """How many of a unit one US dollar buys, while it holds."""

    unit: str
    units_per_usd: Decimal
    valid: Dated
    source: Source
    note: str

    def to_usd(self, amount: Decimal) -> Decimal:
        """Return the US dollars that an amount of the unit stands for, to the millionth."""
        return round_to(amount / self.units_per_usd)


@dataclass(frozen=True, slots=True)
class Lengths:
    """A range of seconds, both ends allowed, or a few lengths and no other.

    Whole seconds, unless `parts` says that part seconds are taken too.
    """

    min_s: int
    max_s: int
    one_of: tuple[int, ...] = ()
    parts: bool = False

    def __contains__(self, seconds: object) -> bool:
        if self.one_of:
            return seconds in self.one_of
        if not isinstance(seconds, (int, Decimal)) or not self.min_s <= seconds <= self.max_s:
            return False
        return self.parts or seconds == int(seconds)

    def __str__(self) -> str:
        if self.one_of:
            return " or ".join(str(seconds) for seconds in self.one_of) + " seconds"
        whole = "" if self.parts else "whole "
        return f"{whole}seconds, {self.min_s} to {self.max_s}"


@dataclass(frozen=True, slots=True)
class When:
    """A condition on a clip: every option named has the value named. None named, always."""

    options: Options

    def holds_for(self, clip: Clip) -> bool:
        """Whether a clip meets the condition."""
        return all(getattr(clip, name) == value for name, value in self.options.items())


@dataclass(frozen=True, slots=True)
class Forced:
    """An option that the provider sets itself before it looks the price up, and why."""

    when: When
    options: Options
    because: str


@dataclass(frozen=True, slots=True)
class OutputLengths:
    """How long the produced file may be, where that is not known before the run."""

    when: When
    lengths: Lengths


@dataclass(frozen=True, slots=True)
class Billing:
    """How the billed seconds follow from a clip's own.

    First `count` says which seconds, at least `times_output` times those of the output; then they
    are rounded to whole ones (`round`: none means that part seconds are refused), then clamped to
    `min_s` and `max_s`. A request has a range of its own: see Rate.request. `follows_input` says
    that the produced file is as long as the video that goes in.
    """

    count: Count = "requested"
    round: Literal["up", "nearest", "down"] | None = None
    min_s: int = 1
    max_s: int | None = None
    times_output: Decimal | None = None
    follows_input: bool = False
    output: tuple[OutputLengths, ...] = ()


@dataclass(frozen=True, slots=True)
class Fee:
    """Something on top: a factor on what the lines before come to, or an amount per something."""

    label: str
    when: When
    multiply: Decimal | None
    amount: Decimal | None
    per: Per


@dataclass(frozen=True, slots=True)
class Rounding:
    """How a provider rounds the whole clip: to a multiple of the quantum."""

    mode: RoundingMode
    quantum: Decimal

    def round(self, amount: Decimal) -> Decimal:
        """Return the amount as the provider would write it."""
        return round_to(amount, self.quantum, self.mode)


@dataclass(frozen=True, slots=True)
class Total:
    """The least and the most that one clip is charged, whatever it comes to; None for no limit."""

    least: Decimal | None
    most: Decimal | None

    def clamp(self, amount: Decimal) -> Decimal:
        """Return the amount, or the limit that it passes."""
        if self.least is not None and amount < self.least:
            return self.least
        return self.most if self.most is not None and amount > self.most else amount


@dataclass(frozen=True, slots=True)
class Offer:
    """A model's id for an action, the dated rate that prices it, and what the id itself decides.

    `adjusts` says that a clip may have to be changed before it is looked up, `refuses` names the
    options that nothing is known of here: asking for one cannot be priced.
    """

    rate: Rate
    fixed: Options
    adjusts: bool
    refuses: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Rate:
    """One dated price table with its source: what one `per` costs in the unit of the book.

    `overrides` says which keys a user's file has set, `user_cells` which prices, in a sentence.
    `plain_lengths` are those whose amount is simply price times length, no rule involved: the
    common case, and a quick one. `cell_of` reads a clip's place in the table.
    Two rates are equal if they are the same entry of the same book, by its digest.
    """

    provider: str
    provider_name: str
    id: str
    family: str
    unit: str
    per: Per
    block_s: int | None
    dimensions: tuple[str, ...]
    prices: Mapping[Cell, Decimal]
    request: Lengths | None
    input: Lengths | None
    billing: Billing
    defaults: Options
    forced: tuple[Forced, ...]
    fees: tuple[Fee, ...]
    rounding: Rounding | None
    total: Total | None
    valid: Dated
    source: Source
    note: str
    overrides: tuple[str, ...]
    user_cells: Mapping[Cell, str]
    book_digest: str
    conversions: tuple[Conversion, ...]
    plain_lengths: frozenset[int]
    cell_of: Callable[[Clip], Cell]

    @property
    def shortest(self) -> int:
        """The fewest of what a price is per that a clip is ever billed for."""
        if self.per != "second":
            return 1
        asked = self.request.min_s if self.request is not None else 1
        return max(asked, self.billing.min_s)

    def described(self, clip: Clip) -> str:
        """Say in words where a clip stands in the table: `1080p with sound`."""
        return self.in_words(self.cell_of(clip))

    @property
    def cells_in_words(self) -> tuple[str, ...]:
        """Say in words everything that the table lists, `any` as one."""
        return tuple(self.in_words(cell) for cell in self.prices if not self.is_any(cell))

    def is_any(self, cell: Cell) -> bool:
        """Whether a cell only spells out a value of an `any` that stands in the table as None."""
        return any(
            value is not None and (*cell[:place], None, *cell[place + 1 :]) in self.prices
            for place, value in enumerate(cell)
        )

    def in_words(self, cell: Cell) -> str:
        """Say in words where a price stands in the table."""
        named = zip(self.dimensions, cell, strict=True)
        return " ".join(option_in_words(name, value) for name, value in named) or self.family

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rate) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[str, str]:
        return self.book_digest, self.id

    def to_usd(self, amount: Decimal, at: datetime) -> Decimal | None:
        """Return an amount in US dollars at that day's rate; None where no conversion is known."""
        if self.unit == USD:
            return amount
        for conversion in self.conversions:
            if conversion.valid.is_valid_at(at):
                return conversion.to_usd(amount)
        return None


@dataclass(frozen=True, slots=True)
class PriceBook:
    """All dated prices of one provider. `digest` pins its whole content."""

    provider: str
    name: str
    unit: str
    digest: str
    offers: Mapping[tuple[str, str], tuple[Offer, ...]]

    def offer_for(self, model: str, action: str, at: datetime) -> Offer:
        """Return the one offer for a model and action at an instant; else NoPriceError."""
        for offer in self.offers.get((model, action), ()):
            if offer.rate.valid.is_valid_at(at):
                return offer
        raise self._no_rate(model, action, at)

    def actions_of(self, model: str) -> tuple[str, ...]:
        """Return the actions that a model is priced for, in a fixed order."""
        return tuple(action for action in ACTIONS if (model, action) in self.offers)

    @property
    def models(self) -> tuple[str, ...]:
        """Every priced model id, sorted."""
        return tuple(sorted({model for model, _ in self.offers}))

    def _no_rate(self, model: str, action: str, at: datetime) -> NoPriceError:
        dated = self.offers.get((model, action))
        if dated:
            known = [str(offer.rate.valid) for offer in dated]
            return NoPriceError(f"{self.provider} {model} on {at.date()}", known=known)
        actions = self.actions_of(model)
        if actions:
            return NoPriceError(f"{self.provider} {model} {action}", known=actions)
        return NoPriceError(f"{self.provider} {model}", known=self.models)
