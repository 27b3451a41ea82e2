"""Own prices, read from a JSON file: those of a contract, or those that are not published.

    {"runapi": [{"model": "kling-v3-omni-edit", "action": "edit_video",
                 "keys": ["output_resolution"], "prices": {"720p": "0.3", "1080p": "0.4"}}]}

`keys` are fields of the provider's bodies. A price is found by their values, joined with a space,
and is per second in the provider's unit. Without keys, it is found under the empty text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kling_ledger.errors import ConfigError
from kling_ledger.sandbox.registry import GATEWAYS
from kling_ledger.sandbox.tariff import Price, Sold
from kling_pricing.errors import AmountError
from kling_pricing.money import Money

Prices = Mapping[str, Mapping[Sold, Price]]


def read_own_prices(text: str) -> Prices:
    """Return the prices in a file by provider, for `SandboxSettings.prices`; else ConfigError."""
    try:
        # Numbers stay text as written: a float would not be exactly that amount.
        content = json.loads(text, parse_float=str, parse_int=str)
        return {name: dict(_sold(name, row) for row in rows) for name, rows in content.items()}
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, AmountError) as error:
        raise ConfigError(
            f"the sandbox's prices cannot be read: {type(error).__name__} {error}",
            hint="see the example in kling_ledger/sandbox/own_prices.py",
        ) from None


def _sold(provider: str, row: dict[str, Any]) -> tuple[Sold, Price]:
    unit, keys = GATEWAYS[provider].tariff.unit, tuple(map(str, row.get("keys", ())))
    cells = {}
    for words, amount in row["prices"].items():
        cell = tuple(words.split())
        if len(cell) != len(keys):
            raise ValueError(f"{words!r} does not name a word for each of {list(keys)}")
        cells[cell] = Money(Decimal(amount), unit).amount
    return (row["model"], row["action"]), Price(cells, keys)
