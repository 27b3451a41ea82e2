"""Races between real processes, and between threads: never a credit too many, never one too few."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.errors import InsufficientCreditsError, StateError
from kling_ledger.ledger import Ledger, State
from kling_pricing.money import Money

PROGRAM = Path(__file__).with_name("ledger_worker.py")
CLIP = Money.parse("0.675 USD")


class Worker:
    """One process that runs ledger_worker.py, spoken to line by line."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the process ended with {self.process.wait()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> int:
        """Let the process finish and return its exit status."""
        self.process.communicate()
        return self.process.returncode


def started(count: int) -> list[Worker]:
    workers = [Worker() for _ in range(count)]
    assert all(worker.answer() == {"is_ready": True} for worker in workers)
    return workers


def together(workers: list[Worker], **command: Any) -> list[dict[str, Any]]:
    """Give all the same command at once and return their answers; none of them may fail."""
    for worker in workers:
        worker.ask(**command)
    answers = [worker.answer() for worker in workers]
    assert not [answer for answer in answers if "error" in answer]
    return answers


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Worker]]:
    running = started(8)
    yield running
    assert [worker.end() for worker in running] == [0] * 8


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ledger.sqlite")


@pytest.fixture
def ledger(path: str) -> Iterator[Ledger]:
    """A wallet that holds exactly 100 clips' worth."""
    with Ledger(path) as opened:
        opened.create_wallet("team", "USD")
        opened.fund_wallet("team", Money.from_micro(100 * CLIP.micro, "USD"))
        yield opened
        assert opened.verify().is_clean


def submitted(ledger: Ledger) -> str:
    reservation_id = ledger.reserve("team", CLIP).id
    ledger.mark_submitting(reservation_id)
    return ledger.mark_submitted(reservation_id, f"task of {reservation_id}").id


def count(ledger: Ledger, query: str) -> int:
    with ledger.database.read() as transaction:
        row = transaction.row(f"SELECT COUNT(*) AS n FROM {query}")
    return int(row["n"]) if row else 0


@pytest.mark.parametrize("processes", [2, 8])
def test_processes_are_admitted_exactly_what_the_wallet_holds(workers, ledger, path, processes):
    tries = 160 // processes
    answers = together(
        workers[:processes],
        do="reserve",
        path=path,
        wallet="team",
        amount=str(CLIP),
        tries=tries,
    )
    assert sum(answer["admitted"] for answer in answers) == 100
    assert sum(answer["refused"] for answer in answers) == 60
    assert ledger.wallet("team").available == Money.zero("USD")


def test_processes_that_want_the_last_clip_get_it_once(workers, ledger, path):
    for _ in range(99):
        ledger.reserve("team", CLIP)
    answers = together(workers, do="reserve", path=path, wallet="team", amount=str(CLIP), tries=1)
    assert sorted(answer["admitted"] for answer in answers) == [0] * 7 + [1]


@pytest.mark.parametrize("attempt", range(5))
def test_processes_may_all_open_the_same_new_file_at_once(workers, tmp_path, attempt):
    path = str(tmp_path / f"new-{attempt}.sqlite")
    assert together(workers, do="open_ledger", path=path) == [{"is_clean": True}] * 8


def test_processes_that_create_one_wallet_create_it_once(workers, ledger, path):
    answers = together(workers, do="create_wallet", path=path, wallet="new", unit="USD")
    assert len({answer["wallet"] for answer in answers}) == 1


def test_processes_that_fund_under_one_key_fund_once(workers, ledger, path):
    together(workers, do="fund", path=path, wallet="team", amount="1 USD", key="invoice 7")
    assert ledger.wallet("team").posted == Money.parse("68.5 USD")


def test_processes_that_fund_under_no_common_key_lose_nothing(workers, ledger, path):
    for number, worker in enumerate(workers):
        worker.ask(do="fund", path=path, wallet="team", amount="1 USD", key=f"invoice {number}")
    assert not [answer for answer in [worker.answer() for worker in workers] if "error" in answer]
    assert ledger.wallet("team").posted == Money.parse("75.5 USD")


def test_processes_that_reserve_under_one_key_share_a_reservation(workers, ledger, path):
    answers = together(
        workers, do="reserve_with_key", path=path, wallet="team", amount=str(CLIP), key="clip 1"
    )
    assert len({answer["id"] for answer in answers}) == 1
    assert ledger.wallet("team").reserved == CLIP


@pytest.mark.parametrize("round_", range(3))
def test_of_many_settlements_one_is_the_charge(workers, ledger, path, round_):
    reservation_id = submitted(ledger)
    answers = together(
        workers[:4],
        do="settle",
        path=path,
        reservation=reservation_id,
        amount="0.4 USD",
        tries=5,
    )
    assert len([said for answer in answers for said in answer["accepted"]]) == 20
    assert ledger.reservation(reservation_id).committed == Money.parse("0.4 USD")
    assert ledger.wallet("team").spent == Money.parse("0.4 USD")
    assert count(ledger, "transfer WHERE credit_account LIKE 'provider/%'") == 1


def test_a_settled_reservation_frees_its_credits_once(workers, ledger, path):
    reservation_id = submitted(ledger)
    together(
        workers[:4], do="settle", path=path, reservation=reservation_id, amount="0.4 USD", tries=5
    )
    assert ledger.wallet("team").reserved == Money.zero("USD")
    assert count(ledger, "transfer WHERE kind IN ('return', 'roll_back')") == 1
    assert count(ledger, "job_event WHERE to_state = 'committed'") == 1


def test_another_process_sees_that_a_job_is_being_submitted(workers, ledger, path):
    reservation_id = ledger.reserve("team", CLIP).id
    ledger.mark_submitting(reservation_id)
    answers = together(workers[:1], do="show", path=path, reservation=reservation_id)
    assert answers == [{"state": "submitting"}]


def test_a_process_that_dies_after_marking_leaves_the_job_submitting(ledger, path):
    reservation_id = ledger.reserve("team", CLIP).id
    worker = started(1)[0]
    worker.ask(do="submit_and_die", path=path, reservation=reservation_id)
    assert worker.end() == 9
    assert ledger.reservation(reservation_id).state is State.SUBMITTING
    assert ledger.wallet("team").reserved == CLIP


def test_sixteen_threads_share_one_ledger_and_are_admitted_exactly_what_it_holds(ledger):
    def reserve_ten(_: int) -> int:
        admitted = 0
        for _attempt in range(10):
            try:
                ledger.reserve("team", CLIP)
                admitted += 1
            except InsufficientCreditsError:
                pass
        return admitted

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(reserve_ten, range(16))) == 100
    assert ledger.wallet("team").available == Money.zero("USD")


def test_of_sixteen_threads_one_may_begin_to_submit(ledger):
    reservation_id = ledger.reserve("team", CLIP).id

    def begin(_: int) -> bool:
        try:
            ledger.mark_submitting(reservation_id)
        except StateError:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sorted(threads.map(begin, range(16))) == [False] * 15 + [True]


def test_sixteen_threads_may_each_run_a_job_to_its_end(ledger: Ledger):
    def run(number: int) -> State:
        reservation_id = submitted(ledger)
        if number % 2:
            return ledger.commit(reservation_id, CLIP).state
        return ledger.roll_back(reservation_id, "it failed").state

    with ThreadPoolExecutor(16) as threads:
        ended = list(threads.map(run, range(32)))
    assert ended.count(State.COMMITTED) == 16
    assert ledger.wallet("team").spent == Money.from_micro(16 * CLIP.micro, "USD")
