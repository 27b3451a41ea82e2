"""Builds a PriceBook from what a file says: prices get their cells, rates their place in time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final, NamedTuple

from kling_pricing.book import Cell, Offer, PriceBook, Rate
from kling_pricing.book_entries import BookEntry, Charge, Dated, Disputed, RateEntry
from kling_pricing.book_values import DIMENSIONS, Options, written_decimal
from kling_pricing.clip import LONGEST_S, Clip
from kling_pricing.entry import Entry
from kling_pricing.errors import AmountError, BookError
from kling_pricing.money import MAX_MICRO, from_micro, to_micro
from kling_pricing.vocabulary import OptionValue

ANY: Final = "any"
"""The word for every value of a dimension that does not change the price, given or not."""

_MAKES_A_DIFFERENCE: Final = ("resolution", "sound", "voice", "video_input")
_FROM_NO_VIDEO: Final = frozenset({"text_to_video", "image_to_video"})

_RULES: Final = frozenset({"billing", "block_s", "fees", "forced", "per", "rounding", "total"})
"""The keys of a rate that change its prices."""

_Written = Mapping[Cell, tuple[Decimal, str]]
"""The price of each cell, and the key that it was written under."""


class Builder(NamedTuple):
    """Turns what a file says into a book; `name` is what errors call the file.

    `overrides` says, for each rate, which of its keys a user's file sets.
    """

    entry: BookEntry
    digest: str
    name: str
    overrides: Mapping[str, tuple[str, ...]]

    def book(self) -> PriceBook:
        """Return the book; BookError if its sources, tables or dates are inconsistent."""
        conversions = {f"conversions.{at}": one for at, one in enumerate(self.entry.conversions)}
        rates = {f"rates.{rate_id}": rate for rate_id, rate in self.entry.rates.items()}
        disputes = {
            f"{key}.disputed": rate.disputed for key, rate in rates.items() if rate.disputed
        }
        charges = {f"charges.{kind}": one for kind, one in self.entry.charges.by_kind.items()}
        self._refuse_unsourced({**conversions, **rates, **disputes, **charges})
        self._refuse_overlaps_and_gaps("conversions", self.entry.conversions)
        offers: defaultdict[tuple[str, str], list[Offer]] = defaultdict(list)
        for rate_id, entry in self.entry.rates.items():
            rate = self._rate(rate_id, entry)
            for model, made in entry.models.items():
                for action in made.actions:
                    offers[model, action].append(_offer(rate, made.fixed, action))
        for clip, dated in offers.items():
            rates_of = [offer.rate for offer in dated]
            self._refuse_overlaps_and_gaps(f"rates for {' '.join(clip)}", rates_of)
        return PriceBook(
            **_fields_of(self.entry),
            digest=self.digest,
            offers={clip: tuple(dated) for clip, dated in offers.items()},
        )

    def _rate(self, rate_id: str, entry: RateEntry) -> Rate:
        key = f"rates.{rate_id}"
        # The path of each price is kept until it is known which prices a user has set.
        table = self._prices(entry, key)
        overrides = self.overrides.get(rate_id, ())
        of_cells = {f"{key}.base", *(path for _, path in table.values())}
        rate = Rate(
            **_fields_of(entry),
            id=rate_id,
            book=self.entry,
            book_digest=self.digest,
            prices={cell: price for cell, (price, _) in table.items()},
            cell_of=_cell_reader(entry.dimensions),
            plain_lengths=_plain_lengths(entry),
            overrides=tuple(self._set_by(path) for path in overrides if path not in of_cells),
            user_cells=self._user_cells(table, overrides, key),
            has_user_rules=any(_is_rule(path, key) for path in overrides),
        )
        self._refuse_amounts_that_cannot_be_held(rate, key)
        return rate

    def _prices(self, entry: RateEntry, key: str) -> _Written:
        is_whole = entry.price_table is not None
        label = "prices" if is_whole else "multipliers"
        written = entry.price_table if is_whole else entry.multipliers
        found = self._cells(written, entry.dimensions, f"{key}.{label}")
        prices = {cell: (number * (entry.base or 1), path) for cell, number, path in found}
        if not prices:
            raise BookError(self.name, f"{key}.{label}", "the table is empty")
        return prices

    def _cells(
        self, table: object, dimensions: Sequence[str], key: str
    ) -> Iterator[tuple[Cell, Decimal, str]]:
        if not dimensions:
            yield (), self._number(table, key), key
            return
        if not isinstance(table, dict):
            raise BookError(self.name, key, f"expected a table by {dimensions[0]}")
        for word, inner in table.items():
            values = self._values(dimensions[0], word, len(table), f"{key}.{word}")
            for cell, number, path in self._cells(inner, dimensions[1:], f"{key}.{word}"):
                for value in values:
                    yield (value, *cell), number, path

    def _number(self, written: object, key: str) -> Decimal:
        if isinstance(written, dict):
            raise BookError(self.name, key, "a price stands here: there are no more dimensions")
        try:
            return written_decimal(written)
        except ValueError as error:
            raise BookError(self.name, key, str(error)) from None

    def _values(self, dimension: str, word: str, siblings: int, key: str) -> list[OptionValue]:
        """Return the values that a word of a table stands for; None among them means not given."""
        allowed = DIMENSIONS[dimension]
        # A price for a clip of any length makes no sense: the seconds must be given.
        if word == ANY and dimension != "seconds":
            if siblings > 1:
                raise BookError(self.name, key, f"{ANY} stands alone: it is every value")
            return [*allowed.values(), None]
        if word not in allowed:
            known = ", ".join(allowed) if len(allowed) < 10 else "a number of seconds"
            raise BookError(self.name, key, f"a {dimension} is one of: {known}")
        return [allowed[word]]

    def _user_cells(self, table: _Written, overrides: Sequence[str], key: str) -> dict[Cell, str]:
        """Return the cells whose price a user's file sets, directly or through its base."""
        own = {
            cell: path if path in overrides else f"{key}.base"
            for cell, (_, path) in table.items()
            if path in overrides or f"{key}.base" in overrides
        }
        return {cell: self._set_by(path) for cell, path in own.items()}

    def _set_by(self, path: str) -> str:
        return f"{path} is set by {self.name}"

    def _refuse_unsourced(self, sourced: Mapping[str, Dated | Disputed | Charge]) -> None:
        for key, entry in sourced.items():
            if entry.source_name is not None and entry.source_name not in self.entry.sources:
                problem = f"no source is called {entry.source_name!r}"
                raise BookError(self.name, f"{key}.source", problem)

    def _refuse_amounts_that_cannot_be_held(self, rate: Rate, key: str) -> None:
        """Check that every clip's amount is whole millionths, above zero, and not too large."""
        extras = [fee.amount for fee in rate.fees if fee.amount is not None]
        disputed = rate.disputed
        others = [price * disputed.times for price in rate.prices.values()] if disputed else []
        # Whether a fee applies depends on the clip, so every product of their factors is tried.
        for price in (*rate.prices.values(), *others, *extras):
            for factor in _products([fee.multiply for fee in rate.fees if fee.multiply]):
                self._refuse_price(rate, price * factor, key)
        for price in rate.prices.values():
            least = price * rate.shortest
            if rate.rounding is not None and rate.rounding.round(least) <= 0:
                problem = f"{price} is rounded to nothing: a price is never zero"
                raise BookError(self.name, key, problem)

    def _refuse_price(self, rate: Rate, price: Decimal, key: str) -> None:
        # A day is the longest clip that can be requested: any amount up to it fits into the ledger.
        if price * LONGEST_S > from_micro(MAX_MICRO):
            raise BookError(self.name, key, f"{price} is more than the ledger can hold")
        try:
            if rate.rounding is None:
                to_micro(price)
        except AmountError:
            problem = f"{price} is finer than a millionth: say how it is rounded"
            raise BookError(self.name, key, problem) from None

    def _refuse_overlaps_and_gaps(self, key: str, dated: Sequence[Dated]) -> None:
        """Check that half-open validities follow each other without overlap or gap."""
        # An instant without a price between two that have one is a typing error.
        for earlier, later in pairwise(sorted(dated, key=lambda entry: entry.valid_from)):
            if earlier.valid_until is None or earlier.valid_until > later.valid_from:
                raise BookError(self.name, key, f"{earlier.dates} overlaps {later.dates}")
            if earlier.valid_until < later.valid_from:
                raise BookError(self.name, key, f"a gap between {earlier.dates} and {later.dates}")


def _is_rule(path: str, key: str) -> bool:
    """Whether a key of a rate that a user's file sets changes its prices."""
    return path.removeprefix(f"{key}.").partition(".")[0] in _RULES


def _fields_of(entry: Entry) -> dict[str, Any]:
    return {field.name: getattr(entry, field.name) for field in fields(entry)}  # type: ignore[arg-type]


def _offer(rate: Rate, fixed: Options, action: str) -> Offer:
    adjusts = bool(fixed or rate.defaults or rate.forced)
    return Offer(rate, fixed, adjusts, tuple(_unheard_of(rate, fixed, action)))


def _unheard_of(rate: Rate, fixed: Options, action: str) -> Iterator[str]:
    """Name the options that would change what is made, but that the rate does not mention."""
    heard_of = {*rate.dimensions, *rate.defaults, *fixed}
    for rule in rate.forced:
        heard_of |= {*rule.when, *rule.sets}
    for fee in rate.fees:
        heard_of |= {*fee.when}
    if action not in _FROM_NO_VIDEO:
        # These always start from a video, whether the clip says so or not.
        heard_of.add("video_input")
    return (name for name in _MAKES_A_DIFFERENCE if name not in heard_of)


def _products(factors: Sequence[Decimal]) -> set[Decimal]:
    """Return every product of some of the factors: which fees apply depends on the clip."""
    products = {Decimal(1)}
    for factor in factors:
        products |= {product * factor for product in products}
    return products


def _plain_lengths(rate: RateEntry) -> frozenset[int]:
    """Return the lengths that are billed as they are: no rule counts, rounds, adds or clamps."""
    request, billing = rate.request, rate.billing
    if rate.per != "second" or billing.count != "requested" or request is None:
        return frozenset()
    if rate.fees or rate.rounding or rate.total:
        return frozenset()
    shortest, longest = request.ends
    lengths = range(max(shortest, billing.min_s), min(longest, billing.max_s or longest) + 1)
    return frozenset(seconds for seconds in lengths if seconds in request)


def _cell_reader(dimensions: Sequence[str]) -> Callable[[Clip], Cell]:
    # attrgetter returns a tuple only for several names, and is the fastest way to get one.
    if len(dimensions) > 1:
        return attrgetter(*dimensions)
    if not dimensions:
        return lambda _: ()
    read = attrgetter(dimensions[0])
    return lambda clip: (read(clip),)
