"""The rows of `kling-ledger prices list` and `show`: each price and its source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kling_pricing.billing import all_in
from kling_pricing.book_values import day_or_instant
from kling_pricing.cells import cells_of, clip_in
from kling_pricing.money import plain
from kling_pricing.own_rates import set_by

if TYPE_CHECKING:
    from datetime import datetime

    from kling_pricing.book import Cell, Offer, PriceBook, Rate
    from kling_pricing.clip import Clip
    from kling_pricing.library import Library


def listed_rows(book: PriceBook, at: datetime) -> Iterator[dict[str, Any]]:
    """Yield a row for each model that has a price at `at`."""
    for (model, action), dated in sorted(book.offers.items()):
        for offer in dated:
            if offer.rate.is_valid_at(at):
                yield _listed_row(model, action, offer)


def shown_rows(
    model: str, action: str, offer: Offer, library: Library, now: datetime
) -> Iterator[dict[str, Any]]:
    """Yield a row for each price of an offer, with its source and its dates.

    A price is the cost of one more second, clip or block, fees included; its parts are listed
    beside it.
    """
    charges = library.book(offer.rate.provider).charges.by_kind
    charged = {f"charged_on_{kind}": charge.charged for kind, charge in charges.items()}
    for cell in cells_of(offer, is_collapsed=True):
        clip = clip_in(offer, model, action, cell)
        row = _cell_row(offer.rate, cell, clip, library, now)
        yield {"model": model, "action": action, **row, **charged}


def _listed_row(model: str, action: str, offer: Offer) -> dict[str, Any]:
    rate = offer.rate
    cells = cells_of(offer)
    sold = [all_in(rate, clip_in(offer, model, action, cell), rate.prices[cell]) for cell in cells]
    return {
        "provider": rate.provider,
        "model": model,
        "action": action,
        "family": rate.family,
        "per": _per(rate),
        "low": plain(min(sold)) if sold else None,
        "high": plain(max(sold)) if sold else None,
        "unit": rate.unit,
        "evidence": ", ".join(dict.fromkeys(rate.evidence(cell) for cell in cells))
        or rate.source.evidence,
        "checked": rate.source.checked.isoformat(),
    }


def _cell_row(
    rate: Rate, cell: Cell, clip: Clip, library: Library, now: datetime
) -> dict[str, Any]:
    price = all_in(rate, clip, rate.prices[cell])
    usd = rate.to_usd(price, now if rate.is_valid_at(now) else rate.valid_from)
    until = rate.valid_until
    return {
        "clip": rate.in_words(cell),
        "price": f"{plain(price)} {rate.unit}",
        "per": _per(rate),
        "parts": list(_parts(rate, cell, clip)),
        "usd": None if usd is None else plain(usd),
        "from": day_or_instant(rate.valid_from),
        "until": None if until is None else day_or_instant(until),
        "rate": rate.id,
        "evidence": rate.evidence(cell),
        "checked": rate.source.checked.isoformat(),
        "source": rate.source.url,
        "note": rate.note or rate.source.note,
        "set_by": list(set_by(rate, library, [cell])),
    }


def _parts(rate: Rate, cell: Cell, clip: Clip) -> Iterator[str]:
    """Return the parts of a price, if fees are added to the listed price."""
    fees = [fee for fee in rate.fees if clip.meets(fee.when)]
    if fees:
        yield f"{plain(rate.prices[cell])} {rate.unit} per {_per(rate)}"
    for fee in fees:
        if fee.multiply is not None:
            yield f"times {plain(fee.multiply)}: {fee.label}"
        elif fee.amount is not None:
            yield f"plus {plain(fee.amount)} {rate.unit} per {fee.per or 'clip'}: {fee.label}"


def _per(rate: Rate) -> str:
    return f"{rate.block_s} seconds" if rate.per == "block" else rate.per
