"""PriceBook and Rate: every dated price of one provider, each with its source.

A book is data. A price is changed by closing its dated rate and adding another, so that every old
quote can be recomputed. book_entries.py defines what a file may say; this module works out which
cell a price is in and which rate holds when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from kling_pricing.book_entries import BookEntry, Conversion, RateEntry, Source
from kling_pricing.book_values import Options
from kling_pricing.clip import Clip
from kling_pricing.errors import NoPriceError
from kling_pricing.money import USD
from kling_pricing.vocabulary import ACTIONS, OptionValue, option_in_words

Cell = tuple[OptionValue, ...]
"""The values of a rate's dimensions, in their order: the position of a price in its table."""


# Its repr is that of its entry: otherwise every rate would print the whole book.
@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Rate(RateEntry):
    """A rate in its book: what one `per` costs in the unit of the book, cell by cell.

    `overrides` describes in a sentence the keys that a user's file sets, `user_cells` the prices it
    sets; `has_user_rules` says that one of those keys changes every price.
    `plain_lengths` are the lengths whose amount is simply price times length, with no other rule:
    the common case, kept fast. `cell_of` returns a clip's cell in the table.
    Two rates are equal if they are the same entry of books with the same digest.
    """

    id: str
    book: BookEntry
    book_digest: str
    prices: Mapping[Cell, Decimal]
    cell_of: Callable[[Clip], Cell]
    plain_lengths: frozenset[int]
    overrides: tuple[str, ...]
    user_cells: Mapping[Cell, str]
    has_user_rules: bool = False

    @property
    def provider(self) -> str:
        """The provider's name in commands."""
        return self.book.provider

    @property
    def provider_name(self) -> str:
        """The provider's name for people."""
        return self.book.name

    @property
    def unit(self) -> str:
        """The unit of every price."""
        return self.book.unit

    @property
    def source(self) -> Source:
        """Where the rate was read."""
        return self.book.sources[self.source_name]

    def evidence(self, cell: Cell) -> str:
        """How the price of a cell is known: by its source, `user`, or `disputed`.

        `user` if a user's own file set the price or a rule behind it; `disputed` if the seller has
        two figures for it.
        """
        if cell in self.user_cells or self.has_user_rules:
            return "user"
        return "disputed" if self.disputed is not None else self.source.evidence

    @property
    def conversions(self) -> tuple[Conversion, ...]:
        """The unit's dated conversions to US dollars."""
        return self.book.conversions

    @property
    def shortest(self) -> int:
        """The fewest `per` that a clip is ever billed for."""
        if self.per != "second":
            return 1
        asked = self.request.ends[0] if self.request is not None else 1
        return max(asked, self.billing.min_s)

    def described(self, clip: Clip) -> str:
        """Describe a clip's cell of the table: `1080p with sound`."""
        return self.in_words(self.cell_of(clip))

    @property
    def cells_in_words(self) -> tuple[str, ...]:
        """Describe every value that the table lists, with `any` as one value."""
        return tuple(self.in_words(cell) for cell in self.prices if not self.is_any(cell))

    def is_any(self, cell: Cell) -> bool:
        """Whether a cell only repeats, for one value, an `any` price that is stored under None."""
        return any(
            value is not None and (*cell[:place], None, *cell[place + 1 :]) in self.prices
            for place, value in enumerate(cell)
        )

    def in_words(self, cell: Cell) -> str:
        """Describe a cell of the table."""
        named = zip(self.dimensions, cell, strict=True)
        return " ".join(option_in_words(name, value) for name, value in named) or self.family

    def to_usd(self, amount: Decimal, at: datetime) -> Decimal | None:
        """Return an amount in US dollars at the conversion of an instant; None if none is known."""
        if self.unit == USD:
            return amount
        for conversion in self.conversions:
            if conversion.is_valid_at(at):
                return conversion.to_usd(amount)
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rate) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[str, str]:
        # Comparing whole tables would be slow; equal digests mean equal books.
        return self.book_digest, self.id


@dataclass(frozen=True, slots=True)
class Offer:
    """A model's id for an action, the dated rate that prices it, and what the id itself decides.

    `adjusts` says that a clip may have to be changed before its price is looked up. `refuses` names
    the options that the book says nothing about: a clip that asks for one has no price.
    """

    rate: Rate
    fixed: Options
    adjusts: bool
    refuses: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class PriceBook(BookEntry):
    """A book with the offers of every model and action. `digest` pins its whole content."""

    digest: str
    offers: Mapping[tuple[str, str], tuple[Offer, ...]]

    def offer_for(self, model: str, action: str, at: datetime) -> Offer:
        """Return the one offer for a model and action at an instant; else NoPriceError."""
        # At most one holds: the builder refuses overlaps.
        for offer in self.offers.get((model, action), ()):
            if offer.rate.is_valid_at(at):
                return offer
        raise self._no_rate(model, action, at)

    def actions_of(self, model: str) -> tuple[str, ...]:
        """Return the actions that a model has prices for, in a fixed order."""
        return tuple(action for action in ACTIONS if (model, action) in self.offers)

    @property
    def models(self) -> tuple[str, ...]:
        """Every priced model id, sorted."""
        return tuple(sorted({model for model, _ in self.offers}))

    def _no_rate(self, model: str, action: str, at: datetime) -> NoPriceError:
        dated = self.offers.get((model, action))
        if dated:
            known = [offer.rate.dates for offer in dated]
            return NoPriceError(f"{self.provider} {model} on {at.date()}", known=known)
        actions = self.actions_of(model)
        if actions:
            # Imported only when a price is missing: gateways' bodies are not part of a book.
            from kling_pricing.unpriced import action_hint

            hint = action_hint(self.provider, model, action)
            return NoPriceError(f"{self.provider} {model} {action}", known=actions, hint=hint)
        return NoPriceError(f"{self.provider} {model}", known=self.models)
