"""Blocks around a client at a server that charges: no credit comes back for what it charged.

An exception is raised at every place where one can come: in the block itself, and wherever httpx
connects, writes and reads. Whatever the block says or the server answers, its own list of what it
has charged decides whether credits may have come back.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from kling_ledger import Ledger, TaskNotWrittenError
from kling_ledger.ledger import Reservation, State, unwritten
from tests.charging_server import ANSWERS, ChargingServer, charging_server
from tests.ledgers import usd

# What is interrupted in the middle of its work leaves its sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
    ),
    pytest.mark.usefixtures("collected"),
]

COST = usd("0.5")
TIME_OUT_S = 0.05
PLAIN: Any = {"trust_env": False, "verify": False}
"""A client without proxies and certificates: reading those takes longer than a job."""
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)


class OwnClientError(Exception):
    """What a client of one's own raises."""


KINDS: tuple[type[BaseException], ...] = (
    OwnClientError,
    TimeoutError,
    httpx.ReadError,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
    asyncio.CancelledError,
)
IN_THE_BLOCK = (
    "before the call",
    "with the reply",
    "after submitted",
    "before commit",
    "after commit",
)
ON_THE_WAY = (
    "connection.connect_tcp.started",
    "connection.connect_tcp.complete",
    "http11.send_request_headers.started",
    "http11.send_request_headers.complete",
    "http11.send_request_body.started",
    "http11.send_request_body.complete",
    "http11.receive_response_headers.started",
    "http11.receive_response_headers.complete",
    "http11.receive_response_body.started",
    "http11.receive_response_body.complete",
    "http11.response_closed.started",
    "http11.response_closed.complete",
)
_AT_ONCE = 16
PLACES = (*IN_THE_BLOCK, *ON_THE_WAY)


@dataclass(frozen=True)
class Case:
    """One job: how it is answered, and where which exception is raised; none where it is None."""

    name: str
    how: str = "plainly"
    place: str = ""
    kind: type[BaseException] | None = None

    def pass_by(self, place: str) -> None:
        """Raise the exception where this is its place."""
        if place == self.place and self.kind is not None:
            raise self.kind(f"at {place}")

    @property
    def request(self) -> dict[str, Any]:
        said = {"name": self.name, "how": self.how}
        return {"json": said, "headers": {"X-How": self.how}, "timeout": TIME_OUT_S}


@dataclass(frozen=True)
class Scene:
    """A ledger and a server; every case's job goes by the case's name as its key."""

    ledger: Ledger
    server: ChargingServer

    def plain(self, case: Case) -> None:
        """Run a case in a plain block, around a plain client."""

        def trace(event: str, _: Any) -> None:
            case.pass_by(event)

        block = self.ledger.reserving(COST, wallet="team", key=case.name, not_sent=NOT_SENT)
        with block as reserved, httpx.Client(**PLAIN) as client:
            case.pass_by("before the call")
            more: Any = {"extensions": {"trace": trace}}
            reply = client.post(self.server.url, **case.request, **more)
            case.pass_by("with the reply")
            said = _said(reply)
            reserved.submitted(said["task"])
            case.pass_by("after submitted")
            case.pass_by("before commit")
            reserved.commit(usd(said["cost"]))
            case.pass_by("after commit")

    def later(self, case: Case) -> None:
        """Run a case in an `async with` block, around an async client."""
        asyncio.run(self.job(case))

    async def job(self, case: Case) -> None:
        async def trace(event: str, _: Any) -> None:
            self._pass_by(case, event)
            await asyncio.sleep(0)

        block = self.ledger.areserving(COST, wallet="team", key=case.name, not_sent=NOT_SENT)
        async with block as reserved, httpx.AsyncClient(**PLAIN) as client:
            await trace("before the call", None)
            more: Any = {"extensions": {"trace": trace}}
            reply = await client.post(self.server.url, **case.request, **more)
            await trace("with the reply", None)
            said = _said(reply)
            await reserved.submitted(said["task"])
            await trace("after submitted", None)
            await trace("before commit", None)
            await reserved.commit(usd(said["cost"]))
            await trace("after commit", None)

    @staticmethod
    def _pass_by(case: Case, place: str) -> None:
        """A cancellation comes from outside, so that every wait that is under way ends."""
        if case.kind is asyncio.CancelledError and place == case.place:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        else:
            case.pass_by(place)

    def reservation(self, case: Case) -> Reservation:
        return self.ledger.reservations.of_keys([case.name])[case.name]


def _said(reply: httpx.Response) -> dict[str, str]:
    reply.raise_for_status()
    said: dict[str, str] = reply.json()
    return said


@pytest.fixture
def scene(tmp_path: Path, empty_file: Path) -> Iterator[Scene]:
    path = str(shutil.copy(empty_file, tmp_path / "ledger.sqlite"))
    with charging_server() as server, Ledger(path, actor="tester") as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10000"))
        yield Scene(ledger, server)


def cases(forms: int) -> list[Case]:
    """Every exception at every place of a job that is taken, and every place under every answer."""
    random = Random(13)  # noqa: S311 - nothing is secret here
    numbers = count()
    found = [
        Case(f"job-{next(numbers)}", "plainly", place, kind) for place in PLACES for kind in KINDS
    ]
    found += [
        Case(f"job-{next(numbers)}", how, place, random.choice(KINDS))
        for how in ANSWERS
        for place in PLACES
    ]
    found += [Case(f"job-{next(numbers)}", how) for how in ANSWERS for _ in range(forms)]
    return found


def check_law(scene: Scene, ran: list[Case]) -> None:
    """By the server's own list: whatever it charged is paid for, or its credits are still held."""
    charged = scene.server.finish()
    assert scene.ledger.verify().findings == ()
    for case in ran:
        found = scene.reservation(case)
        if case.name in charged:
            assert found.is_open or found.state is State.COMMITTED, (case, found.state)
            assert found.is_open is (found.held == COST), case
    assert charged, "the server charged nothing: nothing was shown"


def ended(scene: Scene, run: Callable[[Case], None], case: Case) -> BaseException | None:
    """Run a case; return what it ended with, which alone may have given its credits back."""
    error: BaseException | None = None
    try:
        run(case)
    except BaseException as raised:  # noqa: BLE001 - every kind of end is what is tried
        error = raised
    is_back = scene.reservation(case).state is State.ROLLED_BACK
    assert is_back is isinstance(error, NOT_SENT), (case, error)
    return error


def test_no_credit_comes_back_for_a_job_that_was_charged(scene: Scene):
    every = cases(2)
    errors = [ended(scene, scene.plain, case) for case in every]
    check_law(scene, every)
    # All but the jobs that were answered plainly, and those whose place was never passed.
    assert len([error for error in errors if error]) > len(every) * 0.8


def test_no_credit_comes_back_where_the_event_loop_is_stopped_by_it(scene: Scene):
    every = [case for case in cases(0) if case.kind in {KeyboardInterrupt, SystemExit}]
    errors = [ended(scene, scene.later, case) for case in every]
    check_law(scene, every)
    assert {type(error) for error in errors} >= {KeyboardInterrupt, SystemExit}


def test_no_credit_comes_back_in_threads_either(scene: Scene):
    def one(case: Case) -> None:
        with suppress(BaseException):
            scene.plain(case)

    every = cases(2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, every))
    check_law(scene, every)


def test_no_credit_comes_back_for_many_blocks_of_one_event_loop(scene: Scene):
    # What ends an event loop itself ends all of its blocks: that is the test above.
    every = [case for case in cases(2) if case.kind not in {KeyboardInterrupt, SystemExit}]

    async def together() -> None:
        # So many at a time that a busy machine still answers most of them before they time out.
        for start in range(0, len(every), _AT_ONCE):
            some = every[start : start + _AT_ONCE]
            await asyncio.gather(*map(scene.job, some), return_exceptions=True)

    asyncio.run(together())
    check_law(scene, every)


@pytest.mark.parametrize("turns", range(0, 40, 3))
def test_no_credit_comes_back_where_all_blocks_are_cancelled_at_once(scene: Scene, turns: int):
    every = [Case(f"job-{number}", how) for number, how in enumerate(ANSWERS)]

    async def cancelled() -> None:
        together = asyncio.gather(*map(scene.job, every), return_exceptions=True)
        for _ in range(turns):
            await asyncio.sleep(0.002)
        together.cancel()
        with suppress(asyncio.CancelledError):
            await together

    asyncio.run(cancelled())
    charged = scene.server.finish()
    known = scene.ledger.reservations.of_keys([case.name for case in every])
    assert charged <= known.keys()
    for name, found in known.items():
        assert name not in charged or found.state is not State.ROLLED_BACK
        # Nothing is left behind that nobody knows of.
        assert found.state in {State.COMMITTED, State.IN_DOUBT, State.ROLLED_BACK}


@pytest.mark.parametrize("form", ["plain", "later"])
def test_what_cannot_have_been_sent_gives_its_credits_back(scene: Scene, form: str):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    elsewhere = Scene(scene.ledger, ChargingServer(address))
    case = Case("nobody listens")
    with pytest.raises(httpx.ConnectError):
        getattr(elsewhere, form)(case)
    assert scene.reservation(case).state is State.ROLLED_BACK
    assert scene.ledger.wallets.get("team").reserved == usd("0")


@pytest.mark.parametrize("form", ["plain", "later"])
def test_an_explicit_word_gives_the_credits_back(scene: Scene, form: str):
    ledger, case = scene.ledger, Case("refused", "422")

    async def later() -> None:
        block = ledger.areserving(COST, wallet="team", key=case.name)
        async with block as reserved, httpx.AsyncClient(**PLAIN) as client:
            reply = await client.post(scene.server.url, **case.request)
            await reserved.roll_back(f"HTTP {reply.status_code}")

    def plain() -> None:
        with ledger.reserving(COST, wallet="team", key=case.name) as reserved:
            reply = httpx.post(scene.server.url, **case.request, **PLAIN)
            reserved.roll_back(f"HTTP {reply.status_code}")

    asyncio.run(later()) if form == "later" else plain()
    found = scene.reservation(case)
    assert (found.state, found.problem) == (State.ROLLED_BACK, "HTTP 422")
    assert scene.server.finish() == set()


@pytest.mark.parametrize("form", ["plain", "later"])
def test_a_database_that_is_gone_in_submitted_costs_neither_credits_nor_the_task(
    tmp_path: Path, empty_file: Path, monkeypatch: pytest.MonkeyPatch, form: str
):
    monkeypatch.setattr(unwritten, "PAUSES_S", (0.01,))
    path = str(shutil.copy(empty_file, tmp_path / "ledger.sqlite"))
    case = Case("job")
    with charging_server() as server, Ledger(path) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("2"))

        def plain() -> None:
            with ledger.reserving(COST, wallet="team", key=case.name) as reserved:
                reply = httpx.post(server.url, **case.request, **PLAIN)
                ledger.close()
                reserved.submitted(_said(reply)["task"])

        async def later() -> None:
            block = ledger.areserving(COST, wallet="team", key=case.name)
            async with (
                block as reserved,
                httpx.AsyncClient(**PLAIN) as client,
            ):
                reply = await client.post(server.url, **case.request)
                ledger.close()
                await reserved.submitted(_said(reply)["task"])

        with pytest.raises(TaskNotWrittenError) as told:
            asyncio.run(later()) if form == "later" else plain()
        assert server.finish() == {"job"}
    assert told.value.task_id == "task-job"
    assert told.value.kept_in is not None
    assert told.value.kept_in.exists()
    assert "still submitting" in " ".join(told.value.__notes__)
    with Ledger(path) as again:
        [found] = unwritten.take_down(again)
        assert (found.state, found.task_id, found.held) == (State.SUBMITTED, "task-job", COST)
        assert found.id == told.value.reservation_id
    assert not told.value.kept_in.exists()
