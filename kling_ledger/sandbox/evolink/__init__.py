"""EvoLink: its contract, its tariff and its dialect."""

from __future__ import annotations

from typing import Final

from kling_ledger.sandbox.evolink.contract import read
from kling_ledger.sandbox.evolink.dialect import EvoLink, new_task_id
from kling_ledger.sandbox.evolink.tariff import TARIFF
from kling_ledger.sandbox.gateway import Gateway

GATEWAY: Final = Gateway(
    name="evolink",
    tariff=TARIFF,
    read=read,
    new_task_id=new_task_id,
    dialect=EvoLink,
    # Links are valid for 24 hours. Source: https://evolink.ai/zh/kling-3, checked 2026-11-20.
    link_s=86_400,
    calls_again=True,
)
