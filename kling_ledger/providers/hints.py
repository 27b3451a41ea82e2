"""The next step after a refusal, by the codes that all providers share with HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from kling_ledger.providers.facts import ProviderFacts


def hint_for(facts: ProviderFacts, code: int | None) -> str | None:
    """Return what a person can do about a code, None where nothing is known."""
    hints: Mapping[int | None, str] = {
        401: f"check {facts.key_variable}",
        402: f"top up the account at {facts.name}: this is its balance, not the wallet's",
    }
    return hints.get(code)
