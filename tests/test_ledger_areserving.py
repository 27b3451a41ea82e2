"""Reserving in asyncio: the same ends as of a plain block, and no event loop that waits."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kling_ledger import AsyncReserving, Ledger, Money
from kling_ledger.errors import (
    ConfigError,
    ConflictError,
    InsufficientCreditsError,
    NotFoundError,
    StateError,
)
from kling_ledger.jobs.metered import metered
from kling_ledger.ledger import Reserving, State
from kling_pricing.errors import AmountError
from tests.ledgers import standing, usd


class OwnClientError(Exception):
    """What a client of one's own raises."""


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    """An empty ledger, on each engine in turn."""
    with Ledger(empty_url, actor="tester") as opened:
        yield opened
        assert opened.verify().findings == ()


def areserving(ledger: Ledger, cost: str = "0.5", **more: Any) -> AsyncReserving:
    return ledger.areserving(usd(cost), wallet="team", **more)


def assert_given_back(ledger: Ledger) -> None:
    assert standing(ledger, "team") == (usd("2"), usd("0"), usd("2"))


async def interrupted(reserved: AsyncReserving, error: BaseException, *words: str) -> None:
    """Run a block that says something and then raises."""
    async with reserved:
        for word in words:
            await reserved.submitted(word)
        raise error


# How a block can end


def test_a_block_without_a_word_has_cost_what_was_reserved(ledger: Ledger, team: str):
    async def block() -> AsyncReserving:
        async with areserving(ledger) as reserved:
            stored = await asyncio.to_thread(ledger.reservations.get, reserved.id)
            assert (stored.state, stored.held) == (State.SUBMITTING, usd("0.5"))
        return reserved

    kept = asyncio.run(block()).reservation
    assert (kept.state, kept.committed, kept.settled_by) == ("committed", usd("0.5"), "quote")


def test_each_word_of_a_block_does_what_it_does_in_a_plain_one(ledger: Ledger, team: str):
    async def block() -> list[str]:
        async with areserving(ledger) as taken:
            await taken.submitted("task-1")
        async with areserving(ledger) as done:
            await done.submitted("task-2")
            await done.commit(usd("0.3"), settled_by="provider")
        async with areserving(ledger) as failed:
            await failed.roll_back("the provider says that it failed")
        return [taken.id, done.id, failed.id]

    ids = asyncio.run(block())
    taken, done, failed = (ledger.reservations.get(one) for one in ids)
    assert (taken.state, taken.task_id, taken.held) == (State.SUBMITTED, "task-1", usd("0.5"))
    assert (done.committed, done.settled_by) == (usd("0.3"), "provider")
    assert (failed.state, failed.problem) == (
        State.ROLLED_BACK,
        "the provider says that it failed",
    )


@pytest.mark.parametrize(
    "error", [OwnClientError("read timed out"), TimeoutError(), asyncio.CancelledError()]
)
@pytest.mark.parametrize("words", [(), ("task-1",)])
def test_any_exception_keeps_the_credits(
    ledger: Ledger, team: str, error: BaseException, words: tuple[str, ...]
):
    reserved = areserving(ledger, not_sent=(ConnectionRefusedError,))
    with pytest.raises(type(error)):
        asyncio.run(interrupted(reserved, error, *words))
    kept = ledger.reservations.get(reserved.id)
    assert (kept.state, kept.held) == (State.IN_DOUBT, usd("0.5"))


def test_only_what_is_named_as_not_sent_gives_the_credits_back(ledger: Ledger, team: str):
    first = areserving(ledger, not_sent=OwnClientError)
    with pytest.raises(OwnClientError):
        asyncio.run(interrupted(first, OwnClientError("refused")))
    assert_given_back(ledger)
    second = areserving(ledger, not_sent=OwnClientError)
    with pytest.raises(OwnClientError):
        asyncio.run(interrupted(second, OwnClientError("refused"), "task-1"))
    assert ledger.reservations.get(second.id).state is State.IN_DOUBT


def test_a_block_that_is_refused_is_not_entered(ledger: Ledger, team: str):
    async def block(**more: Any) -> None:
        async with areserving(ledger, **more):
            pytest.fail("the block was entered")

    with pytest.raises(InsufficientCreditsError):
        asyncio.run(block(cost="2.000001"))
    ledger.reserve("team", usd("0.5"), key="shot-1")
    with pytest.raises(ConflictError):
        asyncio.run(block(cost="0.6", key="shot-1"))


def test_a_key_that_was_used_before_sends_nothing_again(ledger: Ledger, team: str):
    async def block() -> None:
        async with areserving(ledger, key="shot-1") as reserved:
            await reserved.submitted("task-1")

    asyncio.run(block())
    with pytest.raises(StateError):
        asyncio.run(block())
    assert len(ledger.reservations.latest()) == 1


# Cancelled and timed out


@pytest.mark.parametrize("words", [(), ("task-1",)])
def test_a_time_out_around_a_block_leaves_its_job_in_doubt(
    ledger: Ledger, team: str, words: tuple[str, ...]
):
    async def block() -> AsyncReserving:
        is_there = asyncio.Event()
        reserved = areserving(ledger)

        async def waiting() -> None:
            async with reserved:
                for word in words:
                    await reserved.submitted(word)
                is_there.set()
                await asyncio.sleep(60)

        task = asyncio.ensure_future(waiting())
        await is_there.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0.01)
        return reserved

    kept = ledger.reservations.get(asyncio.run(block()).id)
    assert (kept.state, kept.held) == (State.IN_DOUBT, usd("0.5"))
    assert kept.task_id == (words[0] if words else None)


@pytest.mark.parametrize("turns", range(12))
def test_whoever_is_cancelled_while_reserving_has_reserved_nothing(
    ledger: Ledger, team: str, turns: int
):
    """Cancelled after so many turns of the loop: before, in the middle of, and after reserving."""

    async def block() -> bool:
        is_entered = False

        async def waiting() -> None:
            nonlocal is_entered
            async with areserving(ledger):
                is_entered = True
                await asyncio.sleep(60)

        task = asyncio.ensure_future(waiting())
        for _ in range(turns):
            await asyncio.sleep(0 if turns < 6 else 0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return is_entered

    if asyncio.run(block()):
        [kept] = ledger.reservations.latest()
        assert kept.state is State.IN_DOUBT
    else:
        assert [one.state for one in ledger.reservations.latest()] in ([], [State.ROLLED_BACK])
        assert_given_back(ledger)


def test_a_commit_that_is_cancelled_is_made_all_the_same(ledger: Ledger, team: str):
    async def block() -> AsyncReserving:
        reserved = areserving(ledger)

        async def committing() -> None:
            async with reserved:
                asyncio.get_running_loop().call_soon(task.cancel)
                await reserved.commit(usd("0.3"))
                pytest.fail("it was cancelled")

        task = asyncio.ensure_future(committing())
        with pytest.raises(asyncio.CancelledError):
            await task
        return reserved

    kept = ledger.reservations.get(asyncio.run(block()).id)
    assert (kept.state, kept.committed) == (State.COMMITTED, usd("0.3"))


def test_a_block_whose_event_loop_is_gone_is_in_doubt(ledger: Ledger, team: str):
    reserved = areserving(ledger)
    is_there = []

    async def waiting() -> None:
        async with reserved:
            is_there.append(True)
            await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    with closing(loop):
        coroutine = waiting()
        task = loop.create_task(coroutine)
        while not is_there:
            loop.run_until_complete(asyncio.sleep(0.001))
        coroutine.close()
        with suppress(BaseException):
            task.cancel()
            loop.run_until_complete(task)
    kept = ledger.reservations.get(reserved.id)
    assert (kept.state, kept.held) == (State.IN_DOUBT, usd("0.5"))


def test_a_word_that_nobody_awaits_is_an_error_and_keeps_the_credits(ledger: Ledger, team: str):
    async def block(say: Callable[[AsyncReserving], object]) -> None:
        async with areserving(ledger) as reserved:
            say(reserved)

    for say in (
        lambda block: block.submitted("task-1"),
        lambda block: block.commit(usd("0.1")),
        lambda block: block.roll_back("no"),
    ):
        with pytest.raises(RuntimeError, match="not awaited"):
            asyncio.run(block(say))
    assert {one.state for one in ledger.reservations.latest()} == {State.IN_DOUBT}


# The event loop


def test_the_event_loop_goes_on_while_the_ledger_waits_for_its_turn(tmp_path: Path):
    url = str(tmp_path / "ledger.sqlite")
    with Ledger(url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("2"))

        async def block() -> None:
            with closing(sqlite3.connect(url, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                task = asyncio.ensure_future(reserved_once())
                # A loop that waited for the file would not turn, and nobody would let it go.
                for _ in range(100):
                    await asyncio.sleep(0.001)
                assert not task.done()
                other.execute("ROLLBACK")
            await task

        async def reserved_once() -> None:
            async with areserving(ledger) as reserved:
                await reserved.commit()

        asyncio.run(block())
        assert ledger.wallets.get("team").spent == usd("0.5")


def test_many_blocks_at_once_never_overspend(ledger: Ledger, team: str):
    async def one(number: int) -> bool:
        try:
            async with areserving(ledger, "0.1") as reserved:
                await reserved.submitted(f"task-{number}")
                await reserved.commit()
        except InsufficientCreditsError:
            return False
        return True

    async def many() -> list[bool]:
        return await asyncio.gather(*map(one, range(60)))

    # 2 USD are twenty times 0.1; those that are refused while others hold credits find none left.
    assert sum(asyncio.run(many())) == 20
    assert ledger.wallets.get("team").spent == usd("2")


# The decorator


def per_second(seconds: int) -> Money:
    return Money(usd("0.1").amount * seconds, "USD")


def test_an_async_function_is_awaited_and_charged(ledger: Ledger, team: str):
    @ledger.charged(per_second, wallet=team, project="film")
    async def make(reserved: AsyncReserving, seconds: int) -> str:
        """Make a clip."""
        await asyncio.sleep(0)
        await reserved.submitted("task-1")
        await reserved.commit(usd("0.4"))
        return f"{seconds} s"

    made: Any = make
    assert (make.__name__, make.__doc__) == ("make", "Make a clip.")
    assert asyncio.run(made(5)) == "5 s"
    [kept] = ledger.reservations.latest()
    assert (kept.amount, kept.committed, kept.task_id) == (usd("0.5"), usd("0.4"), "task-1")


def test_an_async_function_that_raises_is_in_doubt_unless_nothing_was_sent(
    ledger: Ledger, team: str
):
    async def make(reserved: AsyncReserving, seconds: int) -> None:
        raise OwnClientError("refused")

    made: Any = ledger.charged(per_second, wallet=team, not_sent=(OwnClientError,))(make)
    with pytest.raises(OwnClientError):
        asyncio.run(made(5))
    assert_given_back(ledger)
    made = ledger.charged(per_second, wallet=team)(make)
    with pytest.raises(OwnClientError):
        asyncio.run(made(5))
    assert ledger.reservations.latest()[0].state is State.IN_DOUBT


class _Called:
    """What is called like a function, and is one that is async."""

    async def __call__(self, reserved: Any, seconds: int) -> str:
        await reserved.commit()
        return "made"

    async def method(self, reserved: Any, seconds: int) -> str:
        return await self(reserved, seconds)


async def _shot(take: str, reserved: AsyncReserving, seconds: int) -> str:
    await reserved.commit()
    return take


@pytest.mark.parametrize(
    "function",
    [
        _Called(),
        _Called().method,
        partial(_shot, "made"),
        partial(_Called()),
        staticmethod(partial(_shot, "made")),
    ],
)
def test_every_async_form_that_can_be_told_is_awaited(ledger: Ledger, team: str, function: Any):
    made: Any = ledger.charged(per_second, wallet=team)(function)
    assert asyncio.run(made(5)) == "made"
    assert ledger.wallets.get(team).spent == usd("0.5")


def test_what_turns_out_to_be_unfinished_work_is_refused_and_charges_nothing(
    ledger: Ledger, team: str
):
    called = []

    async def sends() -> None:
        called.append("sent")

    def counts() -> Iterator[int]:
        called.append("sent")
        yield 1

    async def both() -> AsyncIterator[int]:
        called.append("sent")
        yield 1

    async def forgets(_: Any, seconds: int) -> Any:
        return sends()

    functions: list[Callable[..., Any]] = [
        lambda _, seconds: sends(),
        lambda _, seconds: counts(),
        lambda _, seconds: both(),
        partial(lambda take, _, seconds: sends(), "take"),
    ]
    for function in functions:
        with pytest.raises(TypeError, match="has not run yet"):
            ledger.charged(per_second, wallet=team)(function)(1)
    made: Any = ledger.charged(per_second, wallet=team)(forgets)
    with pytest.raises(TypeError, match="has not run yet"):
        asyncio.run(made(1))
    assert called == []
    assert {one.state for one in ledger.reservations.latest()} == {State.IN_DOUBT}
    assert ledger.wallets.get(team).spent == usd("0")


class _Counts:
    def __call__(self, reserved: Any, seconds: int) -> Iterator[int]:
        yield seconds


class _CountsLater:
    async def __call__(self, reserved: Any, seconds: int) -> AsyncIterator[int]:
        yield seconds


async def _later(take: str, reserved: Any, seconds: int) -> AsyncIterator[int]:
    yield seconds


@pytest.mark.parametrize(
    "function", [_Counts(), _CountsLater(), partial(_later, "take"), partial(_Counts())]
)
def test_every_generator_is_refused_before_it_is_called(ledger: Ledger, team: str, function: Any):
    with pytest.raises(TypeError, match="inside it instead"):
        ledger.charged(per_second, wallet=team)(function)


def test_a_generator_is_named_in_its_refusal(ledger: Ledger, team: str):
    nameless = _Counts()
    for function, name in ((_later, "_later"), (nameless, str(nameless))):
        with pytest.raises(TypeError) as refused:
            ledger.charged(per_second, wallet=team)(function)
        assert str(refused.value).startswith(f"{name} is a generator")


def test_a_cost_that_has_to_be_awaited_is_refused_before_anything_is_reserved(
    ledger: Ledger, team: str
):
    async def price(seconds: int) -> Money:
        return usd("1")

    odd: Any = price
    with pytest.raises(TypeError, match="plain function"):
        ledger.charged(odd, wallet=team)(lambda _, seconds: None)(5)
    assert ledger.reservations.latest() == []


# Mixed up, or asked for with what cannot be


def test_each_form_names_the_other_where_they_are_mixed_up(ledger: Ledger, team: str):
    plain: Any = ledger.reserving(usd("1"), wallet=team)
    later: Any = areserving(ledger)

    async def mixed() -> None:
        async with plain:
            pytest.fail("the block was entered")

    with pytest.raises(TypeError, match="areserving"):
        asyncio.run(mixed())
    with pytest.raises(TypeError, match=r"ledger\.reserving"), later:
        pytest.fail("the block was entered")
    assert ledger.reservations.latest() == []


class _AsyncClient:
    """A client whose calls have to be awaited."""

    async def request(self, method: str, path: str) -> None: ...


def test_an_async_client_is_refused_by_metered_with_what_takes_it(ledger: Ledger, team: str):
    from runapi.kling import KlingClient

    odd: Any = _AsyncClient()
    for client in (odd, KlingClient(api_key="key", http_client=odd)):
        with pytest.raises(ConfigError, match="waits itself") as told:
            metered(client, ledger, wallet=team)
        assert "areserving" in (told.value.hint or "")


def test_arguments_that_cannot_be_are_refused_at_once(ledger: Ledger, team: str):
    from runapi.kling import KlingClient

    odd: Any = "1 USD"
    client = KlingClient(api_key="key")
    for refused in (
        lambda: ledger.reserving(usd("1"), wallet=team, ceiling=odd),
        lambda: areserving(ledger, ceiling=odd),
        lambda: ledger.charged(per_second, wallet=team, ceiling=odd),
        lambda: metered(client, ledger, wallet=team, ceiling=odd),
        lambda: ledger.reserve(team, usd("1"), ceiling=odd),
    ):
        with pytest.raises(AmountError, match="ceiling"):
            refused()
    for unknown in (
        lambda: ledger.charged(per_second, wallet="typo"),
        lambda: metered(client, ledger, wallet="typo"),
    ):
        with pytest.raises(NotFoundError, match="typo"):
            unknown()
    with pytest.raises(ConfigError, match="wallet"):
        ledger.reserving(usd("1"), wallet="")
    for types in ("ConnectError", [OSError], (OSError, "typo")):
        given: Any = types
        with pytest.raises(TypeError, match="not_sent"):
            ledger.reserving(usd("1"), wallet=team, not_sent=given)
    scope: Any = {"project": "film"}
    with pytest.raises(ConfigError, match="Scope"):
        ledger.budgets.set("film", usd("1"), scope=scope)
    assert ledger.reservations.latest() == []


def test_an_instant_without_a_zone_is_refused_with_a_sentence(ledger: Ledger, team: str):
    naive = datetime(2027, 1, 1)  # noqa: DTZ001 - that is what is refused
    for refused in (
        lambda: ledger.reserve(team, usd("1"), expires_at=naive),
        lambda: ledger.budgets.all(at=naive),
        lambda: ledger.reservations.at_provider("crun", since=naive),
    ):
        with pytest.raises(ConfigError, match="no time zone"):
            refused()
    assert ledger.reservations.latest() == []


def test_the_words_of_an_async_block_are_those_of_a_plain_one():
    """One set of rules: what one block can say, the other can."""

    def words(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert words(AsyncReserving) == words(Reserving) - {"asked", "begin", "never_began"}
