"""PriceBook and Rate: every dated price of one provider, each with its source.

A book is data. A price is changed by closing its dated rate and adding another, so that every old
quote can be recomputed. What a file may say is in book_entries.py; here is what follows from it:
where a price stands, and which rate holds when.
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
"""The values of a rate's dimensions, in their order: where a price stands in its table."""


# Shown as the entry that it is of: a whole book would hang on every rate.
@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Rate(RateEntry):
    """A rate in its book: what one `per` costs in the unit of the book, cell by cell.

    `overrides` says which keys a user's file has set, `user_cells` which prices, in a sentence;
    `has_user_rules` that one of the keys changes what every price comes to.
    `plain_lengths` are those whose amount is simply price times length, no rule involved: the
    common case, and a quick one. `cell_of` reads a clip's place in the table.
    Two rates are equal if they are the same entry of the same book, by its digest.
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
        """The provider, as commands call it."""
        return self.book.provider

    @property
    def provider_name(self) -> str:
        """The provider, as people call it."""
        return self.book.name

    @property
    def unit(self) -> str:
        """What every price counts."""
        return self.book.unit

    @property
    def source(self) -> Source:
        """Where the rate was read."""
        return self.book.sources[self.source_name]

    def evidence(self, cell: Cell) -> str:
        """How the price of a cell is known: `user` where a user's own file has set it, or a rule.

        `disputed` where the seller has two figures for it, otherwise as its source is.
        """
        if cell in self.user_cells or self.has_user_rules:
            return "user"
        return "disputed" if self.disputed is not None else self.source.evidence

    @property
    def conversions(self) -> tuple[Conversion, ...]:
        """What the unit is worth, dated."""
        return self.book.conversions

    @property
    def shortest(self) -> int:
        """The fewest of what a price is per that a clip is ever billed for."""
        if self.per != "second":
            return 1
        asked = self.request.ends[0] if self.request is not None else 1
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

    def to_usd(self, amount: Decimal, at: datetime) -> Decimal | None:
        """Return an amount in US dollars at that day's rate; None where no conversion is known."""
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
        # Comparing whole tables would be slow, and the digest stands for every one of them.
        return self.book_digest, self.id


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


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class PriceBook(BookEntry):
    """A book with the offers of every model and action. `digest` pins its whole content."""

    digest: str
    offers: Mapping[tuple[str, str], tuple[Offer, ...]]

    def offer_for(self, model: str, action: str, at: datetime) -> Offer:
        """Return the one offer for a model and action at an instant; else NoPriceError."""
        # At most one holds: the builder has refused overlaps.
        for offer in self.offers.get((model, action), ()):
            if offer.rate.is_valid_at(at):
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
            known = [offer.rate.dates for offer in dated]
            return NoPriceError(f"{self.provider} {model} on {at.date()}", known=known)
        actions = self.actions_of(model)
        if actions:
            # Only where a price is missing: what a gateway's bodies can say is no part of a book.
            from kling_pricing.unpriced import action_hint

            hint = action_hint(self.provider, model, action)
            return NoPriceError(f"{self.provider} {model} {action}", known=actions, hint=hint)
        return NoPriceError(f"{self.provider} {model}", known=self.models)
