"""Run: one guarded program, its limits, and its result."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from kling_ledger.agents.child.environment import Keys
from kling_ledger.agents.child.guard import Gateways, guarded
from kling_ledger.agents.child.leftovers import Leftovers
from kling_ledger.agents.child.opened import Directory
from kling_ledger.agents.child.running import Child
from kling_ledger.errors import DatabaseError, NotFoundError
from kling_ledger.gateway.app import App
from kling_ledger.gateway.events import Exchange
from kling_ledger.gateway.settings import GatewaySettings
from kling_ledger.gateway.wires import Wires
from kling_ledger.ledger import Ledger, Reservation
from kling_ledger.ledger.scopes import Scope
from kling_pricing.errors import KlingError
from kling_pricing.money import Money

LABEL: Final = "run"
"""The label of a run's jobs, over which its budget counts."""

_PAGE: Final = 500


@dataclass(slots=True)
class Refusals:
    """The gateway's refusals during a run: their number, and the last reason."""

    count: int = 0
    last: KlingError | None = None

    def __call__(self, exchange: Exchange) -> None:
        """Take in one exchange."""
        if exchange.refusal is not None:
            self.count += 1
            self.last = exchange.refusal


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a run. Amounts are in the wallet's unit; `held` belongs to the `open` jobs."""

    jobs: int
    spent: Money
    held: Money
    open: int
    refusals: Refusals


@dataclass(frozen=True)
class Run:
    """One run of a program: its jobs have the label `run=NAME`.

    `settings` has the providers' keys, which the program does not get; its wallet pays.
    """

    ledger: Ledger
    settings: GatewaySettings
    name: str = field(default_factory=lambda: f"exec/{secrets.token_hex(6)}")
    refusals: Refusals = field(default_factory=Refusals)

    @property
    def label(self) -> str:
        """The label of the run's jobs, in the form that budgets and lists use."""
        return f"{LABEL}={self.name}"

    def start(
        self,
        child: Child,
        words: Sequence[str],
        environ: Mapping[str, str],
        *,
        most: Money | None,
        wait_s: float = 0.0,
    ) -> int:
        """Run a program within the limits to its end; return its exit code.

        `most` is what all its jobs may cost together. Jobs that it left running are polled once,
        then for `wait_s`. Raises KlingError if the setup fails: then the program was not started.
        """
        upstreams = self.settings.upstreams
        directory = Directory({name: one.address for name, one in upstreams.items()})
        found = {name: one.key.value for name, one in upstreams.items() if one.key is not None}
        keys = Keys(found, f"klr_{secrets.token_urlsafe(32)}")
        leftovers = Leftovers(self.ledger, self.settings.poll_every_s)
        with self._capped(most), self._gateways(leftovers) as gateways:
            guard = guarded(directory, gateways, keys=keys, environ=environ, now=self.ledger.now())
            with guard as given, leftovers.looked_after():
                code = child.run(words, given)
            # Its exit code is always returned: jobs that cannot be polled now are left to `resume`.
            with suppress(DatabaseError):
                leftovers.settle(wait_s, child.stop)
            return code

    def summary(self) -> Summary:
        """Return the result of the run so far."""
        found = list(self._jobs())
        zero = Money.zero(self.ledger.wallets.get(self.settings.wallet or "").unit)
        left_open = [one for one in found if one.is_open]
        return Summary(
            len(found),
            sum((one.spent for one in found), zero),
            sum((one.held for one in left_open), zero),
            len(left_open),
            self.refusals,
        )

    def _jobs(self) -> Iterator[Reservation]:
        after = None
        while page := self.ledger.reservations.latest(label=self.label, after=after, limit=_PAGE):
            yield from page
            after = page[-1].id

    @contextmanager
    def _capped(self, most: Money | None) -> Iterator[None]:
        """Limit the total cost of the run's jobs, by a budget that exists while it lasts."""
        if most is None:
            yield
            return
        budgets = self.ledger.budgets
        budgets.set(self.name, most, scope=Scope(label=self.label), reason="the cap of one run")
        try:
            yield
        finally:
            # Already removed, so nothing is left to do; a budget that stays matches no further job.
            with suppress(NotFoundError, DatabaseError):
                budgets.remove(self.name, reason="its run is over")

    @contextmanager
    def _gateways(self, leftovers: Leftovers) -> Iterator[Gateways]:
        """Create two gateways: our keys only run metered jobs, callers' keys pass everything."""
        label = {**self.settings.labels, LABEL: self.name}
        ours = replace(self.settings, labels=label)
        keyless = {name: replace(one, key=None) for name, one in ours.upstreams.items()}
        apps = [
            App(
                self.ledger,
                settings,
                Wires(settings),
                observers=[self.refusals],
                expect=leftovers.expect,
                forget=leftovers.forget,
            )
            for settings in (ours, replace(ours, upstreams=keyless))
        ]

        async def stop() -> None:
            for app in apps:
                await app.stop()

        try:
            yield Gateways(apps[0], apps[1], stop)
        finally:
            for app in apps:
                app.close()
