"""How a price book is written: the keys of the TOML file and what each may hold.

Every key is known and every value has one type: a key that is silently dropped is a price that
is silently wrong. pricing/README.md teaches the format to somebody who never saw this code.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from kling_pricing.book import Count, Evidence, Per
from kling_pricing.book_builder import DIMENSIONS, Content, written_decimal
from kling_pricing.clip import LONGEST_S, Action, OptionValue, option_problem
from kling_pricing.errors import BookError
from kling_pricing.money import RoundingMode


def _https(url: str) -> str:
    if not re.fullmatch(r"https://[^/\s]+\.[^\s]+", url):
        raise ValueError("a source is an https:// address")
    return url


def _table_of_numbers(table: object) -> object:
    if not isinstance(table, (dict, str)):
        raise ValueError("write numbers as strings in quotes, nested by dimension")
    return table


def _clip_options(options: dict[str, OptionValue]) -> dict[str, OptionValue]:
    for name, value in options.items():
        problem = option_problem(name, value)
        if problem:
            raise ValueError(problem)
    return options


Number = Annotated[
    Decimal,
    BeforeValidator(written_decimal),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]*\.?[0-9]+$"}),
]
Options = Annotated[dict[str, bool | int | str], AfterValidator(_clip_options)]
Length = Annotated[int, Field(ge=1, le=LONGEST_S)]
Table = Annotated[
    Any,
    BeforeValidator(_table_of_numbers, json_schema_input_type=dict[str, Any] | str),
    Field(description="numbers in quotes, nested by dimension"),
]


class Entry(BaseModel):
    """A table of the file: every key is known, and every value has exactly the type it says."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SourceEntry(Entry):
    """Where prices were read, and when somebody last looked."""

    url: Annotated[str, AfterValidator(_https)]
    checked: date
    evidence: Evidence
    note: str = ""


class DatedEntry(Entry):
    """Something sourced that holds from a day (00:00 UTC) until, not including, another."""

    valid_from: date = Field(alias="from")
    valid_until: date | None = Field(default=None, alias="until")
    source: str
    note: str = ""

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            raise ValueError("until is not after from")
        return self


class ConversionEntry(DatedEntry):
    """What the book's unit is worth: how many of it one US dollar buys."""

    units_per_usd: Number


class LengthsEntry(Entry):
    """Lengths in seconds: a range with both ends, or `one_of` a few; whole ones, or `parts` too."""

    min_s: Length | None = None
    max_s: Length | None = None
    one_of: Annotated[list[Length], Field(min_length=1)] | None = None
    parts: bool = False

    @model_validator(mode="after")
    def _is_a_range_or_a_few(self) -> Self:
        if self.one_of is None and (self.min_s is None or self.max_s is None):
            raise ValueError("give min_s and max_s, or one_of")
        if self.one_of is not None and (self.min_s or self.max_s):
            raise ValueError("give either min_s and max_s, or one_of")
        if self.min_s is not None and self.max_s is not None and self.min_s > self.max_s:
            raise ValueError("min_s is above max_s")
        return self


class OutputEntry(LengthsEntry):
    """How long the produced file may be, for clips that meet `when`."""

    when: Options = {}


class BillingEntry(Entry):
    """How the billed seconds follow from a clip's own."""

    count: Count = "requested"
    round: Literal["up", "nearest", "down"] | None = None
    min_s: Length = 1
    max_s: Length | None = None
    times_output: Number | None = None
    follows_input: bool = False
    output: list[OutputEntry] = []

    @model_validator(mode="after")
    def _says_how_long_the_output_may_be(self) -> Self:
        if (self.count == "produced") != bool(self.output):
            raise ValueError('output goes with count = "produced", and that needs it')
        if self.follows_input and self.count != "produced":
            raise ValueError('follows_input goes with count = "produced"')
        if self.max_s is not None and self.min_s > self.max_s:
            raise ValueError("min_s is above max_s")
        return self


class ForcedEntry(Entry):
    """Options that the provider sets itself, for clips that meet `when`."""

    when: Options = {}
    options: Annotated[Options, Field(alias="set", min_length=1)]
    because: Annotated[str, Field(min_length=1)]


class FeeEntry(Entry):
    """A factor on what the lines before it come to, or an amount per something."""

    label: Annotated[str, Field(min_length=1)]
    when: Options = {}
    multiply: Number | None = None
    amount: Number | None = None
    per: Literal["second", "clip"] = "clip"

    @model_validator(mode="after")
    def _is_a_factor_or_an_amount(self) -> Self:
        if (self.multiply is None) == (self.amount is None):
            raise ValueError("give either multiply or amount")
        if self.multiply is not None and "per" in self.model_fields_set:
            raise ValueError("per goes with amount")
        return self


class RoundingEntry(Entry):
    """How the whole clip is rounded: to a multiple of the quantum."""

    mode: RoundingMode
    quantum: Number


class TotalEntry(Entry):
    """The least and the most that one clip is charged, whatever it comes to."""

    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max, or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        return self


class ModelEntry(Entry):
    """A model's id: what it can be asked to do, and the options that the id itself decides."""

    actions: Annotated[list[Action], Field(min_length=1)]
    fixed: Options = {}


def _as_entry(written: object) -> object:
    return {"actions": written} if isinstance(written, list) else written


Model = Annotated[
    ModelEntry, BeforeValidator(_as_entry, json_schema_input_type=list[Action] | ModelEntry)
]
"""A model that fixes nothing may be written as the list of its actions alone."""


class RateEntry(DatedEntry):
    """One dated price table."""

    family: Annotated[str, Field(min_length=1, description="the model in neutral words: kling-3.0")]
    models: Annotated[dict[str, Model], Field(min_length=1)]
    per: Per
    block_s: Length | None = None
    dimensions: list[str] = []
    base: Number | None = None
    prices: Table | None = None
    multipliers: Table | None = None
    request: LengthsEntry | None = None
    input: LengthsEntry | None = None
    billing: BillingEntry = BillingEntry()
    defaults: Options = {}
    forced: list[ForcedEntry] = []
    fees: list[FeeEntry] = []
    rounding: RoundingEntry | None = None
    total: TotalEntry | None = None

    @model_validator(mode="after")
    def _has_one_table(self) -> Self:
        if (self.prices is None) == (self.multipliers is None):
            raise ValueError("give either prices, or base and multipliers")
        if (self.multipliers is None) != (self.base is None):
            raise ValueError("base goes with multipliers, and they with base: prices are whole")
        return self

    @model_validator(mode="after")
    def _knows_its_dimensions(self) -> Self:
        for name in self.dimensions:
            if name not in DIMENSIONS:
                raise ValueError(f"{name} is no dimension; there are: {', '.join(DIMENSIONS)}")
        if len(set(self.dimensions)) != len(self.dimensions):
            raise ValueError("a dimension is named twice")
        return self

    @model_validator(mode="after")
    def _counts_what_it_is_paid_per(self) -> Self:
        if (self.per == "block") != (self.block_s is not None):
            raise ValueError('block_s goes with per = "block", and that needs it')
        needs_seconds = self.per in {"second", "block"}
        if needs_seconds and self.request is None and self.billing.count == "requested":
            raise ValueError("request is needed: which lengths may be asked for")
        if self.input is not None and self.billing.count not in {"input", "input_and_output"}:
            raise ValueError("input goes with billing.count of input or input_and_output")
        return self


class BookEntry(Entry):
    """A whole price book: one provider, one unit, its sources, conversions and rates."""

    format: Annotated[int, Field(ge=1, le=1)]
    provider: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    name: Annotated[str, Field(min_length=1)]
    unit: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")]
    sources: dict[str, SourceEntry]
    conversions: list[ConversionEntry] = []
    rates: Annotated[dict[str, RateEntry], Field(min_length=1)]


def book_schema() -> dict[str, Any]:
    """Return the JSON Schema of a price book, for editors that help while it is written."""
    return BookEntry.model_json_schema(by_alias=True)


def check_content(content: Content, *, name: str) -> None:
    """Raise BookError, naming the key, unless content is a price book as it may be written."""
    try:
        BookEntry.model_validate(content)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A key that nobody knows is usually why another one is missing: it is named first.
        found.sort(key=lambda entry: entry["type"] != "extra_forbidden")
        first, *further = [(_key(entry), _message(entry)) for entry in found]
        more = "".join(f"; {key}: {message}" for key, message in further)
        raise BookError(name, first[0], first[1] + more) from None


def _key(entry: Any) -> str:
    return ".".join(str(part) for part in entry["loc"])


def _message(entry: Any) -> str:
    return str(entry["msg"]).removeprefix("Value error, ")
