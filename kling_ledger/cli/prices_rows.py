"""The rows of `kling-ledger prices list` and `show`: what a price is, and where it was read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kling_pricing.cells import cells_of
from kling_pricing.money import plain
from kling_pricing.own_rates import set_by

if TYPE_CHECKING:
    from datetime import datetime

    from kling_pricing.book import Cell, Offer, PriceBook, Rate
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
    """Yield a row for each price of an offer, with its source and its dates."""
    charges = library.book(offer.rate.provider).charges.by_kind
    charged = {f"charged_on_{kind}": charge.charged for kind, charge in charges.items()}
    for cell in cells_of(offer, is_collapsed=True):
        row = _cell_row(offer.rate, cell, library, now)
        yield {"model": model, "action": action, **row, **charged}


def _listed_row(model: str, action: str, offer: Offer) -> dict[str, Any]:
    rate = offer.rate
    cells = cells_of(offer)
    sold = [rate.prices[cell] for cell in cells]
    return {
        "provider": rate.provider,
        "model": model,
        "action": action,
        "family": rate.family,
        "per": _per(rate),
        "low": plain(min(sold)) if sold else None,
        "high": plain(max(sold)) if sold else None,
        "unit": rate.unit,
        "evidence": ", ".join(dict.fromkeys(_evidence(rate, cell) for cell in cells))
        or rate.source.evidence,
        "checked": rate.source.checked.isoformat(),
    }


def _cell_row(rate: Rate, cell: Cell, library: Library, now: datetime) -> dict[str, Any]:
    price = rate.prices[cell]
    usd = rate.to_usd(price, now if rate.is_valid_at(now) else rate.valid_from)
    until = rate.valid_until
    return {
        "clip": rate.in_words(cell),
        "price": f"{plain(price)} {rate.unit}",
        "per": _per(rate),
        "usd": None if usd is None else plain(usd),
        "from": rate.valid_from.date().isoformat(),
        "until": None if until is None else until.date().isoformat(),
        "rate": rate.id,
        "evidence": _evidence(rate, cell),
        "checked": rate.source.checked.isoformat(),
        "source": rate.source.url,
        "note": rate.note or rate.source.note,
        "set_by": list(set_by(rate, library, [cell])),
    }


def _evidence(rate: Rate, cell: Cell) -> str:
    return "user" if cell in rate.user_cells else rate.source.evidence


def _per(rate: Rate) -> str:
    return f"{rate.block_s} seconds" if rate.per == "block" else rate.per
