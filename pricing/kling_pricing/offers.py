"""Who offers a clip of a family, and what each charges for it or why it cannot make it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from kling_pricing.book import Offer, PriceBook
from kling_pricing.clip import Clip
from kling_pricing.errors import NoPriceError, PricingError
from kling_pricing.library import Library
from kling_pricing.quote import Quote, quote
from kling_pricing.vocabulary import ACTIONS

_ANY: Final = "any"


class RefusedLengthError(PricingError):
    """A length that has a price, being billed as the minimum, but that no request may ask for."""

    code = "refused_length"

    def __init__(self, quoted: Quote) -> None:
        rate, seconds = quoted.rate, quoted.priced.seconds
        super().__init__(
            f"a request for {seconds} s would be refused: {rate.provider_name} takes {rate.request}"
        )


@dataclass(frozen=True, slots=True)
class Unable:
    """A provider's model that cannot make the clip or has no known price, and why."""

    provider: str
    model: str
    error: PricingError

    @property
    def reason(self) -> str:
        """The error's own message and hint."""
        hint = self.error.hint
        return f"{self.error.message}; {hint}" if hint else self.error.message


def wanted_clip(**options: Any) -> Clip:
    """Return a clip not yet tied to a provider, for `compare` and `afford`."""
    return Clip(provider=_ANY, model=_ANY, **options)


def books_of(library: Library, provider: str | None) -> Iterator[PriceBook]:
    """Yield every loaded book, or that of one provider."""
    for name in library.providers if provider is None else (provider,):
        yield library.book(name)


def offered_by(
    book: PriceBook, action: str, family: str, at: datetime
) -> Iterator[tuple[str, Offer]]:
    """Yield the model ids of a family that offer an action, each with its offer at an instant."""
    for (model, does), offers in sorted(book.offers.items()):
        for offer in offers:
            if does == action and offer.rate.family == family and offer.rate.is_valid_at(at):
                yield model, offer


def without_offer(book: PriceBook, action: str, family: str, at: datetime) -> Iterator[Unable]:
    """Yield the model ids of a family without a rate for an action at a provider, and why."""
    for model in book.models:
        dated = [offer for does in ACTIONS for offer in book.offers.get((model, does), ())]
        if all(offer.rate.family != family for offer in dated):
            continue
        try:
            book.offer_for(model, action, at)
        except NoPriceError as error:
            yield Unable(book.provider, model, error)


def quoted_of(book: PriceBook, model: str, wanted: Clip, at: datetime) -> Quote | Unable:
    """Return a model's quote for the wanted clip, or why it cannot make it."""
    try:
        clip = replace(wanted, provider=book.provider, model=model)
        quoted = quote(clip, at=at, book=book)
        # Computing the amount can fail too, if a fee or a rule needs more than was given.
        _ = quoted.amount
    except PricingError as error:
        return Unable(book.provider, model, error)
    # A quote covers it with a warning, but no request can buy it: it must not lead a price list.
    seconds, request = quoted.priced.seconds, quoted.rate.request
    if seconds is not None and request is not None and seconds not in request:
        return Unable(book.provider, model, RefusedLengthError(quoted))
    return quoted


def unknown_family(family: str, action: str, at: datetime, library: Library) -> NoPriceError:
    """Return the error for a family without offers; it lists the known families."""
    known = {
        offer.rate.family
        for book in books_of(library, None)
        for offer in _of_action(book, action)
        if offer.rate.is_valid_at(at)
    }
    return NoPriceError(f"model family {family} {action} on {at.date()}", known=sorted(known))


def _of_action(book: PriceBook, action: str) -> Iterable[Offer]:
    return (
        offer for (_, does), offers in book.offers.items() if does == action for offer in offers
    )
