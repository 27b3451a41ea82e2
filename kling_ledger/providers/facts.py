"""What is known of each provider before any request: its address, key, unit and rules.

Sources: https://github.com/runapi-ai/core-sdk, https://github.com/CrunTeam/crun-agent-skills,
https://docs.evolink.ai/en/api-manual/ and https://docs.uniall.ai/models/video/kling, checked
2026-11-20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CallbackRule:
    """Which `callback_url` a provider calls: its schemes, its longest length, and the hosts."""

    schemes: tuple[str, ...]
    longest: int | None = None
    is_public: bool = False


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """What a caller may want to know of a provider without connecting to it.

    `unit` is the unit of its balance and its settled costs. `tells_cost` says that a finished task
    reports its settled cost; `tells_balance` and `estimates` that balance and estimates can be
    requested, free of charge. `takes_key` says that an `Idempotency-Key` makes a submission
    repeatable. `links_live_s` is how long result links are promised to work, None if no promise is
    known.
    `callback` is None if the provider documents no callbacks. `frees_failures` says that a failed
    job is free unless its answer names a cost, `charges_what_it_holds` that a completed job costs
    what the provider says it reserved.
    """

    name: str
    unit: str
    base_url: str
    key_variable: str
    tells_cost: bool
    tells_balance: bool
    estimates: bool
    takes_key: bool
    links_live_s: int | None
    callback: CallbackRule | None
    frees_failures: bool
    charges_what_it_holds: bool = False

    def hint_for(self, code: int | None) -> str | None:
        """Return what a person can do about a refusal, by the codes that all share with HTTP."""
        if code == 401:
            return f"check {self.key_variable}"
        if code == 402:
            return f"top up the account at {self.name}: this is its balance, not the wallet's"
        return None


DAY_S: Final = 86_400
