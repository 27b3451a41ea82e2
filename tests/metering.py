"""A ledger whose wallets pay for jobs at every gateway of one sandbox, and the truth about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

import httpx

from kling_ledger import Ledger
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.recovery import Recovered, Recovery
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import Reservation, State
from kling_ledger.providers.base import Pacing
from kling_ledger.providers.registry import connect, provider_facts
from kling_ledger.sandbox import PROVIDERS, Sandbox, SandboxSettings
from kling_pricing import Money
from tests.sandbox_rig import body, plain_client

QUICK = Patience(poll_every_s=0.01, longest_s=0.3, failing_polls=2, repeat_s=0)
FUNDS = 100_000
HOUR = timedelta(hours=1)
SETTINGS = SandboxSettings(job_s=0.02, hang_s=0.1, retry_after_s=0)


@dataclass(frozen=True)
class House:
    """One sandbox and one ledger; a wallet for each provider has the provider's name."""

    sandbox: Sandbox
    ledger: Ledger
    http: httpx.Client
    meters: dict[str, Meter] = field(default_factory=dict)
    lock: Any = field(default_factory=Lock)

    def meter(self, provider: str) -> Meter:
        """Return the meter of a provider, without patience and without pauses."""
        with self.lock:
            if provider not in self.meters:
                self.meters[provider] = self._connected(provider)
            return self.meters[provider]

    def _connected(self, provider: str) -> Meter:
        reached = connect(
            provider,
            api_key=self.sandbox.settings.key_of(provider),
            base_url=self.sandbox.url,
            timeout_s=5,
            pacing=Pacing(sleep=lambda _: None, chance=lambda: 0.5),
        )
        return Meter(self.ledger, reached, wallet=provider, patience=QUICK, asks_estimate=False)

    def meter_for(self, found: Reservation) -> Meter:
        return self.meter(found.job.provider or "")

    def run(self, provider: str, prompt: str = "a lake") -> Reservation:
        """Run a job as far as the meter brings it."""
        return self.meter(provider).run(body(provider, prompt))

    def reserved(self, provider: str, prompt: str = "a lake") -> Reservation:
        """Return the reservation of a job that was not sent: as after a crash just then."""
        return self.meter(provider).reserve(body(provider, prompt))

    def submitting(self, provider: str, prompt: str = "a lake") -> Reservation:
        """Return the reservation of a job about to be sent: as after a crash just then."""
        return self.ledger.mark_submitting(self.reserved(provider, prompt).id)

    def sent(self, provider: str, prompt: str = "a lake") -> Reservation:
        """Return a reservation whose job was sent and taken, and whose reply nobody has read."""
        found = self.submitting(provider, prompt)
        self.meter(provider).provider.submit("text_to_video", body(provider, prompt), key=found.id)
        return found

    def submitted(self, provider: str, prompt: str = "a lake [never]") -> Reservation:
        """Return the reservation of a job that its provider has taken."""
        meter, asked = self.meter(provider), body(provider, prompt)
        found = meter.reserve(asked)
        meter.submit(found, asked)
        return self.ledger.reservations.get(found.id)

    def recovery(self, *, later: timedelta = HOUR, **more: Any) -> Recovery:
        """Return a recovery that looks at the ledger an hour later, when nothing is young."""
        now = datetime.now(UTC) + later
        return Recovery(self.ledger, self.meter_for, now, **more)

    def recover(self, *, later: timedelta = HOUR, **more: Any) -> list[Recovered]:
        """Look at everything that is open."""
        return list(self.recovery(later=later, **more).run())

    def tasks(self, provider: str) -> list[dict[str, Any]]:
        """Return every task that a provider really has."""
        reply = self.http.get(f"{self.sandbox.url}/sandbox/truth?provider={provider}")
        return [dict(task) for task in reply.raise_for_status().json()["tasks"]]

    def bill(self, provider: str, form: str = "csv") -> str:
        """Return a provider's bill as it would be downloaded."""
        address = f"{self.sandbox.url}/sandbox/statement?provider={provider}&format={form}"
        return self.http.get(address).raise_for_status().text

    def standing(self, provider: str) -> tuple[str, str]:
        """Return what a wallet was charged, and what it has reserved."""
        assert self.ledger.verify().findings == ()
        wallet = self.ledger.wallets.get(provider)
        charged = FUNDS - wallet.posted.amount
        return f"{charged.normalize():f}", f"{wallet.reserved.amount.normalize():f}"

    def state(self, found: Reservation) -> State:
        return self.ledger.reservations.get(found.id).state


@contextmanager
def house(url: str, settings: SandboxSettings = SETTINGS) -> Iterator[House]:
    """Run a sandbox beside a ledger; everything is closed in the end."""
    with (
        Sandbox(settings) as sandbox,
        Ledger(url, actor="tester") as ledger,
        plain_client() as http,
    ):
        for name in PROVIDERS:
            unit = provider_facts(name).unit
            ledger.wallets.create(name, unit)
            ledger.wallets.fund(name, Money.parse(f"{FUNDS} {unit}"))
        made = House(sandbox, ledger, http)
        try:
            yield made
        finally:
            for meter in made.meters.values():
                meter.provider.close()
