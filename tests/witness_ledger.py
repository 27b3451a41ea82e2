"""The product beside the witness: every call to a ledger or a meter that these tests make."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runapi.kling import KlingClient

from kling_ledger import Ledger, Meter, metered
from kling_ledger.errors import ProviderError
from kling_ledger.jobs.recovery import Recovered, Recovery
from kling_ledger.jobs.watch import Patience, Watch
from kling_ledger.ledger.reservations import Reservation
from kling_ledger.providers.base import Pacing, Provider
from kling_ledger.providers.registry import connect
from kling_pricing import Money
from tests.witness.account import Account, Script
from tests.witness.crun import Crun
from tests.witness.evolink import EvoLink
from tests.witness.gateway import Dialect
from tests.witness.runapi import RunApi
from tests.witness.server import Gateway, serve
from tests.witness.uniall import UniAll

WALLET = "team"
REQUESTS = Path(__file__).with_name("requests")
GATEWAYS: dict[str, type[Dialect]] = {
    "runapi": RunApi,
    "crun": Crun,
    "evolink": EvoLink,
    "uniall": UniAll,
}
NAMES = sorted(GATEWAYS)
KEYS = {
    "runapi": "witness-key",
    "crun": "ak_0123456789abcdef0123456789abcdef",
    "evolink": "witness-key",
    "uniall": "sk-witness",
}
TYPICAL = {
    "runapi": "runapi_text_to_video",
    "crun": "crun_customize",
    "evolink": "evolink_text",
    "uniall": "uniall_text",
}
"""One published request body of each gateway."""

_SHORT_S = 0.01
_UNREADABLE = {"crun_element_duplicate_keys"}
"""Published with the same key twice: bad input."""


def request_names() -> list[str]:
    """The published request bodies that are good input, each beginning with its gateway's name."""
    return sorted(path.stem for path in REQUESTS.glob("*.json") if path.stem not in _UNREADABLE)


def request_body(name: str) -> dict[str, Any]:
    """A published request body."""
    body: dict[str, Any] = json.loads((REQUESTS / f"{name}.json").read_text())
    return body


def account_for(name: str, funded: int = 100_000_000_000) -> Account:
    """An account at a gateway, of which only RunAPI documents that it knows a repeated key."""
    return Account(funded, remembers_keys=name == "runapi")


def briefly(seconds: float) -> None:
    """Sleep no longer than a poll's pause, whatever was asked for."""
    time.sleep(min(seconds, _SHORT_S))


@dataclass
class Bench:
    """A gateway at an address, a ledger with one wallet, and meters between the two."""

    name: str
    dialect: Dialect
    url: str
    path: Path
    ledger: Ledger
    troubles: list[ProviderError] = field(default_factory=list)
    _providers: dict[str, Provider] = field(default_factory=dict)

    @property
    def account(self) -> Account:
        """The account at the gateway."""
        return self.dialect.account

    # Running jobs.

    def meter(self, *, longest_s: float = 20.0, api_key: str | None = None) -> Meter:
        """A meter that polls every ten milliseconds and remembers every trouble."""
        return Meter(
            self.ledger,
            self._provider(api_key or KEYS[self.name]),
            wallet=WALLET,
            patience=Patience(poll_every_s=_SHORT_S, longest_s=longest_s),
            on_trouble=self.troubles.append,
        )

    def _provider(self, api_key: str) -> Provider:
        if api_key not in self._providers:
            self._providers[api_key] = connect(
                self.name,
                api_key=api_key,
                base_url=self.url,
                timeout_s=5.0,
                pacing=Pacing(sleep=briefly),
            )
        return self._providers[api_key]

    def run(
        self,
        script: Script | None = None,
        body: dict[str, Any] | None = None,
        *,
        key: str | None = None,
        meter: Meter | None = None,
    ) -> Reservation:
        """Run one job by a script to its end, however it ends."""
        self.account.next_job(script or Script())
        asked = request_body(TYPICAL[self.name]) if body is None else body
        return (meter or self.meter()).run(asked, key=key)

    def pauses(self, script: Script, *, longest_s: float) -> list[float]:
        """How long a follower would pause after each of the script's polls, none of them waited."""
        self.account.next_job(script)
        meter = self.meter(longest_s=longest_s)
        body = request_body(TYPICAL[self.name])
        reservation = meter.reserve(body)
        meter.submit(reservation, body)
        watch = Watch(meter, self.ledger.reservations.get(reservation.id))
        return [watch.ask() or 0.0 for _ in script.polls]

    def held_for(self, body: dict[str, Any]) -> int:
        """What is set aside for a request, in millionths; nothing is sent."""
        return self.meter().reserve(body).amount.micro

    def leave(self, key: str, *, sends: bool) -> None:
        """Begin a job and leave it, as a crash does: before it is sent or before it is followed."""
        meter = self.meter()
        body = request_body(TYPICAL[self.name])
        reservation = meter.reserve(body, key=key)
        if sends:
            with suppress(ProviderError):
                meter.submit(reservation, body)

    def recover(self, *, waits: bool = True, meter: Meter | None = None) -> list[Recovered]:
        """Finish what can be finished, an hour later, when nothing is under way any more."""
        chosen = meter or self.meter()
        recovery = Recovery(
            self.ledger,
            lambda _: chosen,
            now=datetime.now(UTC) + timedelta(hours=1),
            grace_s=0.0,
            waits=waits,
        )
        return list(recovery.run())

    # What the ledger says.

    def standing(self) -> tuple[int, int]:
        """What the wallet has spent and what it holds for open jobs, in millionths."""
        wallet = self.ledger.wallets.get(WALLET)
        return wallet.spent.micro, wallet.reserved.micro

    def posted(self) -> int:
        """What the wallet holds, open jobs not counted, in millionths."""
        return self.ledger.wallets.get(WALLET).posted.micro

    def reservations(self) -> list[Reservation]:
        """Every reservation there is."""
        return self.ledger.reservations.latest(limit=10_000)

    def reservation(self, reservation_id: str) -> Reservation:
        """One reservation as it stands now."""
        return self.ledger.reservations.get(reservation_id)

    def of_keys(self, keys: list[str]) -> dict[str, Reservation]:
        """The reservations that jobs' own keys stand for."""
        return self.ledger.reservations.of_keys(keys)

    def findings(self) -> list[str]:
        """What `verify` finds wrong."""
        return [f"{found.subject}: {found.problem}" for found in self.ledger.verify().findings]

    def close(self) -> None:
        """Give the connections back."""
        for provider in self._providers.values():
            provider.close()


def metered_client(found: Bench, client: KlingClient) -> Any:
    """Meter RunAPI's own client against the wallet."""
    return metered(client, found.ledger, wallet=WALLET)


def charged(found: Reservation) -> int:
    """What a job has cost so far, in millionths."""
    return found.spent.micro


@contextmanager
def ledger_of(path: Path, unit: str, funded: str) -> Iterator[Ledger]:
    """A new ledger in a file, with one wallet."""
    with Ledger(str(path), actor="witness") as ledger:
        ledger.wallets.create(WALLET, unit)
        ledger.wallets.fund(WALLET, Money.parse(f"{funded} {unit}"))
        yield ledger


@contextmanager
def bench(
    name: str,
    folder: Path,
    *,
    funded: str = "100000",
    front: Callable[[Gateway], Gateway] | None = None,
    kind: type[Dialect] | None = None,
    **settings: Any,
) -> Iterator[Bench]:
    """Set up a gateway and a ledger.

    `front` is what stands before the gateway, such as a proxy; `kind` is a variety of the gateway.
    """
    dialect = (kind or GATEWAYS[name])(account_for(name), KEYS[name], **settings)
    served: Gateway = front(dialect) if front else dialect
    path = folder / f"{name}.sqlite"
    with serve(served) as url, ledger_of(path, dialect.unit, funded) as ledger:
        opened = Bench(name, dialect, url, path, ledger)
        try:
            yield opened
        finally:
            opened.close()


Opens = Callable[..., Bench]
"""Opens a bench, as `bench` does, for as long as a test runs."""


@contextmanager
def opening(folder: Path) -> Iterator[Opens]:
    """Give something that opens benches, and close them all in the end."""
    with ExitStack() as stack:

        def open_one(name: str, **settings: Any) -> Bench:
            return stack.enter_context(bench(name, folder, **settings))

        yield open_one


def check_rules(found: Bench) -> None:
    """The rules that hold after whatever happened."""
    found.account.finish()
    spent, reserved = found.standing()
    reservations = found.reservations()
    assert spent == sum(charged(each) for each in reservations)
    assert reserved == sum(each.held.micro for each in reservations)
    assert found.findings() == []
    assert found.dialect.strays == []


def check_agrees(found: Bench, job: Reservation) -> None:
    """The job was committed at what the gateway charged, to the millionth, and nothing is held."""
    check_rules(found)
    (task,) = found.account.tasks.values()
    assert job.state == "committed"
    assert job.task_id == task.id
    # UniAll publishes neither prices nor a settled cost: the quote is all there is.
    expected = job.amount.micro if found.name == "uniall" else task.charged
    assert charged(job) == expected
    assert found.standing() == (expected, 0)


def check_given_back(found: Bench, job: Reservation) -> None:
    """The gateway charged nothing, and every credit came back."""
    check_rules(found)
    assert found.account.charged == 0
    assert job.state == "rolled_back"
    assert found.standing() == (0, 0)


def check_in_doubt(found: Bench, job: Reservation) -> None:
    """Nobody knows: the credits stay where they are."""
    check_rules(found)
    assert job.state == "in_doubt"
    assert found.standing() == (0, job.amount.micro)
