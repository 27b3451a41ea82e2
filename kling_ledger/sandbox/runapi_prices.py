"""RunAPI's price endpoints, as bodies: the public schedule and the quote, from our own book.

RunAPI publishes the shape of a schedule's `billing_config` but, for video, neither the name of
its unit nor of its strategy: `per_second` and `matrix` are the sandbox's words.
Source: https://github.com/runapi-ai/mcp data/pricing.json, 2026-07-23, and the package
runapi-core 0.10.1, checked 2026-11-20.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from kling_pricing.book import Cell, Offer, PriceBook, Rate
from kling_pricing.cells import cells_of
from kling_pricing.clip import Clip
from kling_pricing.money import Money

_KEYS: Final[Mapping[str, str]] = {"sound": "enable_sound", "resolution": "output_resolution"}
"""RunAPI's name for each of our dimensions, in the order in which its matrix nests them."""


def schedules(book: PriceBook, at: datetime, *, filters: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of a book that hold at an instant and agree with the filters given.

    `service`, `action` and `model` filter; anything else is ignored.
    """
    asked = {name: filters[name] for name in ("service", "action", "model") if name in filters}
    return [row for row in _rows(book, at) if asked.items() <= row.items()]


def schedules_tag(rows: list[dict[str, Any]]) -> str:
    """Return the ETag of rows: weak, because the reply's `as_of` changes while they do not."""
    return f'W/"{hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]}"'


def price_quote(clip: Clip, amount: Money, at: datetime) -> dict[str, Any]:
    """Return a price as RunAPI writes it: what would be reserved, in cents."""
    return {
        "service": "kling",
        "action": clip.action,
        "model": clip.model,
        "pricing_status": "available",
        "currency": "USD",
        "reservation_amount_cents": cents(amount.amount),
        "estimate_basis": "exact",
        "as_of": instant(at),
    }


def cents(usd: Decimal) -> int | float:
    """Return US dollars as the JSON number of cents: `20`, or `13.5` where they are not whole."""
    amount = usd * 100
    return int(amount) if amount == int(amount) else float(amount)


def instant(at: datetime) -> str:
    """Write an aware UTC time as RunAPI does: `2026-07-23T00:00:00.000000Z`."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _rows(book: PriceBook, at: datetime) -> Iterator[dict[str, Any]]:
    for (model, action), dated in sorted(book.offers.items()):
        for offer in dated:
            if offer.rate.is_valid_at(at):
                yield _row(offer, model, action)


def _row(offer: Offer, model: str, action: str) -> dict[str, Any]:
    rate = offer.rate
    prices = {cell: rate.prices[cell] for cell in cells_of(offer) if None not in cell}
    return {
        "service": "kling",
        "action": action,
        "model": model,
        "pricing_status": "available",
        "catalog_status": "active",
        "currency": "USD",
        "billing_unit": "per_second",
        "billing_strategy": "matrix" if rate.dimensions else "flat",
        # RunAPI's own fallback for this table is its highest price.
        "unit_price_cents": cents(max(prices.values())),
        "billing_config": _billing_config(rate, prices),
    }


def _billing_config(rate: Rate, prices: Mapping[Cell, Decimal]) -> dict[str, Any]:
    """Return the table in one of RunAPI's two shapes: one key with overrides, or a matrix."""
    dimensions = [name for name in _KEYS if name in rate.dimensions]
    keys = [_KEYS[name] for name in dimensions]
    if not keys:
        return {}
    table = _nested(rate, prices, dimensions)
    return (
        {"key": keys[0], "overrides": table} if len(keys) == 1 else {"keys": keys, "matrix": table}
    )


def _nested(rate: Rate, prices: Mapping[Cell, Decimal], dimensions: list[str]) -> dict[str, Any]:
    """Return the prices in cents as objects in objects, one level for each dimension."""
    table: dict[str, Any] = {}
    for cell, price in prices.items():
        *outer, innermost = (_word(cell[rate.dimensions.index(name)]) for name in dimensions)
        row = table
        for word in outer:
            row = row.setdefault(word, {})
        row[innermost] = cents(price)
    return table


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
