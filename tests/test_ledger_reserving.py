"""Reserving: every way in which a block of code, or a function, can end."""

from __future__ import annotations

import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from kling_ledger import Ledger
from kling_ledger.errors import (
    BudgetError,
    CeilingError,
    ConfigError,
    ConflictError,
    InsufficientCreditsError,
    NotFoundError,
    StateError,
)
from kling_ledger.ledger import Reserving, State
from kling_pricing import Clip, Money, quote
from kling_pricing.errors import AmountError, KlingError
from tests.ledgers import money, standing, transfers, usd

CLIP = Clip(provider="runapi", model="kling-3.0", seconds=5, resolution="1080p", sound=True)
QUOTE = quote(CLIP, at=datetime(2026, 11, 20, tzinfo=UTC))


class OwnClientError(Exception):
    """What a client of one's own raises."""


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    """An empty ledger, on each engine in turn."""
    with Ledger(empty_url, actor="tester") as opened:
        yield opened
        assert opened.verify().findings == ()


def reserving(ledger: Ledger, cost: str = "0.5", **more: Any) -> Reserving:
    return ledger.reserving(usd(cost), wallet="team", **more)


def interrupted(
    reserved: Reserving, error: BaseException, *words: Callable[[Reserving], object]
) -> None:
    """Run a block that says something and then raises."""
    with reserved:
        for word in words:
            word(reserved)
        raise error


def takes_task_1(reserved: Reserving) -> None:
    reserved.submitted("task-1")


def assert_given_back(ledger: Ledger) -> None:
    assert standing(ledger, "team") == (usd("2"), usd("0"), usd("2"))


# While the block runs


def test_the_reservation_is_submitting_on_disk_while_the_block_runs(ledger: Ledger, team: str):
    with reserving(ledger) as reserved:
        stored = ledger.reservations.get(reserved.id)
        assert (stored.state, stored.held) == (State.SUBMITTING, usd("0.5"))
        assert reserved.reservation == stored
        reserved.roll_back("only looking")


def test_a_quote_is_reserved_with_all_that_it_says(ledger: Ledger, team: str):
    labels = {"shot": "1"}
    with ledger.reserving(QUOTE, wallet=team, project="film/teaser", labels=labels) as reserved:
        pass
    kept = ledger.reservations.get(reserved.id)
    assert (kept.amount, kept.committed) == (usd("1.35"), usd("1.35"))
    assert (kept.project, kept.labels) == ("film/teaser", labels)
    assert (kept.job.provider, kept.job.model, kept.job.seconds) == ("runapi", "kling-3.0", "5")
    assert kept.job.usd == usd("1.35")


def test_nothing_is_reserved_before_the_block_begins(ledger: Ledger, team: str):
    reserved = reserving(ledger)
    with pytest.raises(RuntimeError, match="before the block"):
        _ = reserved.id
    assert ledger.reservations.latest() == []


# How a block can end


def test_a_block_without_a_word_has_cost_what_was_reserved(ledger: Ledger, team: str):
    with reserving(ledger) as reserved:
        pass
    assert (reserved.reservation.state, reserved.reservation.settled_by) == ("committed", "quote")
    assert standing(ledger, team) == (usd("1.5"), usd("0"), usd("1.5"))


def test_a_block_whose_last_word_is_submitted_stays_open(ledger: Ledger, team: str):
    with reserving(ledger) as reserved:
        reserved.submitted("task-1")
    kept = ledger.reservations.get(reserved.id)
    assert (kept.state, kept.task_id, kept.held) == (State.SUBMITTED, "task-1", usd("0.5"))


@pytest.mark.parametrize(
    ("cost", "moved"),
    [
        ("0", ["commit 0", "return 0.5"]),
        ("0.3", ["commit 0.3", "return 0.2"]),
        ("0.5", ["commit 0.5"]),
        ("0.7", ["commit 0.5", "overrun 0.2"]),
        ("2.5", ["commit 0.5", "overrun 2"]),
    ],
)
@pytest.mark.parametrize("is_submitted", [False, True])
def test_committing_charges_what_it_cost_and_returns_the_rest(
    ledger: Ledger, team: str, cost: str, moved: list[str], is_submitted: bool
):
    with reserving(ledger) as reserved:
        if is_submitted:
            reserved.submitted("task-1")
        reserved.commit(usd(cost))
    assert (reserved.reservation.committed, reserved.reservation.settled_by) == (
        usd(cost),
        "person",
    )
    assert [line for line in transfers(ledger)[2:] if not line.endswith(" 0")] == [
        line for line in moved if not line.endswith(" 0")
    ]
    assert ledger.wallets.get(team).available == usd("2") - usd(cost)


def test_an_amount_is_a_persons_word_unless_the_script_names_its_provider(
    ledger: Ledger, team: str
):
    with reserving(ledger) as told:
        told.commit(usd("0.3"), settled_by="provider")
    with reserving(ledger) as said:
        said.commit(usd("0.3"))
    assert (told.reservation.settled_by, said.reservation.settled_by) == ("provider", "person")
    made = ledger.reserve(team, usd("0.5"))
    assert ledger.commit(made.id, usd("0.3")).settled_by == "person"


def test_committing_without_an_amount_charges_what_was_reserved(ledger: Ledger, team: str):
    with reserving(ledger) as reserved:
        reserved.submitted("task-1")
        reserved.commit()
    assert (reserved.reservation.committed, reserved.reservation.settled_by) == (
        usd("0.5"),
        "quote",
    )


@pytest.mark.parametrize("is_submitted", [False, True])
def test_rolling_back_gives_everything_back_with_its_reason(
    ledger: Ledger, team: str, is_submitted: bool
):
    with reserving(ledger) as reserved:
        if is_submitted:
            reserved.submitted("task-1")
        reserved.roll_back("the provider says that it failed")
    kept = ledger.reservations.get(reserved.id)
    assert (kept.state, kept.problem) == (State.ROLLED_BACK, "the provider says that it failed")
    assert_given_back(ledger)


def test_an_exception_that_is_named_as_not_sent_gives_everything_back(ledger: Ledger, team: str):
    block = ledger.reserving(usd("0.5"), wallet=team, not_sent=(OwnClientError,))
    with pytest.raises(OwnClientError, match="refused"), block as reserved:
        raise OwnClientError("refused")
    assert reserved.reservation.state is State.ROLLED_BACK
    assert reserved.reservation.problem == "OwnClientError: refused"
    assert_given_back(ledger)


@pytest.mark.parametrize("error", [OwnClientError("read timed out"), TimeoutError()])
def test_any_other_exception_keeps_the_credits_because_the_job_may_have_been_sent(
    ledger: Ledger, team: str, error: Exception
):
    block = ledger.reserving(usd("0.5"), wallet=team, not_sent=(ConnectionRefusedError,))
    with pytest.raises(type(error)), block as reserved:
        raise error
    kept = ledger.reservations.get(reserved.id)
    assert (kept.state, kept.held) == (State.IN_DOUBT, usd("0.5"))


def test_what_was_taken_is_in_doubt_whatever_is_named_as_not_sent(ledger: Ledger, team: str):
    block = ledger.reserving(usd("0.5"), wallet=team, not_sent=(OwnClientError,))
    with pytest.raises(OwnClientError):
        interrupted(block, OwnClientError(), takes_task_1)
    assert ledger.reservations.get(block.id).state is State.IN_DOUBT


def test_an_exception_after_submitted_leaves_the_job_in_doubt(ledger: Ledger, team: str):
    reserved = reserving(ledger)
    with pytest.raises(OwnClientError):
        interrupted(reserved, OwnClientError(), takes_task_1)
    kept = ledger.reservations.get(reserved.id)
    assert (kept.state, kept.held, kept.problem) == (
        State.IN_DOUBT,
        usd("0.5"),
        "OwnClientError",
    )


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("is_submitted", [False, True])
def test_being_stopped_in_the_middle_leaves_the_job_in_doubt(
    ledger: Ledger, team: str, kind: type[BaseException], is_submitted: bool
):
    reserved = reserving(ledger)
    with pytest.raises(kind):
        interrupted(reserved, kind(), *([takes_task_1] if is_submitted else []))
    kept = ledger.reservations.get(reserved.id)
    assert (kept.state, kept.held) == (State.IN_DOUBT, usd("0.5"))


def test_an_exception_after_the_end_changes_nothing_of_it(ledger: Ledger, team: str):
    committed, rolled_back = reserving(ledger), reserving(ledger)
    with pytest.raises(OwnClientError):
        interrupted(committed, OwnClientError(), lambda block: block.commit(usd("0.3")))
    with pytest.raises(OwnClientError):
        interrupted(rolled_back, OwnClientError(), lambda block: block.roll_back("no"))
    assert ledger.reservations.get(committed.id).committed == usd("0.3")
    assert ledger.reservations.get(rolled_back.id).state is State.ROLLED_BACK


def test_a_job_that_was_taken_is_in_doubt_where_its_task_could_not_be_written(
    ledger: Ledger, team: str
):
    ledger.wallets.fund(team, usd("1"))
    with ledger.reserving(QUOTE, wallet=team) as first:
        first.submitted("task-1")
    with (
        pytest.raises(ConflictError, match="task-1"),
        ledger.reserving(QUOTE, wallet=team) as second,
    ):
        second.submitted("task-1")
    kept = ledger.reservations.get(second.id)
    assert (kept.state, kept.held) == (State.IN_DOUBT, usd("1.35"))


@pytest.mark.parametrize("cost", [money("3 CNY"), usd("-1")])
def test_a_cost_that_cannot_be_leaves_the_job_in_doubt(ledger: Ledger, team: str, cost: Money):
    with pytest.raises(AmountError), reserving(ledger) as reserved:
        reserved.commit(cost)
    assert ledger.reservations.get(reserved.id).state is State.IN_DOUBT


def test_an_exception_in_a_block_whose_job_was_settled_meanwhile_leaves_it_settled(
    ledger: Ledger, team: str
):
    reserved = reserving(ledger)
    with pytest.raises(OwnClientError):
        interrupted(
            reserved,
            OwnClientError(),
            takes_task_1,
            lambda block: ledger.commit(block.id, usd("0.4")),
        )
    assert reserved.reservation.state is State.COMMITTED
    assert ledger.wallets.get(team).spent == usd("0.4")


def test_a_job_that_was_settled_meanwhile_is_not_charged_again(ledger: Ledger, team: str):
    with reserving(ledger) as reserved:
        reserved.submitted("task-1")
        ledger.commit(reserved.id, usd("0.4"))
        reserved.commit(usd("0.4"))
    assert ledger.wallets.get(team).spent == usd("0.4")


KILLED = """
import sys, time
from kling_ledger import Ledger
from kling_pricing import Money
with Ledger(sys.argv[1]) as ledger:
    with ledger.reserving(Money.parse("0.5 USD"), wallet="team") as reserved:
        if sys.argv[2]:
            reserved.submitted(sys.argv[2])
        print(reserved.id, flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows kills in another way")
@pytest.mark.parametrize(
    ("task_id", "state"), [("", State.SUBMITTING), ("task-1", State.SUBMITTED)]
)
def test_a_process_that_is_killed_inside_the_block_is_known_for_it(
    ledger: Ledger, team: str, empty_url: str, task_id: str, state: State
):
    command = [sys.executable, "-c", KILLED, empty_url, task_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        reservation_id = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
    kept = ledger.reservations.get(reservation_id)
    assert (kept.state, kept.held) == (state, usd("0.5"))


# Refused, or asked for before


def test_a_wallet_with_too_little_is_refused_before_the_block(ledger: Ledger, team: str):
    sent = []
    with pytest.raises(InsufficientCreditsError), reserving(ledger, "2.000001"):
        sent.append("something")
    assert sent == []
    assert ledger.reservations.latest() == []


def test_a_budget_and_a_ceiling_refuse_before_the_block(ledger: Ledger, team: str):
    ledger.budgets.set("small", usd("0.4"))
    sent = []
    with pytest.raises(BudgetError), reserving(ledger):
        sent.append("something")
    with pytest.raises(CeilingError), reserving(ledger, "0.3", ceiling=usd("0.2")):
        sent.append("something")
    assert sent == []
    assert_given_back(ledger)


def test_a_wallet_that_is_none_and_a_cost_that_is_none_are_errors(ledger: Ledger, team: str):
    with pytest.raises(NotFoundError), ledger.reserving(usd("1"), wallet="nobody"):
        pytest.fail("the block was entered")
    odd: Any = Decimal(1)
    with pytest.raises(AmountError), ledger.reserving(odd, wallet=team):
        pytest.fail("the block was entered")
    assert ledger.reservations.latest() == []


@pytest.mark.parametrize("end", ["commit", "roll_back", "submitted", "in_doubt"])
def test_a_key_that_was_used_before_sends_nothing_again(ledger: Ledger, team: str, end: str):
    with reserving(ledger, key="shot-1") as first:
        if end == "commit":
            first.commit()
        elif end == "roll_back":
            first.roll_back("no")
        else:
            first.submitted("task-1")
    if end == "in_doubt":
        ledger.mark_in_doubt(first.id, "no verdict")
    before = ledger.reservations.get(first.id)
    with pytest.raises(StateError, match=first.id), reserving(ledger, key="shot-1"):
        pytest.fail("the block was entered")
    assert ledger.reservations.latest() == [before]


def test_a_key_whose_block_still_runs_sends_nothing_again(ledger: Ledger, team: str):
    with reserving(ledger, key="shot-1") as first:
        with pytest.raises(StateError), reserving(ledger, key="shot-1"):
            pytest.fail("the block was entered")
        first.commit(usd("0.3"))
    assert ledger.wallets.get(team).spent == usd("0.3")


def test_a_key_with_another_content_is_an_error(ledger: Ledger, team: str):
    with reserving(ledger, key="shot-1"):
        pass
    with pytest.raises(ConflictError), reserving(ledger, "0.6", key="shot-1"):
        pytest.fail("the block was entered")


def test_one_key_in_many_threads_enters_one_block(ledger: Ledger, team: str):
    def once(_: int) -> bool:
        try:
            with reserving(ledger, key="shot-1"):
                return True
        except StateError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(once, range(8))) == 1
    assert ledger.wallets.get(team).spent == usd("0.5")


# The decorator


def per_second(seconds: int, *, rate: str = "0.1") -> Money:
    """What a clip costs, from the function's own arguments."""
    return Money(usd(rate).amount * seconds, "USD")


def test_a_function_is_charged_what_its_own_arguments_cost(ledger: Ledger, team: str):
    @ledger.charged(per_second, wallet=team, project="film", labels={"shot": "1"})
    def make(reserved: Reserving, seconds: int, *, rate: str = "0.1") -> str:
        assert ledger.reservations.get(reserved.id).state is State.SUBMITTING
        return f"{seconds} s at {rate}"

    assert make(5) == "5 s at 0.1"
    assert make(3, rate="0.2") == "3 s at 0.2"
    made = ledger.reservations.latest()
    assert sorted(str(one.committed) for one in made) == ["0.5 USD", "0.6 USD"]
    assert {one.project for one in made} == {"film"}
    assert made[0].labels == {"shot": "1"}


def test_a_function_is_charged_by_a_quote_too(ledger: Ledger, team: str):
    @ledger.charged(lambda seconds: QUOTE, wallet=team)
    def make(reserved: Reserving, seconds: int) -> None:
        reserved.submitted("task-1")
        reserved.commit(usd("0.6"))

    make(5)
    [made] = ledger.reservations.latest()
    assert (made.amount, made.committed, made.task_id) == (usd("1.35"), usd("0.6"), "task-1")


def test_a_function_that_raises_what_is_not_sent_gives_everything_back(ledger: Ledger, team: str):
    @ledger.charged(per_second, wallet=team, not_sent=(OwnClientError,))
    def make(reserved: Reserving, seconds: int) -> None:
        raise OwnClientError("refused")

    with pytest.raises(OwnClientError, match="refused"):
        make(5)
    assert_given_back(ledger)


def test_a_function_that_is_refused_is_never_called(ledger: Ledger, team: str):
    called: list[int] = []

    @ledger.charged(per_second, wallet=team, ceiling=usd("0.5"))
    def make(reserved: Reserving, seconds: int) -> None:
        called.append(seconds)

    make(5)
    with pytest.raises(CeilingError):
        make(6)
    assert called == [5]


def test_a_function_whose_price_cannot_be_told_is_never_called(ledger: Ledger, team: str):
    def no_price(seconds: int) -> Money:
        raise LookupError(seconds)

    @ledger.charged(no_price, wallet=team)
    def make(reserved: Reserving, seconds: int) -> None:
        pytest.fail("the function was called")

    with pytest.raises(LookupError):
        make(5)
    assert ledger.reservations.latest() == []


def test_a_decorated_function_keeps_its_name_and_may_call_itself(ledger: Ledger, team: str):
    @ledger.charged(per_second, wallet=team)
    def halves(reserved: Reserving, seconds: int) -> list[str]:
        """Make a clip and a shorter one."""
        return [reserved.id, *(halves(seconds // 2) if seconds > 1 else [])]

    assert (halves.__name__, halves.__doc__) == ("halves", "Make a clip and a shorter one.")
    assert len(set(halves(4))) == 3
    assert ledger.wallets.get(team).spent == usd("0.7")


def test_a_generator_is_refused_at_once(ledger: Ledger, team: str):
    def one_by_one(reserved: Reserving, seconds: int) -> Iterator[int]:
        yield seconds

    async def later(reserved: Reserving, seconds: int) -> Any:
        yield seconds

    for function in (one_by_one, later):
        with pytest.raises(TypeError, match="inside it instead"):
            ledger.charged(per_second, wallet=team)(function)


def test_what_no_call_could_be_charged_with_is_refused_when_it_is_decorated(
    ledger: Ledger, team: str
):
    wrong: Any = usd("0.5")
    with pytest.raises(TypeError, match="function of each call's arguments"):
        ledger.charged(wrong, wallet=team)
    for labels in ("shot=s1", {"shot": 1}, {"shot": "a,b"}):
        wrong = labels
        with pytest.raises(ConfigError, match="label"):
            ledger.charged(per_second, wallet=team, labels=wrong)


def test_a_traceback_ends_with_the_hint(ledger: Ledger):
    with pytest.raises(KlingError) as told:
        ledger.reserve("taem", usd("0.5"))
    assert "".join(traceback.format_exception(told.value)).endswith("\nhint: create it first\n")
