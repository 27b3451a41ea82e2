"""What is known of UniAll before any request: its address, key, unit and rules.

Source: https://docs.uniall.ai/models/video/kling, checked 2026-11-20.
"""

from __future__ import annotations

from typing import Final

from kling_ledger.providers.facts import ProviderFacts
from kling_pricing.money import USD

FACTS: Final = ProviderFacts(
    name="uniall",
    unit=USD,
    base_url="https://api.uniall.ai",
    key_variable="UNIALL_API_KEY",
    tells_cost=False,
    tells_balance=False,
    estimates=False,
    takes_key=False,
    links_live_s=None,
    callback=None,
    # Whether a failure is charged is undocumented, and so is its cost.
    frees_failures=False,
)
