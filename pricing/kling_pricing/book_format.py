"""How a price book is written: the TOML format, read into a PriceBook or refused.

Every key is known and every value has one type: a key that is silently dropped is a price that
is silently wrong. pricing/README.md teaches the format to somebody who never saw this code.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from kling_pricing.book import (
    Cell,
    Conversion,
    Evidence,
    PriceBook,
    Rate,
    SecondsRule,
    Source,
    span,
)
from kling_pricing.clip import RESOLUTIONS, Action
from kling_pricing.errors import AmountError, BookError, NoPriceError
from kling_pricing.money import Money, from_micro, to_micro

_DIMENSIONS: Final[Mapping[str, Mapping[str, str | bool]]] = {
    "resolution": {resolution: resolution for resolution in RESOLUTIONS},
    "sound": {"off": False, "on": True},
}


@cache
def bundled_providers() -> tuple[str, ...]:
    """Return the providers whose books come with the package, sorted."""
    folder = resources.files("kling_pricing") / "books"
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@cache
def bundled_book(provider: str) -> PriceBook:
    """Return the bundled price book of a provider; NoPriceError for a provider without one."""
    if provider not in bundled_providers():
        raise NoPriceError(f"provider {provider}", known=bundled_providers())
    name = f"{provider}.toml"
    text = (resources.files("kling_pricing") / "books" / name).read_text(encoding="utf-8")
    return read_book(text, name=name)


def read_book(text: str, *, name: str) -> PriceBook:
    """Read a price book from TOML text; `name` is what errors call it.

    Raises BookError, naming the key, for anything that the format does not allow, for a rate
    without a source, and where the validity of two rates for one clip overlaps or leaves a gap.
    """
    try:
        content = tomllib.loads(text)
        entries = _Book.model_validate(content)
    except tomllib.TOMLDecodeError as error:
        raise BookError(name, "", str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BookError(name, key, first["msg"]) from None
    return _build(entries, digest=_digest(content), name=name)


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


# --- what the file may say ------------------------------------------------------------------


def _written_decimal(value: object) -> Decimal:
    if not isinstance(value, str):
        raise ValueError("write the number as a string in quotes: a float would change it")
    try:
        number = from_micro(to_micro(Decimal(value)))
    except (ArithmeticError, AmountError):
        raise ValueError(f"{value!r} is no number with at most six decimals") from None
    if number <= 0:
        raise ValueError(f"{value!r} is not above zero")
    return number


def _https(url: str) -> str:
    if not url.startswith("https://"):
        raise ValueError("a source is an https:// address")
    return url


_Number = Annotated[Decimal, BeforeValidator(_written_decimal)]


class _Entry(BaseModel):
    """A table of the file: every key is known, and every value has exactly the type it says."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Source(_Entry):
    url: Annotated[str, AfterValidator(_https)]
    checked: date
    evidence: Evidence
    note: str = ""


class _Dated(_Entry):
    valid_from: date = Field(alias="from")
    valid_until: date | None = Field(default=None, alias="until")
    source: str
    note: str = ""

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            raise ValueError("until is not after from")
        return self


class _Conversion(_Dated):
    units_per_usd: _Number


class _RequestRange(_Entry):
    min_s: Annotated[int, Field(ge=1)]
    max_s: Annotated[int, Field(ge=1)]


class _Billing(_Entry):
    min_s: Annotated[int, Field(ge=1)] = 1


class _Rate(_Dated):
    id: str
    models: Annotated[dict[str, Annotated[list[Action], Field(min_length=1)]], Field(min_length=1)]
    per: Literal["second"]
    base: _Number = Decimal(1)
    dimensions: list[Literal["resolution", "sound"]]
    prices: dict[str, Any] | None = None
    multipliers: dict[str, Any] | None = None
    request: _RequestRange
    billing: _Billing = _Billing()

    @model_validator(mode="after")
    def _has_one_table(self) -> Self:
        if (self.prices is None) == (self.multipliers is None):
            raise ValueError("give either prices, or base and multipliers")
        if self.prices is not None and "base" in self.model_fields_set:
            raise ValueError("base goes with multipliers: prices are whole")
        return self


class _Book(_Entry):
    format: Literal[1]
    provider: str
    name: str
    unit: str
    sources: dict[str, _Source]
    conversions: list[_Conversion] = []
    rates: Annotated[list[_Rate], Field(min_length=1)]


# --- from entries to rates ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Builder:
    """Turns the entries of one file into rates; knows the file's name for its errors."""

    entries: _Book
    digest: str
    name: str
    sources: Mapping[str, Source]

    def conversions(self) -> Iterator[Conversion]:
        for index, entry in enumerate(self.entries.conversions):
            yield Conversion(
                unit=self.entries.unit,
                units_per_usd=entry.units_per_usd,
                valid_from=_midnight(entry.valid_from),
                valid_until=_midnight_or_none(entry.valid_until),
                source=self.source(entry.source, f"conversions.{index}"),
                note=entry.note,
            )

    def rate(self, index: int, entry: _Rate, conversions: tuple[Conversion, ...]) -> Rate:
        key = f"rates.{index}"
        return Rate(
            provider=self.entries.provider,
            provider_name=self.entries.name,
            id=entry.id,
            unit=self.entries.unit,
            dimensions=tuple(entry.dimensions),
            prices=self.prices(entry, key),
            seconds=SecondsRule(entry.request.min_s, entry.request.max_s, entry.billing.min_s),
            valid_from=_midnight(entry.valid_from),
            valid_until=_midnight_or_none(entry.valid_until),
            source=self.source(entry.source, key),
            note=entry.note,
            book_digest=self.digest,
            conversions=conversions,
        )

    def source(self, name: str, key: str) -> Source:
        if name not in self.sources:
            raise BookError(self.name, f"{key}.source", f"no source is called {name!r}")
        return self.sources[name]

    def prices(self, entry: _Rate, key: str) -> dict[Cell, Decimal]:
        table, label = (
            (entry.prices, "prices")
            if entry.prices is not None
            else (entry.multipliers, "multipliers")
        )
        cells = dict(self.cells(table, tuple(entry.dimensions), f"{key}.{label}"))
        if not cells:
            raise BookError(self.name, f"{key}.{label}", "the table is empty")
        for cell, price in cells.items():
            cells[cell] = self.exact(entry.base * price, f"{key}.{label}")
        return cells

    def cells(
        self, table: object, dimensions: tuple[str, ...], key: str
    ) -> Iterator[tuple[Cell, Decimal]]:
        if not dimensions:
            try:
                yield (), _written_decimal(table)
            except ValueError as error:
                raise BookError(self.name, key, str(error)) from None
            return
        if not isinstance(table, dict):
            raise BookError(self.name, key, f"expected a table by {dimensions[0]}")
        allowed = _DIMENSIONS[dimensions[0]]
        for written, inner in table.items():
            if written not in allowed:
                known = ", ".join(allowed)
                raise BookError(
                    self.name, f"{key}.{written}", f"a {dimensions[0]} is one of {known}"
                )
            for cell, price in self.cells(inner, dimensions[1:], f"{key}.{written}"):
                yield (allowed[written], *cell), price

    def exact(self, price: Decimal, key: str) -> Decimal:
        try:
            return Money(price, self.entries.unit).amount
        except AmountError as error:
            raise BookError(self.name, key, str(error)) from None


def _build(entries: _Book, *, digest: str, name: str) -> PriceBook:
    sources = {
        key: Source(entry.url, entry.checked, entry.evidence, entry.note)
        for key, entry in entries.sources.items()
    }
    builder = _Builder(entries, digest, name, sources)
    conversions = tuple(builder.conversions())
    _refuse_overlaps_and_gaps(name, "conversions", conversions)
    by_clip: defaultdict[tuple[str, str], list[Rate]] = defaultdict(list)
    for index, entry in enumerate(entries.rates):
        rate = builder.rate(index, entry, conversions)
        for model, actions in entry.models.items():
            for action in actions:
                by_clip[model, action].append(rate)
    for clip, rates in by_clip.items():
        _refuse_overlaps_and_gaps(name, f"rates for {' '.join(clip)}", rates)
    return PriceBook(
        provider=entries.provider,
        name=entries.name,
        unit=entries.unit,
        digest=digest,
        rates={clip: tuple(rates) for clip, rates in by_clip.items()},
    )


def _refuse_overlaps_and_gaps(name: str, key: str, dated: Sequence[Rate | Conversion]) -> None:
    """Check that half-open validities follow each other with neither overlap nor gap."""
    in_order = sorted(dated, key=lambda entry: entry.valid_from)
    for earlier, later in pairwise(in_order):
        if earlier.valid_until is None or earlier.valid_until > later.valid_from:
            raise BookError(name, key, f"{span(earlier)} overlaps {span(later)}")
        if earlier.valid_until < later.valid_from:
            raise BookError(name, key, f"a gap between {span(earlier)} and {span(later)}")


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


def _midnight_or_none(day: date | None) -> datetime | None:
    return None if day is None else _midnight(day)
