"""Settlements beside a house: jobs that nobody but the gateway follows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kling_ledger.errors import ProviderError
from kling_ledger.gateway.settlement import Settlement
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Reservation, State
from kling_ledger.providers.registry import wire
from tests.metering import House
from tests.sandbox_rig import body
from tests.waiting import until

QUICK: dict[str, Any] = {
    "poll_every_s": 0.02,
    "longest_s": 60.0,
    "polls_per_s": 2000.0,
    "grace_s": 0.2,
    "sweep_every_s": 0.3,
    "late_every_s": 0.1,
}


@contextmanager
def settling(here: House, **more: Any) -> Iterator[Settlement]:
    """Run a settlement over a house's ledger until the block ends."""
    settlement = Settlement(here.ledger, **{"meter_for": here.meter_for, **QUICK, **more})
    settlement.start()
    try:
        yield settlement
    finally:
        settlement.close()
        assert not settlement.is_alive


def wired(here: House, provider: str) -> Meter:
    """Return a meter that speaks to a provider as the gateway does: once, over plain HTTP."""
    name = f"wire {provider}"
    with here.lock:
        if name not in here.meters:
            key = here.sandbox.settings.key_of(provider)
            reached = wire(provider).connect(key, base_url=here.sandbox.url, timeout_s=5)
            here.meters[name] = Meter(here.ledger, reached, wallet=provider, asks_estimate=False)
        return here.meters[name]


def sent(here: House, provider: str, prompt: str) -> Reservation:
    """Reserve and submit a job as a gateway does, whatever comes of it; nobody follows it."""
    meter, asked = wired(here, provider), body(provider, prompt)
    found = meter.reserve(asked)
    with suppress(ProviderError):
        meter.submit(found, asked)
    return here.ledger.reservations.get(found.id)


def ended(here: House, found: Reservation, *, within_s: float = 60) -> Reservation:
    """Wait until a reservation has ended."""
    until(lambda: not here.ledger.reservations.get(found.id).is_open, within_s=within_s)
    return here.ledger.reservations.get(found.id)


def in_state(here: House, found: Reservation, state: State) -> None:
    """Wait until a reservation is in a state."""
    until(lambda: here.state(found) is state)
