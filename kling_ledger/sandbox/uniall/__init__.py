"""UniAll: its contract and its tariff; dialect.py is its HTTP."""

from __future__ import annotations

from typing import Final

from kling_ledger.sandbox.gateway import Gateway
from kling_ledger.sandbox.uniall.contract import read
from kling_ledger.sandbox.uniall.tariff import TARIFF

GATEWAY: Final = Gateway(
    name="uniall",
    tariff=TARIFF,
    read=read,
    key_of=lambda key: f"sk-{key}",
    # Callbacks are described in a part of the documentation that could not be read; no field for
    # their address is known. Source: https://www.uniall.ai/v1/openapi.json, checked 2026-11-20.
    names_callback=False,
)
