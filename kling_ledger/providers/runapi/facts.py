"""What is known of RunAPI before any request: its address, key, unit and rules.

Source: https://github.com/runapi-ai/core-sdk, checked 2026-11-20.
"""

from __future__ import annotations

from typing import Final

from kling_ledger.providers.facts import DAY_S, CallbackRule, ProviderFacts
from kling_pricing.money import USD

FACTS: Final = ProviderFacts(
    name="runapi",
    unit=USD,
    base_url="https://runapi.ai",
    key_variable="RUNAPI_API_KEY",
    tells_cost=True,
    tells_balance=True,
    estimates=True,
    takes_key=True,
    links_live_s=7 * DAY_S,
    callback=CallbackRule(("https", "http")),
    # "A reservation is rolled back on failure or time-out": its own pages on Kling say so.
    frees_failures=True,
)
