"""What a price book may say: each of its tables, declared once.

A key that is silently dropped is a price that is silently wrong, so every key is known and every
value has one type. pricing/README.md teaches the format to somebody who never saw this code.
"""

# No postponed annotations: see entry.py.
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from kling_pricing.book_values import (
    DIMENSIONS,
    Address,
    Charged,
    ClipOptions,
    Count,
    Evidence,
    Flag,
    Instant,
    Length,
    Number,
    Per,
    PriceTable,
    SomeOptions,
    Word,
    day_or_instant,
)
from kling_pricing.entry import Entry, Limits, Written
from kling_pricing.money import RoundingMode, round_to
from kling_pricing.vocabulary import ACTIONS, Action


@dataclass(frozen=True, slots=True)
class Source(Entry):
    """Where prices were read, and when somebody last looked."""

    url: Address
    checked: Annotated[date, Limits(strict=True)]
    evidence: Evidence
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated(Entry):
    """Something sourced that holds from an instant until, not including, another.

    A day stands for its 00:00 UTC.
    """

    valid_from: Instant
    valid_until: Instant | None = None
    source_name: str
    note: str = ""

    def problems(self) -> Iterator[str]:
        """Yield a problem if it could never hold."""
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            yield "until is not after from"

    def is_valid_at(self, at: datetime) -> bool:
        """Whether it holds at an instant: from its start, up to but not at its end."""
        return self.valid_from <= at and (self.valid_until is None or at < self.valid_until)

    @property
    def dates(self) -> str:
        """Describe when it holds."""
        until = f" until {day_or_instant(self.valid_until)}" if self.valid_until else ""
        return f"from {day_or_instant(self.valid_from)}{until}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge(Entry):
    """Whether one kind of failed job is charged, and the source for that."""

    charged: Charged = "unknown"
    source_name: str | None = None
    note: str = ""

    def problems(self) -> Iterator[str]:
        """Yield a problem if it says yes or no without a source."""
        if self.charged != "unknown" and self.source_name is None:
            yield "source is required: where the price is from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charges(Entry):
    """What a provider charges for jobs without a clip; unknown where no source says it.

    `failure` is a job that was taken and failed, `refusal` one that its policy stopped,
    `invalid_input` a request that it could not take as it was.
    """

    failure: Charge = Charge()
    refusal: Charge = Charge()
    invalid_input: Charge = Charge()

    @property
    def by_kind(self) -> dict[str, Charge]:
        """Each charge by its key."""
        return {kind.name: getattr(self, kind.name) for kind in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion(Dated):
    """What the book's unit is worth: how many of it one US dollar buys."""

    units_per_usd: Number

    def to_usd(self, amount: Decimal) -> Decimal:
        """Return the US dollars for an amount of the unit, to the millionth."""
        return round_to(amount / self.units_per_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths(Entry):
    """Lengths in seconds: a range with both ends, or `one_of` a few; whole ones, or `parts` too."""

    min_s: Length | None = None
    max_s: Length | None = None
    one_of: Annotated[tuple[Length, ...], Limits(min_length=1)] = ()
    parts: Flag = False

    def problems(self) -> Iterator[str]:
        """Yield a problem if it is neither a range nor a few lengths, or is both."""
        if not self.one_of and (self.min_s is None or self.max_s is None):
            yield "give min_s and max_s, or one_of"
        if self.one_of and (self.min_s or self.max_s):
            yield "give either min_s and max_s, or one_of"
        if self.min_s is not None and self.max_s is not None and self.min_s > self.max_s:
            yield "min_s is above max_s"

    @property
    def ends(self) -> tuple[int, int]:
        """The shortest and the longest length."""
        said = [length for length in (self.min_s, self.max_s, *self.one_of) if length is not None]
        return min(said), max(said)

    def __contains__(self, seconds: object) -> bool:
        if self.one_of:
            return seconds in self.one_of
        # A Clip refuses NaN before this point: comparing it would raise.
        shortest, longest = self.ends
        if not isinstance(seconds, (int, Decimal)) or not shortest <= seconds <= longest:
            return False
        return self.parts or seconds == int(seconds)

    def __str__(self) -> str:
        if self.one_of:
            return " or ".join(str(seconds) for seconds in sorted(self.one_of)) + " seconds"
        whole = "" if self.parts else "whole "
        return f"{whole}seconds, {self.min_s} to {self.max_s}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(Lengths):
    """How long the produced file may be, for clips that meet `when`."""

    when: ClipOptions = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing(Entry):
    """How the billed seconds follow from a clip's own.

    First `count` says which seconds, at least `times_output` times those of the output; then they
    are rounded to whole ones (without `round`, part seconds are refused), then clamped to `min_s`
    and `max_s`. A request has a range of its own: see RateEntry.request. `follows_input` says that
    the produced file is as long as the video that goes in.
    """

    count: Count = "requested"
    round: Literal["up", "nearest", "down"] | None = None
    min_s: Length = 1
    max_s: Length | None = None
    times_output: Number | None = None
    follows_input: Flag = False
    output: tuple[Output, ...] = ()

    def problems(self) -> Iterator[str]:
        """Yield a problem if output is described but not billed, or billed but not described."""
        if (self.count == "produced") != bool(self.output):
            yield 'output goes with count = "produced", and that needs it'
        if self.follows_input and self.count != "produced":
            yield 'follows_input goes with count = "produced"'
        if self.max_s is not None and self.min_s > self.max_s:
            yield "min_s is above max_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced(Entry):
    """Options that the provider sets itself before it looks the price up, for clips of `when`."""

    when: ClipOptions = field(default_factory=dict)
    sets: SomeOptions
    because: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee(Entry):
    """Something on top: a factor on what the lines before come to, or an amount per something."""

    label: Word
    when: ClipOptions = field(default_factory=dict)
    multiply: Number | None = None
    amount: Number | None = None
    per: Literal["second", "clip"] | None = None

    def problems(self) -> Iterator[str]:
        """Yield a problem if it is not exactly one of the two."""
        if (self.multiply is None) == (self.amount is None):
            yield "give either multiply or amount"
        if self.multiply is not None and self.per is not None:
            yield "per goes with amount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputed(Entry):
    """Another figure of the same seller for the same clips: so many times the prices of the rate.

    Nobody but the seller can say which of the two it charges.
    """

    source_name: str
    times: Number
    because: Word


@dataclass(frozen=True, slots=True)
class Rounding(Entry):
    """How a provider rounds the whole clip: to a multiple of the quantum."""

    mode: RoundingMode
    quantum: Number

    def round(self, amount: Decimal) -> Decimal:
        """Return the amount the way the provider rounds it."""
        return round_to(amount, self.quantum, self.mode)


@dataclass(frozen=True, slots=True)
class Total(Entry):
    """The least and the most that one clip is charged, whatever it comes to."""

    min: Number | None = None
    max: Number | None = None

    def problems(self) -> Iterator[str]:
        """Yield a problem if it limits nothing, or leaves no amount."""
        if self.min is None and self.max is None:
            yield "give min, max, or both"
        if self.min is not None and self.max is not None and self.min > self.max:
            yield "min is above max"

    def clamp(self, amount: Decimal) -> Decimal:
        """Return the amount, or the limit that it exceeds."""
        if self.min is not None and amount < self.min:
            return self.min
        return self.max if self.max is not None and amount > self.max else amount


@dataclass(frozen=True, slots=True)
class ModelEntry(Entry):
    """A model's id: what it can be asked to do, and the options that the id itself decides."""

    actions: Annotated[tuple[Action, ...], Limits(min_length=1)]
    fixed: ClipOptions = field(default_factory=dict)


def _as_model(written: object) -> object:
    return {"actions": written} if isinstance(written, list) else written


# A model that fixes nothing may be written as the list of its actions alone.
_Model = Annotated[
    ModelEntry,
    Written(
        _as_model,
        lambda table: {"anyOf": [{"type": "array", "items": {"enum": [*ACTIONS]}}, table]},
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateEntry(Dated):
    """One dated price table, and every rule of the provider's that a price goes through."""

    family: Word
    models: Annotated[dict[str, _Model], Limits(min_length=1)]
    per: Per
    block_s: Length | None = None
    dimensions: tuple[str, ...] = ()
    base: Number | None = None
    price_table: PriceTable = None
    multipliers: PriceTable = None
    request: Lengths | None = None
    input: Lengths | None = None
    billing: Billing = Billing()
    defaults: ClipOptions = field(default_factory=dict)
    forced: tuple[Forced, ...] = ()
    fees: tuple[Fee, ...] = ()
    rounding: Rounding | None = None
    total: Total | None = None
    disputed: Disputed | None = None
    retired: str = ""

    def problems(self) -> Iterator[str]:
        """Yield what is inconsistent: dates, tables, dimensions, what is counted."""
        yield from Dated.problems(self)
        if self.retired and self.valid_until is None:
            yield "retired goes with until: why no price follows"
        if (self.price_table is None) == (self.multipliers is None):
            yield "give either prices, or base and multipliers"
        if (self.multipliers is None) != (self.base is None):
            yield "base goes with multipliers, and they with base: prices are whole"
        for name in self.dimensions:
            if name not in DIMENSIONS:
                yield f"{name} is no dimension; there are: {', '.join(DIMENSIONS)}"
        if len(set(self.dimensions)) != len(self.dimensions):
            yield "a dimension is named twice"
        if (self.per == "block") != (self.block_s is not None):
            yield 'block_s goes with per = "block", and that needs it'
        needs_seconds = self.per in {"second", "block"}
        if needs_seconds and self.request is None and self.billing.count == "requested":
            yield "request is needed: which lengths may be asked for"
        if self.input is not None and self.billing.count not in {"input", "input_and_output"}:
            yield "input goes with billing.count of input or input_and_output"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookEntry(Entry):
    """A whole price book: one provider, one unit, its sources, charges, conversions and rates."""

    format: Annotated[int, Limits(strict=True, ge=1, le=1)]
    provider: Annotated[str, Limits(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    name: Word
    unit: Annotated[str, Limits(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")]
    sources: dict[str, Source]
    charges: Charges = Charges()
    conversions: tuple[Conversion, ...] = ()
    rates: Annotated[dict[str, RateEntry], Limits(min_length=1)]
