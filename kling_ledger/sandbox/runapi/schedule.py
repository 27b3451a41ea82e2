"""The bodies of RunAPI's price endpoints, from its tariff: the public schedule and the quote.

RunAPI publishes the shape of a schedule's `billing_config` but, for video, neither the name of
its unit nor of its strategy: `per_second` and `matrix` are the sandbox's words. `unit_price_cents`
is a fallback, most often the highest price and sometimes another; here it is always the highest.
Source: https://github.com/runapi-ai/mcp data/pricing.json, 2026-07-23, and the package
runapi-core 0.10.1, checked 2026-11-20.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from kling_ledger.sandbox.bodies import Asked
from kling_ledger.sandbox.tariff import Cells, Price, Tariff
from kling_pricing.money import Money

_MEASURED: Final = {"duration_source": {"kind": "response_body", "path": "videos[0].url"}}
_BY_THE_FILE: Final = frozenset({"motion_control"})
"""Billed by the seconds of the produced file."""


def schedules(tariff: Tariff, *, filters: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return one row per price that matches the filters given.

    `service`, `action` and `model` filter; anything else is ignored.
    """
    asked = {name: filters[name] for name in ("service", "action", "model") if name in filters}
    rows = (_row(*sold, price) for sold, price in sorted(tariff.prices.items()))
    return [row for row in rows if asked.items() <= row.items()]


def schedules_tag(rows: list[dict[str, Any]]) -> str:
    """Return the ETag of rows: weak, because `as_of` in the reply changes while they do not."""
    return f'W/"{hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]}"'


def price_quote(asked: Asked, amount: Money, at: datetime) -> dict[str, Any]:
    """Return a price in RunAPI's form: what would be reserved, in cents."""
    return {
        "service": "kling",
        "action": asked.action,
        "model": asked.model,
        "pricing_status": "available",
        "currency": "USD",
        "reservation_amount_cents": cents(amount.amount),
        "estimate_basis": "exact",
        "as_of": instant(at),
    }


def cents(usd: Decimal) -> int | float:
    """Return US dollars as a JSON number of cents: `20`, or `13.5` if they are not whole."""
    amount = usd * 100
    return int(amount) if amount == int(amount) else float(amount)


def instant(at: datetime) -> str:
    """Write an aware UTC time in RunAPI's form: `2026-07-23T00:00:00.000000Z`."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _row(model: str, action: str, price: Price) -> dict[str, Any]:
    return {
        "service": "kling",
        "action": action,
        "model": model,
        "pricing_status": "available",
        "catalog_status": "active",
        "currency": "USD",
        "billing_unit": "per_second",
        "billing_strategy": "matrix" if price.keys else "flat",
        "unit_price_cents": cents(max(price.cells.values())),
        "billing_config": _billing_config(price) | (_MEASURED if action in _BY_THE_FILE else {}),
    }


def _billing_config(price: Price) -> dict[str, Any]:
    """Return the table in one of RunAPI's two forms: one key with overrides, or a matrix."""
    if not price.keys:
        return {}
    table = _nested(price.cells)
    if len(price.keys) == 1:
        return {"key": price.keys[0], "overrides": table}
    return {"keys": list(price.keys), "matrix": table}


def _nested(cells: Cells) -> dict[str, Any]:
    """Return the prices in cents as nested objects, one level per key."""
    table: dict[str, Any] = {}
    for (*outer, innermost), amount in cells.items():
        row = table
        for word in outer:
            row = row.setdefault(word, {})
        row[innermost] = cents(amount)
    return table
