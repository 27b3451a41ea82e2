"""What is known of Crun before any request: its address, key, unit and rules.

Source: https://github.com/CrunTeam/crun-agent-skills, checked 2026-11-20.
"""

from __future__ import annotations

from typing import Final

from kling_ledger.providers.facts import CallbackRule, ProviderFacts

FACTS: Final = ProviderFacts(
    name="crun",
    unit="crun-credit",
    base_url="https://api.crun.ai",
    key_variable="CRUN_API_KEY",
    tells_cost=True,
    tells_balance=True,
    estimates=True,
    takes_key=False,
    links_live_s=None,
    callback=CallbackRule(("https", "http")),
    # Undocumented: we assume that a finished task's `credits` is its whole cost, and so that a
    # failure without credits was free.
    frees_failures=True,
)
