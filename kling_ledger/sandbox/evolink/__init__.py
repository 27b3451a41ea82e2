"""EvoLink: its contract and its tariff; dialect.py is its HTTP."""

from __future__ import annotations

from typing import Final

from kling_ledger.sandbox.evolink.contract import read
from kling_ledger.sandbox.evolink.tariff import TARIFF
from kling_ledger.sandbox.gateway import Gateway

GATEWAY: Final = Gateway(
    name="evolink",
    tariff=TARIFF,
    read=read,
    # Links are valid for 24 hours. Source: https://evolink.ai/zh/kling-3, checked 2026-11-20.
    link_s=86_400,
    calls_again=True,
)
