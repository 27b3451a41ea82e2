"""Settings: the wallet and limits of an MCP server, and functions supplied by its caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kling_ledger.agents.mcp.told import HintFor
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Reservation
from kling_pricing.library import Library, at_hand
from kling_pricing.money import Money


class Connect(Protocol):
    """Connects to a provider: the meter that jobs run through. Raises NoKeyError without a key."""

    def __call__(self, provider: str, address: str | None = None) -> Meter:
        """Return a new meter; `address` is where a job was submitted before."""


Spent = Callable[[Sequence[str], Sequence[str], str | None, str | None], dict[str, Any]]
"""Returns what was spent: grouped by which words, filtered how, since when and until when."""


@dataclass(frozen=True, slots=True)
class McpSettings:
    """The settings of one MCP server.

    `wallet` pays for every job; `ceiling` is the most that one may cost, and above `approve_above`
    a person must approve it. `provider` is the default provider; `project` and `labels` are the
    defaults of jobs, and clients cannot remove these labels. `token` names a token whose limits
    also apply, and `run` the run that its jobs count in.

    The rest are functions supplied by the caller: how to reach providers, how to print a
    reservation, hints for errors, and what was spent.
    """

    wallet: str
    connect: Connect
    describe: Callable[[Reservation], dict[str, Any]]
    hint_for: HintFor
    spent: Spent
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ceiling: Money | None = None
    approve_above: Money | None = None
    provider: str | None = None
    library: Library = field(default_factory=at_hand)
    token: str | None = None
    run: str | None = None

    @property
    def asked_by(self) -> str:
        """Who asks a person for approval."""
        return "mcp" if self.token is None else f"mcp {self.token}"
