"""Settings: where a gateway sends on what it is sent, with whose keys, and who pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kling_ledger.jobs.follow import POLLS_PER_S
from kling_ledger.providers.http import Secret
from kling_pricing.gateways import GATEWAYS
from kling_pricing.library import Library, at_hand
from kling_pricing.money import Money

LARGEST_BODY: Final = 1024 * 1024
"""The most bytes of a submission that are read: a body with four pictures inline is refused."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A provider that is forwarded to: where it is, and the gateway's own key there.

    Without a key, what callers bring is passed through: it is held in memory while their jobs run,
    and written nowhere.
    """

    provider: str
    address: str
    key: Secret | None = None


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What one gateway does.

    `upstreams` is by provider. `wallet` pays for callers without a token: with None there is none
    for them, and everybody needs one. `project`, `labels`, `ceiling` and `approve_above` are of
    callers without a token too.
    `public_url` is where providers can call this gateway, None where none can: then a job's
    `callback_url` stays the client's own. `hosts` are the names under which browsers may ask for
    the live page, beside the address that is listened on. `page_secret` is the password of the live
    page and the metrics; without one they are there on loopback alone. `polls_per_s` is how often
    one provider is asked for jobs that no client asks for.
    """

    upstreams: Mapping[str, Upstream]
    wallet: str | None = None
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ceiling: Money | None = None
    approve_above: Money | None = None
    asks_estimate: bool = True
    public_url: str | None = None
    hosts: tuple[str, ...] = ()
    page_secret: Secret | None = None
    library: Library = field(default_factory=at_hand)
    poll_every_s: float = 2.0
    polls_per_s: float = POLLS_PER_S
    longest_s: float = 900.0
    timeout_s: float = 60.0


PROVIDERS: Final = tuple(GATEWAYS)
"""The providers whose dialect the gateway speaks, each below its own name."""
