"""A receiver of callbacks with a ledger and a wallet for each unit, and jobs to be called about."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from kling_ledger import Ledger, Meter
from kling_ledger.callbacks.listener import Listener
from kling_ledger.callbacks.receiver import Receipt, Receiver
from kling_ledger.callbacks.signatures import sign
from kling_ledger.jobs.recovery import Meters
from kling_ledger.ledger import Reservation
from kling_ledger.providers.base import Pacing
from kling_ledger.providers.registry import connect
from kling_ledger.sandbox import Sandbox, SandboxSettings
from kling_ledger.sandbox.jobs import Job
from kling_pricing import Money
from tests.sandbox_rig import UNITS, body, plain_client
from tests.waiting import until

SECRET: Final = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
KEY: Final = "sandbox-key-not-to-be-told"
PUBLIC: Final = "https://example.com/hook"
PATIENT_S: Final = 60.0
"""How long senders wait where a test is not about that: the machine may be busy."""
QUICK: Final = Pacing(sleep=lambda _: None)


@dataclass
class Rig:
    """The receiver over HTTP, a sandbox that calls it, and what every callback did."""

    ledger: Ledger
    listener: Listener
    sandbox: Sandbox
    http: httpx.Client
    receipts: list[Receipt] = field(default_factory=list)
    opened: dict[str, Meter] = field(default_factory=dict)

    def submitted(self, provider: str, prompt: str = "a lake") -> Reservation:
        """Reserve and submit a job that has callbacks; nobody follows it."""
        reservation, content = self.reserved(provider, prompt)
        self.meter(provider).submit(reservation, content)
        return self.ledger.reservations.get(reservation.id)

    def reserved(self, provider: str, prompt: str = "a lake") -> tuple[Reservation, dict[str, Any]]:
        """Reserve for a job that has callbacks."""
        named = {} if provider == "uniall" else {"callback_url": PUBLIC}
        content = body(provider, prompt, **named)
        return self.meter(provider).reserve(content), content

    def meter(self, provider: str) -> Meter:
        """Return what reserves and submits at a provider."""
        if provider not in self.opened:
            there = connect(provider, api_key=KEY, base_url=self.sandbox.url, pacing=QUICK)
            self.opened[provider] = Meter(self.ledger, there, UNITS[provider], asks_estimate=False)
        return self.opened[provider]

    def job(self, reservation: Reservation) -> Job:
        """Return the sandbox's own record of a job."""
        found = self.sandbox.stores[reservation.job.provider or ""].find(reservation.task_id or "")
        assert found is not None
        return found

    def post(
        self, provider: str, content: object, *, secret: str | None = None, **more: Any
    ) -> httpx.Response:
        """Post what claims to be a callback, signed where there is a secret."""
        written = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = signed(written, secret) if secret else {}
        address = self.listener.address(provider)
        return self.http.post(address, content=written, headers=headers, **more)

    def called(self, reservation: Reservation, times: int = 1) -> list[str]:
        """Wait until a job's callbacks were answered so many times; return the answers."""
        job = self.job(reservation)
        until(lambda: len(job.deliveries) >= times)
        return [delivery.outcome for delivery in job.deliveries]

    def ended(self, reservation: Reservation) -> Reservation:
        """Wait until a reservation has ended."""
        until(lambda: not self.ledger.reservations.get(reservation.id).is_open)
        return self.ledger.reservations.get(reservation.id)


@contextmanager
def receiving(
    ledger: Ledger,
    *,
    secrets: tuple[str, ...] = (),
    base_url: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> Iterator[Rig]:
    """Run a receiver, and a sandbox that sends it the callbacks of every job."""
    for unit in set(UNITS.values()):
        ledger.wallets.create(unit, unit)
        ledger.wallets.fund(unit, Money.parse(f"10000 {unit}"))

    def meter_at(provider: str, address: str | None) -> Meter:
        there = connect(provider, api_key=KEY, base_url=base_url or address, pacing=QUICK)
        return Meter(ledger, there, "")

    receipts: list[Receipt] = []
    meters = Meters(meter_at)
    receiver = Receiver(ledger, meters, secrets)
    quick = {"job_s": 0.1, "callback_retries_s": (0.05, 0.05, 0.05), "hang_s": 1.0, **settings}
    with (
        Listener(receiver, answer_s=PATIENT_S, on_receipt=receipts.append) as listener,
        plain_client(timeout=PATIENT_S) as http,
    ):
        to = f"{listener.url}/callbacks/{{provider}}"
        chosen = SandboxSettings(api_key=KEY, callbacks_to=to, **quick)
        with Sandbox(chosen, clock=clock) as sandbox:
            rig = Rig(ledger, listener, sandbox, http, receipts)
            yield rig
    meters.close()
    for meter in rig.opened.values():
        meter.provider.close()
    assert ledger.verify().findings == ()


def signed(content: bytes, secret: str, *, at: datetime | None = None) -> dict[str, str]:
    """Return the headers that sign a body."""
    return sign(secret, message_id="msg_1", at=at or datetime.now(UTC), body=content)


def task(provider: str, task_id: str | None, word: str, **more: Any) -> dict[str, Any]:
    """Return a task as a provider posts it."""
    name = "task_id" if provider == "crun" else "id"
    return {name: task_id, "status": word, **more}
