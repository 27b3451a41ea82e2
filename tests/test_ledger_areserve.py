"""Reserving while an event loop goes on: the answers of `reserve`, for a thousand tasks at once."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kling_ledger import Ledger
from kling_ledger.errors import (
    BudgetError,
    ConflictError,
    DatabaseError,
    InsufficientCreditsError,
    NotFoundError,
    RefusedError,
)
from kling_ledger.ledger import Asked, Job, Reservation, Scope, State
from kling_ledger.ledger.engines import awaiting
from kling_ledger.ledger.engines import writer as writing
from kling_ledger.ledger.engines.transaction import Batch, Stamp
from kling_ledger.ledger.engines.writer import Entry, Writer
from kling_pricing.errors import AmountError
from tests.ledgers import NOON, Clock, found, standing, unchanged, usd

PATIENCE_S = 30
NOTHING: Any = None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(empty_url: str, clock: Clock) -> Iterator[Ledger]:
    """An empty ledger, on each engine in turn, and with slots."""
    with Ledger(empty_url, actor="tester", clock=clock) as opened:
        yield opened
        assert opened.verify().findings == ()


def of(call: Awaitable[Any]) -> Any:
    """What comes of a call that is awaited."""

    async def one() -> Any:
        return await call

    return asyncio.run(one())


# The answers are those of `reserve`


def test_what_is_reserved_is_what_reserve_would_have_reserved(ledger: Ledger, team: str):
    asked: dict[str, Any] = {
        "job": Job(provider="crun", model="kling-v2-6", seconds="5", quoted=usd("0.5")),
        "project": "film/teaser",
        "labels": {"shot": "12"},
        "ceiling": usd("0.5"),
        "expires_at": NOON + timedelta(hours=1),
    }
    plain = ledger.reserve(team, usd("0.5"), key="shot-1", **asked)
    awaited = of(ledger.areserve(team, usd("0.5"), key="shot-2", **asked))
    assert awaited.id != plain.id
    assert replace(awaited, id=plain.id) == plain
    assert ledger.reservations.get(awaited.id) == awaited
    moved = found(ledger, "SELECT kind, amount_micro FROM transfer WHERE kind = 'reserve'")
    assert moved == [{"kind": "reserve", "amount_micro": 500_000}] * 2


@pytest.mark.parametrize("amount", ["2.000001", "1.5"])
def test_a_refusal_has_the_words_and_figures_of_reserve(ledger: Ledger, team: str, amount: str):
    ledger.budgets.set("film", usd("1.25"), scope=Scope(wallet=team))
    with unchanged(ledger):
        with pytest.raises(RefusedError) as plain:
            ledger.reserve(team, usd(amount))
        with pytest.raises(RefusedError) as awaited:
            of(ledger.areserve(team, usd(amount)))
        assert type(awaited.value) is type(plain.value)
        assert vars(awaited.value) == vars(plain.value)


def test_what_reserve_does_not_take_is_refused_in_the_same_way(ledger: Ledger, team: str):
    odd: Any = "1 USD"
    ledger.reserve(team, usd("0.5"), key="shot-1")
    with unchanged(ledger):
        with pytest.raises(NotFoundError, match="typo"):
            of(ledger.areserve("typo", usd("1")))
        with pytest.raises(AmountError):
            of(ledger.areserve(team, odd))
        with pytest.raises(ConflictError):
            of(ledger.areserve(team, usd("0.6"), key="shot-1"))


def test_a_wallet_that_has_a_new_owner_of_its_name_is_looked_up_again(ledger: Ledger, team: str):
    first = ledger.wallets.create("spare", "USD")
    with Ledger(ledger.database.url) as other:
        with pytest.raises(InsufficientCreditsError):
            of(other.areserve("spare", usd("1")))
        ledger.wallets.remove("spare")
        again = ledger.wallets.create("spare", "USD")
        ledger.wallets.fund("spare", usd("1"))
        assert again.id != first.id
        made = of(other.areserve("spare", usd("1")))
    assert ledger.reservations.get(made.id).wallet == "spare"
    assert standing(ledger, "spare") == (usd("1"), usd("1"), usd("0"))


def test_several_are_reserved_together_or_not_at_all(ledger: Ledger, team: str):
    with unchanged(ledger), pytest.raises(InsufficientCreditsError):
        of(ledger.areserve_many([Asked(team, usd("1.5"))] * 2))
    made = of(ledger.areserve_many([Asked(team, usd("0.5")), Asked(team, usd("0.75"))]))
    assert [one.amount for one in made] == [usd("0.5"), usd("0.75")]


def test_credits_of_what_has_expired_are_there_for_the_next(
    ledger: Ledger, team: str, clock: Clock
):
    old = ledger.reserve(team, usd("2"), expires_at=NOON + timedelta(minutes=1))
    clock.forward(minutes=2)
    made = of(ledger.areserve(team, usd("1.5")))
    assert ledger.reservations.get(old.id).state is State.EXPIRED
    assert standing(ledger, team) == (usd("2"), made.amount, usd("0.5"))


# Many at once


def test_of_many_at_once_as_many_are_let_in_as_there_is_room_for_and_none_holds_a_thread(
    ledger: Ledger, team: str
):
    ledger.budgets.set("day", usd("1.5"), scope=Scope(wallet=team), window="day")
    most = 0

    async def one() -> str:
        nonlocal most
        try:
            await ledger.areserve(team, usd("0.1"))
        except BudgetError as refused:
            return f"refused with {refused.left} left"
        finally:
            most = max(most, threading.active_count())
        return "admitted"

    async def rush() -> list[str]:
        ledger.wallets.get(team)
        return await asyncio.gather(*(one() for _ in range(300)))

    before = threading.active_count()
    assert Counter(asyncio.run(rush())) == {"admitted": 15, "refused with 0 USD left": 285}
    # asyncio's own pool, which looks at the clock and the wallet first, has at most 32.
    assert most - before < 64
    assert standing(ledger, team) == (usd("2"), usd("1.5"), usd("0.5"))


def test_tasks_and_threads_share_one_limit(ledger: Ledger, team: str):
    async def one(number: int) -> bool:
        try:
            if number % 3 == 0:
                await asyncio.to_thread(ledger.reserve, team, usd("0.1"))
            else:
                await ledger.areserve(team, usd("0.1"))
        except InsufficientCreditsError:
            return False
        return True

    async def rush() -> list[bool]:
        return await asyncio.gather(*map(one, range(90)))

    assert sum(asyncio.run(rush())) == 20
    assert standing(ledger, team) == (usd("2"), usd("2"), usd("0"))


def test_tasks_that_ask_under_one_key_get_one_reservation(ledger: Ledger, team: str):
    async def rush() -> list[Reservation]:
        calls = (ledger.areserve(team, usd("0.5"), key="shot-1") for _ in range(40))
        return await asyncio.gather(*calls)

    assert len({one.id for one in asyncio.run(rush())}) == 1
    assert standing(ledger, team) == (usd("2"), usd("0.5"), usd("1.5"))


# Cancelled


async def cancelled_after(turns: int, call: Awaitable[Reservation]) -> Reservation | None:
    """Cancel a call after so many turns of the loop; return what it had already answered."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0 if turns < 6 else 0.002)
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None


@pytest.mark.parametrize("turns", range(12))
def test_a_cancelled_call_leaves_nothing_reserved(ledger: Ledger, team: str, turns: int):
    made = asyncio.run(cancelled_after(turns, ledger.areserve(team, usd("0.5"))))
    if made is None:
        assert [one.state for one in ledger.reservations.latest()] in ([], [State.ROLLED_BACK])
        assert standing(ledger, team) == (usd("2"), usd("0"), usd("2"))
    else:
        assert ledger.reservations.latest() == [made]


@pytest.mark.parametrize("turns", range(12))
def test_under_a_key_a_cancelled_call_is_found_by_its_repeat(ledger: Ledger, team: str, turns: int):
    call = ledger.areserve(team, usd("0.5"), key="shot-1")
    asyncio.run(cancelled_after(turns, call))
    again = ledger.reserve(team, usd("0.5"), key="shot-1")
    assert (again.state, ledger.reservations.latest()) == (State.RESERVED, [again])


def test_a_time_out_is_one_and_what_was_reserved_comes_back(ledger: Ledger, team: str):
    """The group is being written when the time is over: it is waited for, and then undone."""
    is_writing, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        def wait(_: object) -> None:
            is_writing.set()
            may_go.wait(PATIENCE_S)

        ledger.database.write(wait)

    async def late() -> None:
        async with asyncio.timeout(0.2):
            await ledger.areserve(team, usd("0.5"))

    ledger.reserve(team, usd("0.1"))
    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(hold)
        is_writing.wait(PATIENCE_S)
        threading.Timer(0.5, may_go.set).start()
        try:
            asyncio.run(late())
        except TimeoutError:
            states = [one.state for one in ledger.reservations.latest()]
            assert states in ([State.RESERVED], [State.ROLLED_BACK, State.RESERVED])
            assert standing(ledger, team) == (usd("2"), usd("0.1"), usd("1.9"))
        holding.result(PATIENCE_S)


# The writer's thread


def a_writer(write: Callable[[Sequence[Entry]], None]) -> Writer:
    return Writer(write, turn=nullcontext(), close=lambda: None, held_by=lambda: "somebody")


def a_batch() -> Batch[str, str]:
    def decide(_: object, items: Sequence[str], __: object) -> Callable[[int], str]:
        return list(items).__getitem__

    return Batch(decide, ["written"], Stamp(0, "tester", None, 0))


def write_each(entries: Sequence[Entry]) -> None:
    for entry in entries:
        entry.value = entry.operation(NOTHING)


class Gate:
    """A writer that is stopped in the middle of a group until it may go on."""

    def __init__(self) -> None:
        self.is_writing, self.may_go = threading.Event(), threading.Event()
        self.written: list[int] = []
        self.writer = a_writer(self._write)

    def _write(self, entries: Sequence[Entry]) -> None:
        self.is_writing.set()
        self.may_go.wait(PATIENCE_S)
        write_each(entries)
        self.written.append(len(entries))

    async def is_reached(self) -> None:
        while not self.is_writing.is_set():
            await asyncio.sleep(0.001)


def test_what_has_begun_is_waited_for_and_comes_with_its_cancellation():
    gate = Gate()

    async def cancelled() -> tuple[str, bool]:
        task = asyncio.ensure_future(awaiting.written(gate.writer, a_batch()))
        await gate.is_reached()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.01)
        assert not task.done()
        gate.may_go.set()
        result_of, too_late = await task
        return result_of(0), isinstance(too_late, asyncio.CancelledError)

    assert asyncio.run(cancelled()) == ("written", True)
    gate.writer.close()


def test_what_has_not_begun_is_never_written_once_it_is_cancelled():
    gate = Gate()

    async def cancelled() -> None:
        first = asyncio.ensure_future(awaiting.written(gate.writer, a_batch()))
        await gate.is_reached()
        second = asyncio.ensure_future(awaiting.written(gate.writer, a_batch()))
        await asyncio.sleep(0.01)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.may_go.set()
        await first

    asyncio.run(cancelled())
    gate.writer.close()
    assert gate.written == [1]


def test_an_error_of_what_was_cancelled_is_the_reason_of_its_cancellation():
    gate = Gate()

    def fail(_: object, __: object, ___: object) -> Any:
        raise ValueError("no room")

    async def cancelled() -> BaseException | None:
        task = asyncio.ensure_future(awaiting.written(gate.writer, replace(a_batch(), decide=fail)))
        await gate.is_reached()
        task.cancel()
        await asyncio.sleep(0.01)
        gate.may_go.set()
        with pytest.raises(asyncio.CancelledError) as told:
            await task
        return told.value.__cause__

    gate.writer = a_writer(lambda entries: _fail_after(gate, entries))
    assert isinstance(asyncio.run(cancelled()), ValueError)
    gate.writer.close()


def _fail_after(gate: Gate, entries: Sequence[Entry]) -> None:
    gate.is_writing.set()
    gate.may_go.wait(PATIENCE_S)
    write_each(entries)


def test_whoever_waits_too_long_gives_up_and_nothing_is_written(monkeypatch, caplog):
    for name, seconds in (("GIVEN_UP_AFTER_S", 0.2), ("SAID_AFTER_S", 0.1)):
        monkeypatch.setattr(writing, name, seconds)
    monkeypatch.setattr(awaiting, "PATIENCE_S", 0.05)
    gate = Gate()

    async def waits() -> None:
        first = asyncio.ensure_future(awaiting.written(gate.writer, a_batch()))
        await gate.is_reached()
        with pytest.raises(DatabaseError, match="somebody: waited for") as told:
            await awaiting.written(gate.writer, a_batch())
        assert told.value.retryable
        gate.may_go.set()
        await first

    asyncio.run(waits())
    gate.writer.close()
    assert gate.written == [1]
    assert "waiting to write: somebody" in caplog.text


def test_a_loop_that_is_gone_stops_no_writer():
    gate = Gate()
    loop = asyncio.new_event_loop()
    task = loop.create_task(awaiting.written(gate.writer, a_batch()))
    loop.run_until_complete(gate.is_reached())
    coroutine: Any = task.get_coro()
    coroutine.close()
    task.cancel()
    with closing(loop), suppress(BaseException):
        loop.run_until_complete(task)
    gate.may_go.set()
    assert gate.writer.run(a_batch())(0) == "written"
    gate.writer.close()


# Closed, rehearsed


def test_a_closed_ledger_refuses(empty_url: str):
    ledger = Ledger(empty_url)
    ledger.wallets.create("team", "USD")
    ledger.wallets.fund("team", usd("2"))
    of(ledger.areserve("team", usd("0.5")))
    ledger.close()
    with pytest.raises(DatabaseError, match="is closed"):
        of(ledger.areserve("team", usd("0.5")))


def test_a_rehearsal_reserves_nothing(ledger: Ledger, team: str):
    with unchanged(ledger), Ledger(ledger.database.url, dry_run=True) as rehearsed:
        made = of(rehearsed.areserve(team, usd("1.5")))
        with pytest.raises(InsufficientCreditsError):
            of(rehearsed.areserve(team, usd("1.5")))
        assert made.amount == usd("1.5")
        assert [(one.kind, one.amount) for one in rehearsed.would_move] == [("reserve", usd("1.5"))]
