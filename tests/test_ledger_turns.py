"""Turns: threads share a write, processes take turns, and what is refused spoils nobody's work."""

from __future__ import annotations

import _thread
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from kling_ledger.errors import (
    ConflictError,
    DatabaseError,
    InsufficientCreditsError,
    StateError,
)
from kling_ledger.ledger import Change, Ledger, State
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.engines.turns import FileTurn
from tests.ledgers import found, make_empty, unchanged, usd
from tests.waiting import until

PATIENCE_S = 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(str(path), actor="ada") as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("10"))
        yield opened
        assert opened.verify().is_clean


@contextmanager
def others_turn(path: Path) -> Iterator[None]:
    """Hold the turn as another process would: whoever wants to write waits."""
    turn = FileTurn(path)
    with turn:
        yield
    turn.close()


@contextmanager
def other_process_writing(path: Path) -> Iterator[Callable[[], bool]]:
    """Take a turn in another process; what is given says whether it had it."""
    code = (
        f"import fcntl; [fcntl.flock(open({str(path)!r} + end), 2) for end in ('-next', '-turn')]"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield lambda: child.poll() == 0
    finally:
        child.kill()
        child.wait(PATIENCE_S)


def together(ledger: Ledger, calls: list[Callable[[], object]]) -> list[object | Exception]:
    """Make calls in their order while another thread writes: they wait and are written next."""
    is_writing, may_go = threading.Event(), threading.Event()

    def write_for_long(_: Transaction) -> None:
        is_writing.set()
        may_go.wait(PATIENCE_S)

    with ThreadPoolExecutor(len(calls) + 1) as threads:
        threads.submit(ledger.database.write, write_for_long)
        is_writing.wait(PATIENCE_S)
        futures: list[Future[object]] = []
        for call in calls:
            futures.append(threads.submit(call))
            time.sleep(0.01)
        may_go.set()
        return [future.exception(PATIENCE_S) or future.result() for future in futures]


def kinds(outcomes: list[object | Exception]) -> list[str]:
    return [type(one).__name__ for one in outcomes]


# --- many threads, one write ---------------------------------------------------------------


def test_operations_that_wait_share_one_transaction(ledger):
    transactions: list[Transaction] = []
    together(ledger, [partial(ledger.database.write, transactions.append)] * 9)
    assert len(transactions) == 9
    assert len({id(one) for one in transactions}) == 1


def test_of_those_that_wait_together_exactly_as_many_are_admitted_as_fit(ledger):
    outcomes = together(ledger, [lambda: ledger.reserve("team", usd("3"))] * 6)
    assert sorted(kinds(outcomes)) == ["InsufficientCreditsError"] * 3 + ["Reservation"] * 3
    assert ledger.wallets.get("team").available == usd("1")


def test_a_refused_operation_leaves_no_trace_and_spoils_no_other(ledger):
    held = ledger.reserve("team", usd("1")).id
    outcomes = together(
        ledger,
        [
            lambda: ledger.reserve("team", usd("1"), key="first"),
            lambda: ledger.wallets.fund("team", usd("1")),
            lambda: ledger.reserve("team", usd("100"), key="too much"),
            lambda: ledger.reserve("team", usd("2"), key="second"),
            lambda: ledger.mark_submitted(held, "task-1"),
            lambda: ledger.reserve("team", usd("3"), key="first"),
            lambda: ledger.roll_back(held, "not wanted"),
        ],
    )
    assert kinds(outcomes) == [
        "Reservation",
        "Wallet",
        "InsufficientCreditsError",
        "Reservation",
        "StateError",
        "ConflictError",
        "Reservation",
    ]
    keys = found(ledger, "SELECT key FROM idempotency ORDER BY key")
    assert [row["key"] for row in keys] == ["first", "second"]
    assert ledger.wallets.get("team").reserved == usd("3")


def test_a_group_that_is_refused_as_a_whole_changes_nothing(ledger):
    with unchanged(ledger):
        outcomes = together(ledger, [lambda: ledger.reserve("team", usd("11"))] * 5)
    assert {*kinds(outcomes)} == {"InsufficientCreditsError"}


def test_an_operation_that_fails_half_way_is_undone_alone(ledger):
    def half(transaction: Transaction) -> None:
        transaction.run("UPDATE wallet SET funded_micro = 7")
        raise StateError("res_none", state="open", change="closed")

    def broken(transaction: Transaction) -> None:
        transaction.run("UPDATE wallet SET funded_micro = 7")
        transaction.run("UPDATE nothing SET x = 1")

    outcomes = together(
        ledger,
        [
            lambda: ledger.reserve("team", usd("1")),
            lambda: ledger.database.write(half),
            lambda: ledger.reserve("team", usd("2")),
            lambda: ledger.database.write(broken),
            lambda: ledger.reserve("team", usd("3")),
        ],
    )
    assert kinds(outcomes) == [
        "Reservation",
        "StateError",
        "Reservation",
        "DatabaseError",
        "Reservation",
    ]
    assert ledger.wallets.get("team").funded == usd("10")
    assert ledger.wallets.get("team").reserved == usd("6")


def test_one_reservation_ends_once_however_many_wait_to_end_it(ledger):
    held = ledger.reserve("team", usd("3")).id
    calls: list[Callable[[], object]] = [lambda: ledger.commit(held, usd("1"))] * 4
    calls += [lambda: ledger.roll_back(held, "not wanted")] * 4
    outcomes = together(ledger, calls)
    assert kinds(outcomes) == ["Reservation"] * 4 + ["StateError"] * 4
    assert ledger.wallets.get("team").posted == usd("9")


def test_one_key_is_one_reservation_however_many_wait_with_it(ledger):
    calls = [lambda: ledger.reserve("team", usd("1"), key="clip 1").id] * 8
    assert len(set(together(ledger, calls))) == 1
    assert ledger.wallets.get("team").reserved == usd("1")


def test_each_caller_gets_the_answer_to_its_own_question(ledger):
    amounts = [usd(f"0.{number}") for number in range(1, 10)]
    calls: list[Callable[[], object]] = [
        partial(lambda amount: ledger.reserve("team", amount).amount, amount) for amount in amounts
    ]
    assert together(ledger, calls) == amounts


# --- Ctrl-C --------------------------------------------------------------------------------


@contextmanager
def ctrl_c_soon() -> Iterator[None]:
    """Press Ctrl-C in the main thread, which waits by then."""
    presser = threading.Timer(0.1, _thread.interrupt_main)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    presser.join(PATIENCE_S)


def test_ctrl_c_while_another_process_has_the_turn_writes_nothing(ledger, path):
    with unchanged(ledger):
        with others_turn(path), ctrl_c_soon():
            ledger.reserve("team", usd("1"))
        with other_process_writing(path) as is_done:
            until(is_done)
    assert ledger.reserve("team", usd("1")).is_open


def test_ctrl_c_while_another_thread_writes_takes_only_ones_own_work_back(ledger):
    is_writing, may_go = threading.Event(), threading.Event()

    def write_for_long(transaction: Transaction) -> None:
        is_writing.set()
        may_go.wait(PATIENCE_S)
        transaction.run("UPDATE wallet SET actor = 'bob'")

    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(ledger.database.write, write_for_long)
        is_writing.wait(PATIENCE_S)
        with ctrl_c_soon():
            ledger.reserve("team", usd("2"))
        may_go.set()
        other.result(PATIENCE_S)
    assert ledger.wallets.get("team").reserved == usd("0")
    assert found(ledger, "SELECT actor FROM wallet") == [{"actor": "bob"}]
    assert ledger.reserve("team", usd("2")).is_open


def test_ctrl_c_while_ones_own_work_is_written_lets_it_end(ledger):
    def write_for_long(transaction: Transaction) -> None:
        time.sleep(0.3)
        transaction.run("UPDATE wallet SET actor = 'bob'")

    with ctrl_c_soon():
        ledger.database.write(write_for_long)
    assert ledger.reserve("team", usd("1")).is_open
    assert found(ledger, "SELECT actor FROM wallet") == [{"actor": "bob"}]


def test_ctrl_c_within_one_operation_of_a_group_leaves_the_others_whole(ledger):
    def interrupted(transaction: Transaction) -> None:
        transaction.run("UPDATE wallet SET funded_micro = 7")
        raise KeyboardInterrupt

    def stop() -> object:
        try:
            return ledger.database.write(interrupted)
        except KeyboardInterrupt as error:
            return error

    calls = [lambda: ledger.reserve("team", usd("1"))] * 2
    outcomes = together(ledger, [calls[0], stop, *calls])
    assert kinds(outcomes) == ["Reservation", "KeyboardInterrupt", "Reservation", "Reservation"]
    assert ledger.wallets.get("team").reserved == usd("3")
    assert ledger.wallets.get("team").funded == usd("10")


# --- turns between processes ---------------------------------------------------------------


def test_whoever_writes_waits_for_the_turn_of_another(ledger, path):
    with ThreadPoolExecutor(1) as threads:
        with others_turn(path):
            future = threads.submit(ledger.reserve, "team", usd("1"))
            time.sleep(0.05)
            assert not future.done()
        assert future.result(PATIENCE_S).is_open


def test_whoever_reads_waits_for_nobody(ledger, path):
    with others_turn(path):
        assert ledger.wallets.get("team").posted == usd("10")
        assert ledger.verify().is_clean


def test_two_that_take_turns_never_have_it_at_once(path):
    has_it = 0
    most = 0

    def take(_: int) -> None:
        nonlocal has_it, most
        turn = FileTurn(path)
        for _ in range(20):
            with turn:
                has_it += 1
                most = max(most, has_it)
                time.sleep(0)
                has_it -= 1
        turn.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(take, range(4)))
    assert most == 1


def test_a_turn_is_given_back_where_what_was_done_in_it_failed(path):
    first, second = FileTurn(path), FileTurn(path)
    with pytest.raises(ValueError, match="failed"), first:
        raise ValueError("failed")
    with second:
        pass
    first.close()
    second.close()


def test_a_turn_of_a_process_that_died_is_free(ledger, path):
    child = os.posix_spawnp(
        "python3",
        ["python3", "-c", f"import fcntl; fcntl.flock(open({str(path) + '-turn'!r}), 2)"],
        os.environ,
    )
    os.waitpid(child, 0)
    assert ledger.reserve("team", usd("1")).is_open


# --- closed --------------------------------------------------------------------------------


def open_files(path: Path) -> list[str]:
    found: list[str] = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))  # noqa: PTH115
        except OSError:
            continue
    return [name for name in found if name.startswith(str(path))]


def test_a_closed_ledger_holds_no_file_open_and_may_be_closed_again(path):
    ledger = Ledger(str(path))
    ledger.wallets.create("team", "USD")
    ledger.wallets.all()
    assert open_files(path)
    ledger.close()
    ledger.close()
    assert open_files(path) == []


def test_a_closed_ledger_leaves_everything_in_its_one_file(path):
    with Ledger(str(path)) as ledger:
        ledger.wallets.create("team", "USD")
    assert not Path(f"{path}-wal").exists()
    for name in ("next", "turn"):
        # Who had the turn last is all that they say.
        assert Path(f"{path}-{name}").read_text().startswith(f"{os.getpid()} ")


# --- on a server ---------------------------------------------------------------------------


def test_threads_on_a_server_spoil_nobodys_work_either(postgres_ledger):
    make_empty(postgres_ledger)
    with Ledger(postgres_ledger) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("1"))

        def attempt(number: int) -> str:
            key = f"clip {number // 2}"
            try:
                held = ledger.reserve("team", usd("0.1"), key=key)
                ledger.settle([Change(held.id, State.COMMITTED, usd("0.1"))])
            except (InsufficientCreditsError, ConflictError, DatabaseError) as error:
                return error.code
            return "done"

        with ThreadPoolExecutor(8) as threads:
            outcomes = list(threads.map(attempt, range(40)))
        assert outcomes.count("done") == 20
        assert outcomes.count("insufficient_credits") == 20
        assert ledger.wallets.get("team").posted == usd("0")
        assert ledger.verify().findings == ()
