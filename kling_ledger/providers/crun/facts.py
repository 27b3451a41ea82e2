"""What is known of Crun before anything is sent: its address, key, unit and rules.

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
    # Nothing is documented: that an ended task names in `credits` whatever it cost is, and from
    # there it is assumed that a failure without credits cost nothing.
    frees_failures=True,
)
