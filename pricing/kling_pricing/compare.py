"""One clip at every provider, cheapest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from kling_pricing.clip import Clip
from kling_pricing.library import Library, at_hand
from kling_pricing.offers import (
    Unable,
    books_of,
    offered_by,
    quoted_of,
    unknown_family,
    wanted_clip,
    without_offer,
)
from kling_pricing.quote import Quote

__all__ = ["Comparison", "Unable", "compare", "wanted_clip"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same clip everywhere: quotes, cheapest in US dollars first, and who cannot make it.

    `unable` says why. Quotes in a unit without a known conversion come last: their `usd` is None.
    """

    offers: tuple[Quote, ...]
    unable: tuple[Unable, ...]


def compare(
    wanted: Clip, *, family: str, at: datetime, library: Library | None = None
) -> Comparison:
    """Price one clip at every provider that offers a family, by the rates of an instant.

    Without a library, all loaded books are used. The clip's own provider and model are ignored.
    Every model id whose fixed options fit is quoted; a model of the family without the action is
    listed as unable. Raises NoPriceError if no provider offers the family.
    """
    library = library or at_hand()
    offers: list[Quote] = []
    unable: list[Unable] = []
    for book in books_of(library, None):
        offered = [model for model, _ in offered_by(book, wanted.action, family, at)]
        for model in offered:
            answer = quoted_of(book, model, wanted, at)
            (offers if isinstance(answer, Quote) else unable).append(answer)  # type: ignore[arg-type]
        if not offered:
            unable.extend(without_offer(book, wanted.action, family, at))
    if not offers and not unable:
        raise unknown_family(family, wanted.action, at, library)
    return Comparison(tuple(sorted(offers, key=_by_usd)), tuple(unable))


def _by_usd(quoted: Quote) -> tuple[bool, Decimal, str, str]:
    usd = quoted.usd
    amount = Decimal(0) if usd is None else usd.amount
    return usd is None, amount, quoted.clip.provider, quoted.clip.model
