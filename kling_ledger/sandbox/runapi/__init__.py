"""RunAPI: its contract and its tariff; dialect.py is its HTTP."""

from __future__ import annotations

from typing import Final

from kling_ledger.sandbox.gateway import Gateway
from kling_ledger.sandbox.runapi.contract import read
from kling_ledger.sandbox.runapi.tariff import TARIFF

GATEWAY: Final = Gateway(
    name="runapi",
    tariff=TARIFF,
    read=read,
    # Generated files are kept for 7 days.
    # Source: https://github.com/runapi-ai/kling-sdk README, checked 2026-11-20.
    link_s=7 * 86_400,
    calls_again=True,
)
