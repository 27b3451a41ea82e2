"""Builds a PriceBook from the content of a TOML document that has been checked.

What each key may hold is in book_format.py. Here prices find their place in their table, and rates
their place in time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final

from kling_pricing.book import (
    Billing,
    Cell,
    Conversion,
    Dated,
    Fee,
    Forced,
    Lengths,
    Offer,
    OutputLengths,
    PriceBook,
    Rate,
    Rounding,
    Source,
    Total,
    When,
)
from kling_pricing.clip import FRAMES, LONGEST_S, ORIENTATIONS, RESOLUTIONS, Clip, OptionValue
from kling_pricing.errors import AmountError, BookError
from kling_pricing.money import MAX_MICRO, from_micro, to_micro

Content = dict[str, Any]
"""A TOML document, or a table of it, as tomllib gives it."""


DIMENSIONS: Final[dict[str, dict[str, OptionValue]]] = {
    "resolution": {word: word for word in RESOLUTIONS},
    "frames": {word: word for word in FRAMES},
    "orientation": {word: word for word in ORIENTATIONS},
    **{
        name: {"off": False, "on": True}
        for name in ("sound", "voice", "video_input", "multi_shot", "elements")
    },
    "seconds": {str(seconds): seconds for seconds in range(1, 61)},
}
"""The words that price tables are keyed by, and the value that each stands for."""

ANY: Final = "any"
"""The word for every value of a dimension that makes no difference to the price, said or not."""

_MAX_DECIMALS: Final = 12
_PLAIN: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,40})?")


def written_decimal(value: object) -> Decimal:
    """Read a positive number that was written as text; ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError("write the number as a string in quotes: a float would change it")
    if not _PLAIN.fullmatch(value):
        raise ValueError(f"{value!r} is no number")
    number = Decimal(value)
    decimals = len(value.partition(".")[2])
    if number <= 0 or number >= 10**9 or decimals > _MAX_DECIMALS:
        raise ValueError(
            f"{value!r} is not above 0, below 10^9, with {_MAX_DECIMALS} decimals at most"
        )
    return number


def build_book(
    content: Content, *, name: str, overrides: Mapping[str, tuple[str, ...]] | None = None
) -> PriceBook:
    """Return the book that checked content says; BookError where its tables or dates do not fit.

    `overrides` says for each rate which of its keys a user's file has set.
    """
    return _Builder(content, _digest(content), name, overrides or {}).book()


def _digest(content: Content) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Builder:
    """Turns one file's content into a book; knows the file's name for its errors."""

    content: Content
    digest: str
    name: str
    overrides: Mapping[str, tuple[str, ...]]
    offers: defaultdict[tuple[str, str], list[Offer]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def book(self) -> PriceBook:
        conversions = tuple(self._conversions())
        self._refuse_overlaps_and_gaps("conversions", [entry.valid for entry in conversions])
        for rate_id, table in self.content["rates"].items():
            self._offer(table, self._rate(rate_id, table, conversions))
        for clip, offers in self.offers.items():
            key = f"rates for {' '.join(clip)}"
            self._refuse_overlaps_and_gaps(key, [offer.rate.valid for offer in offers])
        return PriceBook(
            provider=self.content["provider"],
            name=self.content["name"],
            unit=self.content["unit"],
            digest=self.digest,
            offers={clip: tuple(offers) for clip, offers in self.offers.items()},
        )

    def _offer(self, table: Content, rate: Rate) -> None:
        for model, made in table["models"].items():
            # A model that fixes nothing may be written as the list of its actions alone.
            actions = made if isinstance(made, list) else made["actions"]
            fixed = {} if isinstance(made, list) else made.get("fixed", {})
            adjusts = bool(fixed or rate.defaults or rate.forced)
            for action in actions:
                refuses = tuple(_unheard_of(rate, fixed, action))
                self.offers[model, action].append(Offer(rate, fixed, adjusts, refuses))

    def _conversions(self) -> Iterator[Conversion]:
        for index, table in enumerate(self.content.get("conversions", [])):
            yield Conversion(
                unit=self.content["unit"],
                units_per_usd=Decimal(table["units_per_usd"]),
                valid=_dated(table),
                source=self._source(table["source"], f"conversions.{index}"),
                note=table.get("note", ""),
            )

    def _rate(self, rate_id: str, table: Content, conversions: tuple[Conversion, ...]) -> Rate:
        key = f"rates.{rate_id}"
        overrides = self.overrides.get(rate_id, ())
        dimensions = tuple(table.get("dimensions", ()))
        billing, request = _billing(table.get("billing", {})), _lengths(table.get("request"))
        fees, rounding = _fees(table.get("fees", [])), _rounding(table.get("rounding"))
        total = _total(table.get("total"))
        plain = _plain_lengths(table["per"], request, billing)
        prices = self._prices(table, dimensions, key)
        own_cells = self._user_cells(prices, overrides, key)
        of_cells = {f"{key}.base", *(path for _, path in prices.values())}
        rate = Rate(
            provider=self.content["provider"],
            provider_name=self.content["name"],
            id=rate_id,
            family=table["family"],
            unit=self.content["unit"],
            per=table["per"],
            block_s=table.get("block_s"),
            dimensions=dimensions,
            prices={cell: number for cell, (number, _) in prices.items()},
            request=request,
            input=_lengths(table.get("input")),
            billing=billing,
            defaults=table.get("defaults", {}),
            forced=_forced(table.get("forced", [])),
            fees=fees,
            rounding=rounding,
            total=total,
            valid=_dated(table),
            source=self._source(table["source"], key),
            note=table.get("note", ""),
            overrides=tuple(self._set_by(path) for path in overrides if path not in of_cells),
            user_cells=own_cells,
            book_digest=self.digest,
            conversions=conversions,
            plain_lengths=frozenset() if fees or rounding or total else plain,
            cell_of=_cell_reader(dimensions),
        )
        self._refuse_amounts_that_cannot_be_held(rate, key)
        return rate

    def _source(self, name: str, key: str) -> Source:
        table = self.content["sources"].get(name)
        if table is None:
            raise BookError(self.name, f"{key}.source", f"no source is called {name!r}")
        return Source(table["url"], table["checked"], table["evidence"], table.get("note", ""))

    def _prices(
        self, table: Content, dimensions: tuple[str, ...], key: str
    ) -> dict[Cell, tuple[Decimal, str]]:
        """Return the price of each cell, and the key that it is written under."""
        label = "prices" if "prices" in table else "multipliers"
        base = Decimal(table.get("base", 1))
        found = self._cells(table[label], dimensions, f"{key}.{label}")
        prices = {cell: (base * number, path) for cell, number, path in found}
        if not prices:
            raise BookError(self.name, f"{key}.{label}", "the table is empty")
        return prices

    def _user_cells(
        self, prices: Mapping[Cell, tuple[Decimal, str]], overrides: Sequence[str], key: str
    ) -> dict[Cell, str]:
        """Return the cells whose price a user's file has set, itself or by its base."""
        base = [path for path in overrides if path == f"{key}.base"]
        own = {
            cell: path if path in overrides else base[0]
            for cell, (_, path) in prices.items()
            if path in overrides or base
        }
        return {cell: self._set_by(path) for cell, path in own.items()}

    def _set_by(self, path: str) -> str:
        return f"{path} is set by {self.name}"

    def _cells(
        self, table: object, dimensions: Sequence[str], key: str
    ) -> Iterator[tuple[Cell, Decimal, str]]:
        if not dimensions:
            if isinstance(table, dict):
                raise BookError(self.name, key, "a price stands here: there are no more dimensions")
            try:
                yield (), written_decimal(table), key
            except ValueError as error:
                raise BookError(self.name, key, str(error)) from None
            return
        if not isinstance(table, dict):
            raise BookError(self.name, key, f"expected a table by {dimensions[0]}")
        for word, inner in table.items():
            values = self._values(dimensions[0], word, table, f"{key}.{word}")
            for cell, number, path in self._cells(inner, dimensions[1:], f"{key}.{word}"):
                for value in values:
                    yield (value, *cell), number, path

    def _values(self, dimension: str, word: str, table: Content, key: str) -> list[OptionValue]:
        allowed = DIMENSIONS[dimension]
        if word == ANY and dimension != "seconds":
            if len(table) > 1:
                raise BookError(self.name, key, f"{ANY} stands alone: it is every value")
            return [*allowed.values(), None]
        if word not in allowed:
            known = ", ".join(allowed) if len(allowed) < 10 else "a number of seconds"
            raise BookError(self.name, key, f"a {dimension} is one of: {known}")
        return [allowed[word]]

    def _refuse_amounts_that_cannot_be_held(self, rate: Rate, key: str) -> None:
        """Check that every clip comes to whole millionths, to something, and to no giant sum."""
        extras = [fee.amount for fee in rate.fees if fee.amount is not None]
        for price in (*rate.prices.values(), *extras):
            for factor in _products([fee.multiply for fee in rate.fees if fee.multiply]):
                self._refuse_price(rate, price * factor, key)
        for price in rate.prices.values():
            least = price * rate.shortest
            if rate.rounding is not None and rate.rounding.round(least) <= 0:
                problem = f"{price} is rounded to nothing: a price is never zero"
                raise BookError(self.name, key, problem)

    def _refuse_price(self, rate: Rate, price: Decimal, key: str) -> None:
        if price * LONGEST_S > from_micro(MAX_MICRO):
            raise BookError(self.name, key, f"{price} is more than the ledger can hold")
        try:
            if rate.rounding is None:
                to_micro(price)
        except AmountError:
            problem = f"{price} is finer than a millionth: say how it is rounded"
            raise BookError(self.name, key, problem) from None

    def _refuse_overlaps_and_gaps(self, key: str, dated: Sequence[Dated]) -> None:
        """Check that half-open validities follow each other with neither overlap nor gap."""
        for earlier, later in pairwise(sorted(dated, key=lambda entry: entry.valid_from)):
            if earlier.valid_until is None or earlier.valid_until > later.valid_from:
                raise BookError(self.name, key, f"{earlier} overlaps {later}")
            if earlier.valid_until < later.valid_from:
                raise BookError(self.name, key, f"a gap between {earlier} and {later}")


def _unheard_of(rate: Rate, fixed: Content, action: str) -> Iterator[str]:
    """Name the options that would change what is made, and that the rate does not speak of."""
    heard_of = {*rate.dimensions, *rate.defaults, *fixed}
    for rule in rate.forced:
        heard_of |= {*rule.when.options, *rule.options}
    for fee in rate.fees:
        heard_of |= {*fee.when.options}
    if action not in {"text_to_video", "image_to_video"}:
        # What these start from is a video, whether anyone says so or not.
        heard_of.add("video_input")
    for name in ("resolution", "sound", "voice", "video_input"):
        if name not in heard_of:
            yield name


def _dated(table: Content) -> Dated:
    until = table.get("until")
    return Dated(_midnight(table["from"]), None if until is None else _midnight(until))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


def _lengths(table: Content | None) -> Lengths | None:
    if table is None:
        return None
    few = table.get("one_of")
    if few is not None:
        return Lengths(min(few), max(few), tuple(sorted(few)))
    return Lengths(table["min_s"], table["max_s"], parts=table.get("parts", False))


def _billing(table: Content) -> Billing:
    times = table.get("times_output")
    return Billing(
        count=table.get("count", "requested"),
        round=table.get("round"),
        min_s=table.get("min_s", 1),
        max_s=table.get("max_s"),
        times_output=None if times is None else Decimal(times),
        follows_input=table.get("follows_input", False),
        output=tuple(
            OutputLengths(When(one.get("when", {})), lengths)
            for one in table.get("output", [])
            if (lengths := _lengths(one)) is not None
        ),
    )


def _forced(tables: list[Content]) -> tuple[Forced, ...]:
    return tuple(Forced(When(one.get("when", {})), one["set"], one["because"]) for one in tables)


def _fees(tables: list[Content]) -> tuple[Fee, ...]:
    return tuple(
        Fee(
            label=one["label"],
            when=When(one.get("when", {})),
            multiply=Decimal(one["multiply"]) if "multiply" in one else None,
            amount=Decimal(one["amount"]) if "amount" in one else None,
            per=one.get("per", "clip"),
        )
        for one in tables
    )


def _rounding(table: Content | None) -> Rounding | None:
    return None if table is None else Rounding(table["mode"], Decimal(table["quantum"]))


def _total(table: Content | None) -> Total | None:
    if table is None:
        return None
    least, most = table.get("min"), table.get("max")
    return Total(None if least is None else Decimal(least), None if most is None else Decimal(most))


def _products(factors: Sequence[Decimal]) -> set[Decimal]:
    """Return what any choice of some factors comes to: fees may depend on the clip."""
    products = {Decimal(1)}
    for factor in factors:
        products |= {product * factor for product in products}
    return products


def _plain_lengths(per: str, request: Lengths | None, billing: Billing) -> frozenset[int]:
    """Return the lengths that are billed as they are: no rule counts, rounds or clamps them."""
    if per != "second" or billing.count != "requested" or request is None:
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
