"""What a budget buys: how many of a clip, the longest one, and the best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Any, Final

from kling_pricing.book import Offer, PriceBook, Rate
from kling_pricing.clip import Clip
from kling_pricing.errors import AmountError, NoPriceError, PricingError
from kling_pricing.library import Library, at_hand
from kling_pricing.money import USD, Money
from kling_pricing.offers import (
    Unable,
    books_of,
    offered_by,
    quoted_of,
    unknown_family,
    without_offer,
)
from kling_pricing.quote import Quote
from kling_pricing.vocabulary import RESOLUTIONS

_LONGEST_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Affordable:
    """What a budget buys at one provider; `cost` is the cheapest quote of the clip as asked.

    Each is None if the clip says too little or nothing fits: `longest` is the longest single clip,
    `best` the best resolution and sound at the requested length. `unable` says which models cannot
    make the clip as asked, and why.
    """

    provider: str
    cost: Quote | None
    clips: int | None
    longest: Quote | None
    best: Quote | None
    unable: tuple[Unable, ...]


@dataclass(frozen=True, slots=True)
class Affordability:
    """What a budget buys everywhere, most clips first, and which models cannot make it, and why."""

    options: tuple[Affordable, ...]
    unable: tuple[Unable, ...]


def afford(
    budget: Money,
    wanted: Clip,
    *,
    family: str,
    at: datetime,
    library: Library | None = None,
    provider: str | None = None,
) -> Affordability:
    """Return what a budget buys at every provider that offers a family, or at one provider.

    The budget is in US dollars or in the provider's own unit. Without a library, all loaded books
    are used. Intermediate amounts are not rounded: a budget equal to a clip's cost buys it. Raises
    AmountError for a budget that is not above zero and NoPriceError if no provider offers the
    family.
    """
    if budget.amount <= 0:
        raise AmountError("budget", got=str(budget), allowed="an amount above 0")
    library = library or at_hand()
    options: list[Affordable] = []
    unable: list[Unable] = []
    for book in books_of(library, provider):
        offered = tuple(offered_by(book, wanted.action, family, at))
        if offered:
            answer, refusals = _at_provider(_Purse(budget, at), book, wanted, offered)
            options.extend([answer] if answer else [])
            unable.extend(() if answer else refusals)
        else:
            unable.extend(without_offer(book, wanted.action, family, at))
    if not options and not unable:
        raise unknown_family(family, wanted.action, at, library)
    return Affordability(tuple(sorted(options, key=_by_clips)), tuple(unable))


@dataclass(frozen=True, slots=True)
class _Purse:
    """A budget at an instant, for providers of any unit."""

    budget: Money
    at: datetime

    def in_unit_of(self, rate: Rate) -> Fraction:
        """Return the budget in a rate's unit, exactly; PricingError if it cannot be converted."""
        # A fraction, because the units that a dollar buys may have endless decimals.
        amount = Fraction(self.budget.amount)
        if self.budget.unit == rate.unit:
            return amount
        if self.budget.unit != USD:
            allowed = " or ".join(dict.fromkeys([USD, rate.unit]))
            raise AmountError("unit of the budget", got=self.budget.unit, allowed=allowed)
        for conversion in rate.conversions:
            if conversion.is_valid_at(self.at):
                return amount * Fraction(conversion.units_per_usd)
        raise NoPriceError(f"one {rate.unit} in {USD} on {self.at.date()}")

    def buys(self, quoted: Quote) -> int:
        """Return how many of a quoted clip the budget pays for."""
        cost = Fraction(quoted.amount.amount)
        # A provider that rounds down can make a clip free: then there is no largest number.
        return int(self.in_unit_of(quoted.rate) // cost) if cost else 0

    def holds(self, quoted: Quote) -> bool:
        """Whether one quoted clip fits."""
        return Fraction(quoted.amount.amount) <= self.in_unit_of(quoted.rate)


def _at_provider(
    purse: _Purse, book: PriceBook, wanted: Clip, offered: tuple[tuple[str, Offer], ...]
) -> tuple[Affordable | None, list[Unable]]:
    try:
        purse.in_unit_of(offered[0][1].rate)
    except PricingError as error:
        return None, [Unable(book.provider, model, error) for model, _ in offered]
    answers = [quoted_of(book, model, wanted, purse.at) for model, _ in offered]
    quotes = [answer for answer in answers if isinstance(answer, Quote)]
    refusals = [answer for answer in answers if isinstance(answer, Unable)]
    cost = min(quotes, key=_by_amount, default=None)
    longest = _longest(purse, book, wanted, offered)
    best = _best(purse, book, wanted, offered)
    if cost is None and longest is None and best is None:
        return None, refusals
    clips = None if cost is None else purse.buys(cost)
    return Affordable(book.provider, cost, clips, longest, best, tuple(refusals)), refusals


def _longest(
    purse: _Purse, book: PriceBook, wanted: Clip, offered: tuple[tuple[str, Offer], ...]
) -> Quote | None:
    """Return the longest single clip that fits, the cheaper of two that are equally long."""
    found = [
        quoted
        for model, offer in offered
        if (quoted := _longest_of(purse, book, wanted, model, offer)) is not None
    ]
    return min(found, key=lambda one: (-(one.clip.seconds or 0), *_by_amount(one)), default=None)


def _longest_of(
    purse: _Purse, book: PriceBook, wanted: Clip, model: str, offer: Offer
) -> Quote | None:
    # From the longest down, because prices need not rise with length: flat ones do not.
    for seconds in reversed(lengths(offer.rate)):
        answer = quoted_of(book, model, replace(wanted, seconds=seconds), purse.at)
        if isinstance(answer, Quote) and purse.holds(answer):
            return answer
    return None


def lengths(rate: Rate) -> list[int]:
    """Return the whole seconds that a request may ask for; empty if it cannot ask for a length."""
    if "seconds" in rate.dimensions:
        position = rate.dimensions.index("seconds")
        priced = {cell[position] for cell in rate.prices}
        return sorted(seconds for seconds in priced if isinstance(seconds, int))
    if rate.request is None or rate.billing.count in {"produced", "input"}:
        return []
    shortest, longest = rate.request.ends
    lengths = range(shortest, min(longest, _LONGEST_S) + 1)
    return [seconds for seconds in lengths if seconds in rate.request]


def _best(
    purse: _Purse, book: PriceBook, wanted: Clip, offered: tuple[tuple[str, Offer], ...]
) -> Quote | None:
    """Return the best picture and sound that fit; among equals the cheapest."""
    fitting = [
        answer
        for model, offer in offered
        for resolution, sound in product(_sold(offer, "resolution"), _sold(offer, "sound"))
        for answer in [
            quoted_of(book, model, replace(wanted, resolution=resolution, sound=sound), purse.at)
        ]
        if isinstance(answer, Quote) and purse.holds(answer)
    ]
    return min(fitting, key=_by_quality, default=None)


def _sold(offer: Offer, name: str) -> list[Any]:
    """Return the values of an option that an offer is known to sell; `[None]` if none is known."""
    rate = offer.rate
    # If the model's id fixes the option, that is the only value sold.
    if name in offer.fixed:
        return [offer.fixed[name]]
    if name not in rate.dimensions:
        return [None]
    position = rate.dimensions.index(name)
    values = dict.fromkeys(cell[position] for cell in rate.prices)
    if name == "resolution" and None in values:
        # The price is the same for any size, so the book does not say which sizes exist.
        return [None]
    return [value for value in values if value is not None]


def _by_amount(quoted: Quote) -> tuple[Decimal, str]:
    return quoted.amount.amount, quoted.clip.model


def _by_quality(quoted: Quote) -> tuple[int, bool, Decimal, str]:
    made = quoted.priced
    size = RESOLUTIONS.index(made.resolution) if made.resolution else -1
    return -size, not made.sound, *_by_amount(quoted)


def _by_clips(option: Affordable) -> tuple[int, str]:
    return -(-1 if option.clips is None else option.clips), option.provider
