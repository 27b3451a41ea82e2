"""Races between real processes, and between threads: never a credit too many, never one too few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from kling_ledger.errors import InsufficientCreditsError, StateError
from kling_ledger.ledger import Ledger, Scope, State
from kling_pricing.money import Money
from tests.ledger_worker import Answer, Nursery, nursery_running
from tests.ledgers import found

CLIP = Money.parse("0.675 USD")
CHARGED = Money.parse("0.4 USD")
NOTHING = Money.zero("USD")

PROCESSES = (2, 8, 32)
OFTEN = pytest.mark.parametrize(
    "attempt", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 20))]
)
"""Once, and twenty times in the longer sweep."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with nursery_running() as running:
        yield running


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    """A wallet that holds exactly 100 clips' worth, on each engine in turn."""
    with Ledger(empty_url, actor="tester") as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", clips(100))
        yield opened
        assert opened.verify().findings == ()


def clips(count: int) -> Money:
    return Money.from_micro(count * CLIP.micro, "USD")


def together(nursery: Nursery, ledger: Ledger, processes: int, **command: object) -> Counter[str]:
    """Give many processes one command at once; return the sums of what they count."""
    told = nursery.run([{"path": ledger.database.url, **command}] * processes)
    return sum((Counter(answer) for answer in told), Counter())


def reserving(wallet: str = "team", **given: object) -> Answer:
    return {"do": "reserve", "wallet": wallet, "amount": str(CLIP), **given}


def submitted(ledger: Ledger) -> str:
    reservation_id = ledger.reserve("team", CLIP).id
    ledger.mark_submitting(reservation_id)
    return ledger.mark_submitted(reservation_id, f"task of {reservation_id}").id


def count(ledger: Ledger, query: str) -> int:
    return int(found(ledger, f"SELECT COUNT(*) AS n FROM {query}")[0]["n"])


# --- never a clip too many, never one too few --------------------------------------------------


@OFTEN
@pytest.mark.parametrize("processes", PROCESSES)
def test_processes_are_admitted_exactly_what_the_wallet_holds(nursery, ledger, processes, attempt):
    told = together(nursery, ledger, processes, **reserving(tries=128 // processes))
    assert told == {"admitted": 100, "insufficient_credits": 28}
    assert ledger.wallets.get("team").available == NOTHING


@OFTEN
@pytest.mark.parametrize("processes", PROCESSES)
def test_processes_are_admitted_exactly_what_a_budget_allows(nursery, ledger, processes, attempt):
    ledger.wallets.fund("team", clips(100))
    ledger.budgets.set("all", clips(100), window="month")
    told = together(nursery, ledger, processes, **reserving(tries=128 // processes))
    assert told == {"admitted": 100, "budget": 28}
    assert ledger.budgets.get("all").left == NOTHING


LEVELS = (
    ("a", Scope(project="a/")),
    ("b", Scope(project="a/b/")),
    ("c", Scope(project="a/b/c/")),
    ("wallet", Scope(wallet="team")),
)


def set_levels(ledger: Ledger, tight: str) -> None:
    """Set budgets on four levels, one of which allows exactly 100 clips, the others 101."""
    ledger.wallets.fund("team", clips(100))
    for name, scope in LEVELS:
        ledger.budgets.set(name, clips(100 if name == tight else 101), scope=scope)


@OFTEN
@pytest.mark.parametrize(
    ("processes", "tight"), [(2, "a"), (8, "a"), (8, "b"), (8, "c"), (8, "wallet"), (32, "c")]
)
def test_of_budgets_on_four_levels_the_tightest_admits_exactly_what_it_allows(
    nursery, ledger, processes, tight, attempt
):
    set_levels(ledger, tight)
    asked = reserving(tries=128 // processes, project="a/b/c/film")
    assert together(nursery, ledger, processes, **asked) == {"admitted": 100, "budget": 28}
    assert ledger.budgets.get(tight).left == NOTHING
    assert {status.reserved for status in ledger.budgets.all()} == {clips(100)}


@OFTEN
def test_processes_below_different_projects_share_exactly_what_the_top_allows(
    nursery, ledger, attempt
):
    set_levels(ledger, "a")
    projects = ["a/b/c/film", "a/b/film", "a/film", "a/b/c/d/film"]
    commands = [
        {"path": ledger.database.url, **reserving(tries=16, project=projects[number % 4])}
        for number in range(8)
    ]
    told = sum((Counter(answer) for answer in nursery.run(commands)), Counter())
    assert told == {"admitted": 100, "budget": 28}
    below = ledger.budgets.get("c").reserved
    assert (
        below <= ledger.budgets.get("b").reserved <= ledger.budgets.get("a").reserved == clips(100)
    )


@OFTEN
def test_threads_of_processes_are_admitted_exactly_what_the_wallet_holds(nursery, ledger, attempt):
    told = together(nursery, ledger, 4, **reserving(tries=32, threads=8))
    assert told == {"admitted": 100, "insufficient_credits": 28}


@OFTEN
def test_batches_are_admitted_whole_as_often_as_they_fit(nursery, ledger, attempt):
    ledger.wallets.fund("team", clips(100))
    ledger.budgets.set("all", clips(100))
    told = together(nursery, ledger, 8, **reserving(tries=6, threads=2, batch=3))
    assert told == {"admitted": 33, "budget": 15}
    assert ledger.budgets.get("all").left == CLIP


def test_processes_that_want_the_last_clip_get_it_once(nursery, ledger):
    for _ in range(99):
        ledger.reserve("team", CLIP)
    told = together(nursery, ledger, 8, **reserving(tries=1))
    assert told == {"admitted": 1, "insufficient_credits": 7}


# --- one end, whoever calls --------------------------------------------------------------------


def calls(ledger: Ledger, reservation_id: str, *ways: str) -> Answer:
    """A hundred calls in all, from five processes with as many threads as the engine serves."""
    threads = 20 if ledger.database.url.startswith("sqlite") else 10
    return {
        "do": "end",
        "reservation": reservation_id,
        "ways": list(ways),
        "threads": threads,
        "calls": 20,
        "amount": str(CHARGED),
    }


def spends(ledger: Ledger) -> int:
    return count(ledger, "transfer WHERE credit_account LIKE 'provider/%'")


def frees(ledger: Ledger) -> int:
    return count(ledger, "transfer WHERE kind IN ('return', 'roll_back', 'expire')")


@OFTEN
def test_of_a_hundred_commits_one_is_the_charge(nursery, ledger, attempt):
    one = submitted(ledger)
    assert together(nursery, ledger, 5, **calls(ledger, one, "commit")) == {"commit": 100}
    assert (spends(ledger), frees(ledger)) == (1, 1)
    assert ledger.wallets.get("team").spent == ledger.reservations.get(one).committed == CHARGED
    assert ledger.wallets.get("team").reserved == NOTHING


@OFTEN
def test_of_a_hundred_roll_backs_one_gives_the_credits_back(nursery, ledger, attempt):
    one = submitted(ledger)
    assert together(nursery, ledger, 5, **calls(ledger, one, "roll_back")) == {"roll_back": 100}
    assert (spends(ledger), frees(ledger)) == (0, 1)
    assert ledger.wallets.get("team").available == clips(100)


@OFTEN
def test_of_a_hundred_expiries_one_gives_the_credits_back(nursery, ledger, attempt):
    one = ledger.reserve("team", CLIP, expires_at=datetime.now(UTC)).id
    assert together(nursery, ledger, 5, **calls(ledger, one, "expire")) == {"expire": 100}
    assert (spends(ledger), frees(ledger)) == (0, 1)
    assert ledger.reservations.get(one).state is State.EXPIRED


@OFTEN
def test_of_commits_and_roll_backs_each_takes_effect_once_at_most(nursery, ledger, attempt):
    one = submitted(ledger)
    told = together(nursery, ledger, 5, **calls(ledger, one, "commit", "roll_back"))
    assert told["commit"] == 50
    assert told["roll_back"] + told["roll_back refused"] == 50
    assert (spends(ledger), frees(ledger)) == (1, 1)
    assert ledger.wallets.get("team").spent == CHARGED
    assert ledger.reservations.get(one).state is State.COMMITTED


@OFTEN
def test_of_all_ends_at_once_one_frees_and_one_charges(nursery, ledger, attempt):
    one = ledger.reserve("team", CLIP, expires_at=datetime.now(UTC)).id
    told = together(nursery, ledger, 5, **calls(ledger, one, "expire", "commit", "roll_back"))
    assert told["commit"] == 35
    assert told["expire"] == 35
    assert (spends(ledger), frees(ledger)) == (1, 1)
    assert ledger.wallets.get("team").available == clips(100) - CHARGED


@OFTEN
def test_of_a_hundred_parts_and_refunds_under_a_key_one_counts(nursery, ledger, attempt):
    one = submitted(ledger)
    together(nursery, ledger, 5, **calls(ledger, one, "part"))
    assert ledger.reservations.get(one).committed == CHARGED
    together(nursery, ledger, 5, **calls(ledger, one, "refund"))
    assert ledger.reservations.get(one).refunded == CHARGED
    assert ledger.wallets.get("team").spent == NOTHING
    assert ledger.wallets.get("team").reserved == CLIP - CHARGED


@OFTEN
def test_of_a_hundred_callers_one_may_begin_to_submit(nursery, ledger, attempt):
    one = ledger.reserve("team", CLIP).id
    told = together(nursery, ledger, 5, **calls(ledger, one, "submit"))
    assert told == {"submit": 1, "submit refused": 99}


# --- one key, one effect -----------------------------------------------------------------------


def test_processes_that_reserve_under_one_key_share_a_reservation(nursery, ledger):
    command = {"do": "reserve_with_key", "wallet": "team", "amount": str(CLIP), "key": "clip 1"}
    told = nursery.run([{"path": ledger.database.url, "threads": 5, **command}] * 8)
    assert len({one for answer in told for one in answer["ids"]}) == 1
    assert ledger.wallets.get("team").reserved == CLIP


def test_processes_that_fund_under_one_key_fund_once(nursery, ledger):
    command = {"do": "fund", "wallet": "team", "amount": "1 USD", "key": "invoice 7"}
    nursery.run([{"path": ledger.database.url, **command}] * 8)
    assert ledger.wallets.get("team").posted == Money.parse("68.5 USD")


def test_processes_that_fund_under_no_common_key_lose_nothing(nursery, ledger):
    command = {"do": "fund", "wallet": "team", "amount": "1 USD"}
    url = ledger.database.url
    nursery.run([{"path": url, "key": f"invoice {number}", **command} for number in range(8)])
    assert ledger.wallets.get("team").posted == Money.parse("75.5 USD")


def test_processes_that_create_one_wallet_create_it_once(nursery, ledger):
    command = {"do": "create_wallet", "wallet": "new", "unit": "USD"}
    told = nursery.run([{"path": ledger.database.url, **command}] * 8)
    assert len({answer["wallet"] for answer in told}) == 1


def test_processes_may_all_open_the_same_new_database_at_once(nursery, database_url):
    command = {"do": "verify", "path": database_url, "opens_together": True}
    assert nursery.run([command] * 8) == [{"is_clean": True}] * 8


# --- anything at once --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("processes", "calls"), [(8, 60), pytest.param(32, 300, marks=pytest.mark.slow)]
)
def test_processes_that_call_anything_at_random_leave_a_ledger_that_is_right(
    nursery, ledger, processes, calls
):
    ledger.budgets.set("films", clips(20), scope=Scope(project="film/"))
    command = {"do": "live", "path": ledger.database.url, "wallet": "team", "calls": calls}
    told = nursery.run([{"seed": seed, **command} for seed in range(processes)])
    assert all(sum(answer.values()) == calls for answer in told)
    assert all(answer["done"] for answer in told)


def test_saturated_processes_all_make_progress(nursery, ledger):
    ledger.wallets.fund("team", clips(900))
    command = {"do": "pairs", "wallet": "team", "amount": str(CLIP), "count": 25}
    told = nursery.run([{"path": ledger.database.url, **command}] * 8)
    assert told == [{"pairs": 25}] * 8
    assert ledger.wallets.get("team").spent == clips(200)


# --- what another process sees -----------------------------------------------------------------


def test_another_process_sees_that_a_job_is_being_submitted(nursery, ledger):
    one = ledger.reserve("team", CLIP).id
    ledger.mark_submitting(one)
    command = {"do": "show", "path": ledger.database.url, "reservation": one}
    assert nursery.run([command]) == [{"state": "submitting"}]


def test_a_process_that_ends_after_marking_leaves_the_job_submitting(nursery, ledger):
    one = ledger.reserve("team", CLIP).id
    command = {"do": "submit_and_die", "path": ledger.database.url, "reservation": one}
    assert nursery.run([command]) == [{"exit": 9}]
    assert ledger.reservations.get(one).state is State.SUBMITTING
    assert ledger.wallets.get("team").reserved == CLIP


# --- threads that share a ledger ---------------------------------------------------------------


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
    assert ledger.wallets.get("team").available == NOTHING


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
    assert ledger.wallets.get("team").spent == clips(16)
