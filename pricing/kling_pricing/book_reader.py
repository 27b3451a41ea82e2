"""Reads a price book's TOML text into a PriceBook, or refuses it and names the key.

A user's file may lie over a bundled one: it overrides key by key, and every rate that it touches
says so.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final

from pydantic import ValidationError

from kling_pricing import book_format as written
from kling_pricing.book import (
    Billing,
    Cell,
    Conversion,
    Dated,
    Fee,
    Forced,
    Lengths,
    Offer,
    Options,
    OutputLengths,
    PriceBook,
    Rate,
    Rounding,
    Source,
    When,
)
from kling_pricing.clip import Clip
from kling_pricing.errors import AmountError, BookError
from kling_pricing.money import MAX_MICRO, from_micro, to_micro

_LONGEST_S: Final = 3600

Content = dict[str, Any]
"""A TOML document as tomllib gives it."""


@dataclass(frozen=True, slots=True)
class BookText:
    """The TOML text of a book and what errors call it."""

    name: str
    text: str


def read_book(text: str, *, name: str, over: BookText | None = None) -> PriceBook:
    """Read a price book from TOML text; with `over`, as overrides of that book.

    Raises BookError, naming the key, for anything that the format does not allow, for a rate
    without a source, and where the validity of two rates for one clip overlaps or leaves a gap.
    """
    content = _parse(text, name)
    overrides: Mapping[str, tuple[str, ...]] = {}
    if over is not None:
        base = _parse(over.text, over.name)
        overrides = _overrides(content, base, name)
        content = _merged(base, content)
    try:
        entries = written.BookEntry.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BookError(name, key, first["msg"].removeprefix("Value error, ")) from None
    return _Builder(entries, _digest(content), name, overrides).book()


def provider_of(text: str, *, name: str) -> str:
    """Return the provider that a book's text is about, before anything else in it is checked."""
    provider = _parse(text, name).get("provider")
    if not isinstance(provider, str):
        raise BookError(name, "provider", "the book does not say whose prices it has")
    return provider


def _parse(text: str, name: str) -> Content:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BookError(name, "", str(error)) from None


def _digest(content: Content) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _merged(base: Content, over: Content) -> Content:
    """Return base with over's keys in place of its own, table by table."""
    merged = dict(base)
    for key, value in over.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged


def _overrides(over: Content, base: Content, name: str) -> dict[str, tuple[str, ...]]:
    """Return, for each rate that the overriding file touches, the keys it sets there."""
    rates = over.get("rates", {})
    if not isinstance(rates, dict):
        return {}
    return {
        rate: tuple(f"{path} is set by {name}" for path in _paths(keys, f"rates.{rate}"))
        for rate, keys in rates.items()
        if isinstance(keys, dict) and rate in base.get("rates", {})
    }


def _paths(table: Content, prefix: str) -> Iterator[str]:
    for key, value in table.items():
        path = f"{prefix}.{key}"
        if isinstance(value, dict):
            yield from _paths(value, path)
        else:
            yield path


@dataclass(frozen=True, slots=True)
class _Builder:
    """Turns the entries of one file into a book; knows the file's name for its errors."""

    entries: written.BookEntry
    digest: str
    name: str
    overrides: Mapping[str, tuple[str, ...]]
    offers: defaultdict[tuple[str, str], list[Offer]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def book(self) -> PriceBook:
        conversions = tuple(self._conversions())
        self._refuse_overlaps_and_gaps("conversions", [entry.valid for entry in conversions])
        for rate_id, entry in self.entries.rates.items():
            self._offer(entry, self._rate(rate_id, entry, conversions))
        for clip, offers in self.offers.items():
            key = f"rates for {' '.join(clip)}"
            self._refuse_overlaps_and_gaps(key, [offer.rate.valid for offer in offers])
        return PriceBook(
            provider=self.entries.provider,
            name=self.entries.name,
            unit=self.entries.unit,
            digest=self.digest,
            offers={clip: tuple(offers) for clip, offers in self.offers.items()},
        )

    def _offer(self, entry: written.RateEntry, rate: Rate) -> None:
        for model, made in entry.models.items():
            adjusts = bool(made.fixed or rate.defaults or rate.forced)
            for action in made.actions:
                self.offers[model, action].append(Offer(rate, made.fixed, adjusts))

    def _conversions(self) -> Iterator[Conversion]:
        for index, entry in enumerate(self.entries.conversions):
            yield Conversion(
                unit=self.entries.unit,
                units_per_usd=entry.units_per_usd,
                valid=_dated(entry),
                source=self._source(entry.source, f"conversions.{index}"),
                note=entry.note,
            )

    def _rate(
        self, rate_id: str, entry: written.RateEntry, conversions: tuple[Conversion, ...]
    ) -> Rate:
        key = f"rates.{rate_id}"
        overrides = self.overrides.get(rate_id, ())
        source = self._source(entry.source, key)
        rate = Rate(
            provider=self.entries.provider,
            provider_name=self.entries.name,
            id=rate_id,
            family=entry.family,
            unit=self.entries.unit,
            per=entry.per,
            block_s=entry.block_s,
            dimensions=tuple(entry.dimensions),
            prices=self._prices(entry, key),
            request=_lengths(entry.request),
            billing=_billing(entry.billing),
            defaults=entry.defaults,
            forced=tuple(Forced(When(one.when), one.options, one.because) for one in entry.forced),
            fees=tuple(
                Fee(one.label, When(one.when), one.multiply, one.amount, one.per)
                for one in entry.fees
            ),
            rounding=Rounding(entry.rounding.mode, entry.rounding.quantum)
            if entry.rounding
            else None,
            valid=_dated(entry),
            source=replace(source, evidence="user") if overrides else source,
            note=entry.note,
            overrides=overrides,
            book_digest=self.digest,
            conversions=conversions,
            plain_lengths=_plain_lengths(entry),
            cell_of=_cell_reader(entry.dimensions),
        )
        self._refuse_amounts_that_cannot_be_held(rate, key)
        return rate

    def _source(self, name: str, key: str) -> Source:
        entry = self.entries.sources.get(name)
        if entry is None:
            raise BookError(self.name, f"{key}.source", f"no source is called {name!r}")
        return Source(entry.url, entry.checked, entry.evidence, entry.note)

    def _prices(self, entry: written.RateEntry, key: str) -> dict[Cell, Decimal]:
        label = "prices" if entry.prices is not None else "multipliers"
        table = entry.prices if entry.prices is not None else entry.multipliers
        found = self._cells(table, tuple(entry.dimensions), f"{key}.{label}")
        prices = {cell: (entry.base or 1) * number for cell, number in found}
        if not prices:
            raise BookError(self.name, f"{key}.{label}", "the table is empty")
        return prices

    def _cells(
        self, table: object, dimensions: Sequence[str], key: str
    ) -> Iterator[tuple[Cell, Decimal]]:
        if not dimensions:
            try:
                yield (), written.written_decimal(table)
            except ValueError as error:
                raise BookError(self.name, key, str(error)) from None
            return
        if not isinstance(table, dict):
            raise BookError(self.name, key, f"expected a table by {dimensions[0]}")
        for word, inner in table.items():
            values = self._values(dimensions[0], word, table, f"{key}.{word}")
            for cell, number in self._cells(inner, dimensions[1:], f"{key}.{word}"):
                for value in values:
                    yield (value, *cell), number

    def _values(self, dimension: str, word: str, table: Content, key: str) -> Options | list[Any]:
        allowed = written.DIMENSIONS[dimension]
        if word == written.ANY and dimension != "seconds":
            if len(table) > 1:
                raise BookError(self.name, key, f"{written.ANY} stands alone: it is every value")
            return [*allowed.values(), None]
        if word not in allowed:
            known = ", ".join(allowed) if len(allowed) < 10 else "a number of seconds"
            raise BookError(self.name, key, f"a {dimension} is one of: {known}")
        return [allowed[word]]

    def _refuse_amounts_that_cannot_be_held(self, rate: Rate, key: str) -> None:
        """Check that whole seconds always come to whole millionths, or that the clip is rounded."""
        factor = Decimal(1)
        for fee in rate.fees:
            factor *= fee.multiply or 1
        for price in (*rate.prices.values(), *(fee.amount for fee in rate.fees if fee.amount)):
            dearest = price * factor * _LONGEST_S
            if dearest > from_micro(MAX_MICRO):
                raise BookError(self.name, key, f"{price} is more than the ledger can hold")
            try:
                if rate.rounding is None:
                    to_micro(price * factor)
            except AmountError:
                problem = f"{price * factor} is finer than a millionth: say how it is rounded"
                raise BookError(self.name, key, problem) from None

    def _refuse_overlaps_and_gaps(self, key: str, dated: Sequence[Dated]) -> None:
        """Check that half-open validities follow each other with neither overlap nor gap."""
        for earlier, later in pairwise(sorted(dated, key=lambda entry: entry.valid_from)):
            if earlier.valid_until is None or earlier.valid_until > later.valid_from:
                raise BookError(self.name, key, f"{earlier} overlaps {later}")
            if earlier.valid_until < later.valid_from:
                raise BookError(self.name, key, f"a gap between {earlier} and {later}")


def _dated(entry: written.DatedEntry) -> Dated:
    until = entry.valid_until
    return Dated(_midnight(entry.valid_from), None if until is None else _midnight(until))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


def _lengths(entry: written.LengthsEntry | None) -> Lengths | None:
    if entry is None:
        return None
    if entry.one_of is not None:
        return Lengths(min(entry.one_of), max(entry.one_of), tuple(sorted(entry.one_of)))
    return Lengths(entry.min_s or 1, entry.max_s or 1)


def _billing(entry: written.BillingEntry) -> Billing:
    return Billing(
        count=entry.count,
        round=entry.round,
        min_s=entry.min_s,
        max_s=entry.max_s,
        times_output=entry.times_output,
        output=tuple(
            OutputLengths(When(one.when), lengths)
            for one in entry.output
            if (lengths := _lengths(one)) is not None
        ),
    )


def _plain_lengths(entry: written.RateEntry) -> frozenset[int]:
    billing, request = entry.billing, _lengths(entry.request)
    is_plain = entry.per == "second" and billing.count == "requested"
    if not is_plain or request is None or entry.fees or entry.rounding is not None:
        return frozenset()
    longest = min(request.max_s, billing.max_s or request.max_s)
    lengths = range(max(request.min_s, billing.min_s), longest + 1)
    return frozenset(seconds for seconds in lengths if seconds in request)


def _cell_reader(dimensions: Sequence[str]) -> Callable[[Clip], Cell]:
    if len(dimensions) > 1:
        return attrgetter(*dimensions)
    if not dimensions:
        return lambda _: ()
    read = attrgetter(dimensions[0])
    return lambda clip: (read(clip),)
