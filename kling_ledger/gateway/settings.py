"""Settings: where a gateway forwards requests, with which keys, and who pays."""

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
"""The most bytes of a submission that are read: a body with four inline pictures is refused."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A provider to forward to: its address, and the gateway's own key.

    Without a key, callers' keys are passed through: they are kept in memory while their jobs run,
    and never stored.
    """

    provider: str
    address: str
    key: Secret | None = None


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The settings of one gateway.

    `upstreams` is by provider. `wallet` pays for callers without a token; with None every caller
    needs one. `project`, `labels`, `ceiling` and `approve_above` apply to callers without a token
    too. `public_url` is the address where providers can call this gateway, None if they cannot:
    then a job's `callback_url` stays the client's own. `hosts` are further host names for the live
    page. `page_secret` is the password of the live page and the metrics; without one they are
    served on loopback only. `polls_per_s` is the poll rate per provider for jobs that no client
    polls.
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
