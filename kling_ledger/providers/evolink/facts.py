"""What is known of EvoLink before any request: its address, key, unit and rules.

Source: https://docs.evolink.ai/en/api-manual/, checked 2026-11-20.
"""

from __future__ import annotations

from typing import Final

from kling_ledger.providers.facts import DAY_S, CallbackRule, ProviderFacts

FACTS: Final = ProviderFacts(
    name="evolink",
    unit="evolink-credit",
    base_url="https://api.evolink.ai",
    key_variable="EVOLINK_API_KEY",
    tells_cost=False,
    tells_balance=True,
    estimates=False,
    takes_key=False,
    links_live_s=DAY_S,
    callback=CallbackRule(("https",), longest=2048, is_public=True),
    # A refund is documented for a failed custom element; we assume that a clip is refunded too. Its
    # callbacks of failures come "after billing is confirmed".
    frees_failures=True,
    # Its skill file (EvoLinkAI/evolink-media-mcp) says that credits_reserved is what was charged.
    charges_what_it_holds=True,
)
