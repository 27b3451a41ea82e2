"""The priced cells of a book, each with the options a clip needs to get its price."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from kling_pricing.adjusting import adjusted
from kling_pricing.book import Cell, Offer, PriceBook
from kling_pricing.book_values import Options
from kling_pricing.clip import Clip
from kling_pricing.vocabulary import OptionValue, option_in_words


class PricedCell(NamedTuple):
    """One price of a book with the options a clip needs to get it."""

    model: str
    action: str
    options: Options
    offer: Offer
    price: Decimal

    @property
    def subject(self) -> str:
        """Describe what is priced: `kling-3.0 text_to_video 1080p with sound`."""
        return subject_of(self.model, self.action, self.options)


def priced_cells(book: PriceBook, at: datetime) -> Iterator[PricedCell]:
    """Yield every price of a book that holds at an instant, once per kind of clip that has it.

    An option that does not change the price appears with each of its values.
    """
    for (model, action), offers in sorted(book.offers.items()):
        for offer in offers:
            if offer.rate.is_valid_at(at):
                for cell, price in offer.rate.prices.items():
                    options = _options(offer, cell)
                    if options is not None:
                        yield PricedCell(model, action, options, offer, price)


def cells_of(offer: Offer, *, is_collapsed: bool = False) -> tuple[Cell, ...]:
    """Return the cells that an offer's model id leaves open.

    Collapsed, a price that is the same for every value of an option appears once, as `any`.
    """
    kept = [cell for cell in offer.rate.prices if _is_open(offer, cell)]
    if is_collapsed:
        return tuple(cell for cell in kept if not offer.rate.is_any(cell))
    return tuple(kept)


def clip_in(offer: Offer, model: str, action: str, cell: Cell) -> Clip:
    """Return a clip with the price of a cell, as its provider makes it; without a length."""
    named = zip(offer.rate.dimensions, cell, strict=True)
    given: dict[str, Any] = {name: value for name, value in named if value is not None}
    clip = Clip(offer.rate.provider, model, action, **{**given, **offer.fixed})
    return adjusted(clip, offer)[0]


def _is_open(offer: Offer, cell: Cell) -> bool:
    named = zip(offer.rate.dimensions, cell, strict=True)
    return all(value is None or offer.fixed.get(name, value) == value for name, value in named)


def _options(offer: Offer, cell: Cell) -> Options | None:
    """Return the options of a clip in a cell; None if the model's id rules that cell out."""
    named: dict[str, OptionValue] = dict(zip(offer.rate.dimensions, cell, strict=True))
    # None only repeats `any`: its values are there as cells of their own.
    if None in cell or any(named.get(name, value) != value for name, value in offer.fixed.items()):
        return None
    return {**named, **offer.fixed}


def sample_clip(book: PriceBook, cell: PricedCell) -> Clip | None:
    """Return a clip with a cell's price; None if only the run decides its length."""
    rate = cell.offer.rate
    # Nothing in a request sets its length, so no estimate can be requested.
    if rate.billing.count in {"produced", "input"}:
        return None
    lengths = rate.request
    seconds = None if lengths is None else lengths.ends[0] if 5 not in lengths else 5
    given: dict[str, Any] = {"seconds": seconds, **cell.options}
    if cell.action == "image_to_video":
        given.setdefault("frames", "first")
    if rate.billing.count == "input_and_output":
        given["input_seconds"] = seconds if rate.input is None else rate.input.ends[0]
    return Clip(book.provider, cell.model, cell.action, **given)


def subject_of(model: str, action: str, options: Options) -> str:
    """Describe what is priced."""
    return " ".join([model, action, *(option_in_words(*option) for option in options.items())])
