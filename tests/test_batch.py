"""Batches: which jobs are the same ones, what is left to do, how many go at once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from kling_ledger.jobs.batch import Batch
from kling_ledger.jobs.batch_jobs import (
    Attempt,
    BatchJob,
    Outcome,
    attempts_to_do,
    content_keys,
    known_outcomes,
)
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import Ledger, State
from kling_ledger.providers import registry
from kling_ledger.providers.base import Provider
from kling_ledger.sandbox import Sandbox, SandboxSettings
from kling_pricing import Money
from kling_pricing.gateways import Request, read_request
from kling_pricing.library import Library
from tests.ledgers import usd
from tests.postgres import PostgresServer
from tests.sandbox_rig import AT, PROVIDERS, UNITS, body

BOOKS = Library()
QUICK = Patience(poll_every_s=0.05, longest_s=20, failing_polls=3, repeat_s=0.05)
OPENED: list[Provider] = []


@pytest.fixture
def rich(ledger: Ledger) -> Ledger:
    """A ledger with a wallet `team` of 1000 USD."""
    ledger.wallets.create("team", "USD")
    ledger.wallets.fund("team", usd("1000"))
    return ledger


@pytest.fixture(autouse=True)
def _close_what_was_opened() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def request(prompt: str = "a lake", provider: str = "runapi", **more: Any) -> Request:
    return read_request(provider, body(provider, prompt, **more))


def jobs_of(*prompts: str, provider: str = "runapi") -> list[BatchJob]:
    requests = [request(prompt, provider) for prompt in prompts]
    keys = content_keys("clips", [(one, None, None) for one in requests])
    return [
        BatchJob(place, one, one.quote(at=AT, book=BOOKS.book(provider)), key)
        for place, (one, key) in enumerate(zip(requests, keys, strict=True), 1)
    ]


def meter(ledger: Ledger, sandbox: Sandbox, provider: str = "runapi", **more: Any) -> Meter:
    key = sandbox.settings.key_of(provider)
    reached = registry.connect(provider, api_key=key, base_url=sandbox.url, timeout_s=10)
    OPENED.append(reached)
    given = {"wallet": "team", "patience": QUICK, "asks_estimate": False, **more}
    return Meter(ledger, reached, **given)


def run(ledger: Ledger, sandbox: Sandbox, jobs: list[BatchJob], **more: Any) -> dict[int, Outcome]:
    """Run what is left to do of some jobs, as a command does."""
    retries = more.pop("retries_failed", False)
    todo = attempts_to_do(jobs, known_outcomes(ledger, jobs), retries_failed=retries)
    meters = {name: meter(ledger, sandbox, name) for name in {job.provider for job in jobs}}
    return Batch(meters, todo, polls_per_s=500, **more).run()


def truth(sandbox: Sandbox) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = httpx.get(f"{sandbox.url}/sandbox/truth").json()["tasks"]
    return tasks


def prompts_taken(sandbox: Sandbox) -> Counter[str]:
    return Counter(task["prompt"] for task in truth(sandbox))


# --- which jobs are the same ones ---------------------------------------------------------------


def test_the_same_content_has_the_same_key_in_the_same_batch_only():
    [key] = content_keys("clips", [(request(), None, None)])
    assert content_keys("clips", [(request(), None, None)]) == [key]
    assert content_keys("others", [(request(), None, None)]) != [key]
    assert content_keys("clips", [(request("a sea"), None, None)]) != [key]
    assert content_keys("clips", [(request(), "film", None)]) != [key]


def test_the_same_content_twice_is_two_jobs_wherever_the_rows_stand():
    row, other = (request(), None, None), (request("a sea"), None, None)
    keys = content_keys("clips", [row, other, row])
    assert len(set(keys)) == 3
    assert set(content_keys("clips", [other, row, row])) == set(keys)


def test_a_key_of_ones_own_is_left_as_it_is():
    assert content_keys("clips", [(request(), None, "shot-1"), (request(), None, "shot-2")]) == [
        "shot-1",
        "shot-2",
    ]


def test_totals_are_by_unit():
    jobs = [*jobs_of("a", "b"), *jobs_of("c", provider="crun")]
    sums = Money.by_unit(one.cost for one in jobs)
    assert {unit: str(amount) for unit, amount in sums.items()} == {
        "USD": "1.35 USD",
        "crun-credit": "135 crun-credit",
    }


# --- what is left to do -------------------------------------------------------------------------


def reserved(ledger: Ledger, key: str) -> str:
    return ledger.reserve("team", usd("0.675"), key=key).id


def test_of_jobs_that_nobody_started_all_are_left_to_do(rich: Ledger):
    jobs = jobs_of("a", "b")
    assert known_outcomes(rich, jobs) == {}
    assert attempts_to_do(jobs, {}) == [Attempt(job) for job in jobs]


def test_what_was_committed_is_done_and_never_tried_again(rich: Ledger):
    [job] = jobs_of("a")
    rich.commit(reserved(rich, job.key), usd("0.5"))
    known = known_outcomes(rich, [job])
    assert attempts_to_do([job], known) == []
    assert attempts_to_do([job], known, retries_failed=True) == []


def test_what_no_provider_ever_took_is_tried_again_under_another_key(rich: Ledger):
    [job] = jobs_of("a")
    rich.roll_back(reserved(rich, job.key), "it was never sent")
    [again] = attempts_to_do([job], known_outcomes(rich, [job]))
    assert (again.number, again.key) == (2, f"{job.key}/again-2")


def test_what_a_provider_took_and_failed_with_is_tried_again_only_where_asked(rich: Ledger):
    [job] = jobs_of("a")
    first = reserved(rich, job.key)
    rich.mark_submitting(first)
    rich.mark_submitted(first, "t1")
    rich.roll_back(first, "it failed")
    known = known_outcomes(rich, [job])
    assert attempts_to_do([job], known) == []
    [again] = attempts_to_do([job], known, retries_failed=True)
    assert again.number == 2


def test_the_last_of_many_attempts_counts(rich: Ledger):
    [job] = jobs_of("a")
    attempt = Attempt(job)
    for _ in range(12):
        rich.roll_back(reserved(rich, attempt.key), "it was never sent")
        attempt = attempt.next
    last = reserved(rich, attempt.key)
    known = known_outcomes(rich, [job])
    assert known[1].reservation is not None
    assert (known[1].attempt.number, known[1].reservation.id) == (13, last)
    assert attempts_to_do([job], known) == [attempt]


def test_jobs_in_flight_come_before_new_ones(rich: Ledger):
    jobs = jobs_of("a", "b", "c")
    reserved(rich, jobs[2].key)
    todo = attempts_to_do(jobs, known_outcomes(rich, jobs))
    assert [one.job.place for one in todo] == [3, 1, 2]


# --- running ------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_runs_a_batch(ledger: Ledger, sandbox: Sandbox, provider: str):
    ledger.wallets.create("team", UNITS[provider])
    ledger.wallets.fund("team", Money(Decimal(10_000), UNITS[provider]))
    ended = run(ledger, sandbox, jobs_of("a", "b", "c [fail]", provider=provider))
    assert [ended[place].is_done for place in (1, 2, 3)] == [True, True, False]
    charged = sum(Decimal(task["charged"]) for task in truth(sandbox))
    assert ledger.wallets.get("team").spent.amount == charged > 0
    assert ledger.verify().is_clean


def test_a_batch_that_ran_has_nothing_left_to_do(rich: Ledger, sandbox: Sandbox):
    jobs = jobs_of("a", "b", "b", "c [fail]")
    run(rich, sandbox, jobs)
    assert run(rich, sandbox, jobs) == {}
    assert prompts_taken(sandbox) == {"a": 1, "b": 2, "c [fail]": 1}


def test_failed_jobs_run_again_where_asked(rich: Ledger, sandbox: Sandbox):
    jobs = jobs_of("a", "b [fail]")
    run(rich, sandbox, jobs)
    ended = run(rich, sandbox, jobs, retries_failed=True)
    assert [one.attempt.number for one in ended.values()] == [2]
    assert prompts_taken(sandbox) == {"a": 1, "b [fail]": 2}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_never_more_jobs_are_in_flight_than_allowed(
    rich: Ledger, sandbox: Sandbox, concurrency: int
):
    is_over, most = threading.Event(), []

    def look() -> None:
        while not is_over.is_set():
            # A task is in flight for us until its end was seen: at most those that still run.
            most.append(sum(task["ended_at"] is None for task in truth(sandbox)))
            time.sleep(0.01)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        run(
            rich, sandbox, jobs_of(*(f"{n} [takes 0.4]" for n in range(6))), concurrency=concurrency
        )
    finally:
        is_over.set()
        watcher.join()
    assert max(most) == concurrency


def test_what_is_refused_for_now_is_tried_again_by_itself(ledger: Ledger):
    ledger.wallets.create("team", "crun-credit")
    ledger.wallets.fund("team", Money(Decimal(1000), "crun-credit"))
    with Sandbox(SandboxSettings(job_s=0.05, retry_after_s=1)) as sandbox:
        ended = run(ledger, sandbox, jobs_of("a [refuse 429 2]", "b", provider="crun"))
        assert (ended[1].is_done, ended[2].is_done) == (True, True)
        assert (ended[1].attempt.number, ended[2].attempt.number) == (3, 1)
        assert prompts_taken(sandbox) == {"a [refuse 429 2]": 1, "b": 1}
    assert ledger.wallets.get("team").reserved.micro == 0


def test_what_is_refused_for_good_stops_nothing_else(rich: Ledger, sandbox: Sandbox):
    ended = run(rich, sandbox, jobs_of("a [refuse 422]", "b", "c [refuse moderation]"))
    assert [one.is_done for one in (ended[1], ended[2], ended[3])] == [False, True, False]
    assert "422" in str(ended[1].error)
    assert rich.wallets.get("team").reserved == usd("0")


def test_a_budget_that_refuses_in_the_middle_stops_nothing_else(rich: Ledger, sandbox: Sandbox):
    # What the second may come to has room beside what the first has cost; the third's has none.
    rich.budgets.set("two-clips", usd("2.025"))
    ended = run(rich, sandbox, jobs_of(*"abcd"), concurrency=1)
    refused = [one for one in ended.values() if one.reservation is None]
    assert [str(one.error.code) for one in refused if one.error] == ["budget"] * 2
    assert sum(one.is_done for one in ended.values()) == 2
    assert len(truth(sandbox)) == 2


def test_a_lost_reply_leaves_a_job_in_doubt_and_the_same_batch_finishes_it(
    rich: Ledger, sandbox: Sandbox
):
    jobs = jobs_of("a [lose cut]", "b")
    lost = run(rich, sandbox, jobs)
    # RunAPI's own repeats under the same key may have found the task already.
    ended = {**lost, **run(rich, sandbox, jobs)}
    assert all(one.is_done for one in ended.values())
    assert prompts_taken(sandbox) == {"a [lose cut]": 1, "b": 1}


def test_where_nothing_may_be_repeated_a_lost_reply_stays_in_doubt(
    ledger: Ledger, sandbox: Sandbox
):
    ledger.wallets.create("team", "crun-credit")
    ledger.wallets.fund("team", Money(Decimal(1000), "crun-credit"))
    jobs = jobs_of("a [lose cut]", "b", provider="crun")
    for _ in range(2):
        ended = run(ledger, sandbox, jobs)
        assert ended[1].is_open
        assert ended[1].error is not None
    assert prompts_taken(sandbox) == {"a [lose cut]": 1, "b": 1}
    assert ledger.wallets.get("team").reserved == Money(Decimal(135), "crun-credit")


def test_what_another_process_may_be_sending_is_left_to_it_until_the_grace_is_over(
    rich: Ledger, sandbox: Sandbox
):
    [job] = jobs_of("a")
    spender = meter(rich, sandbox)
    left = spender.reserve(job.request.body, key=job.key)
    rich.mark_submitting(left.id)
    batch = Batch({"runapi": spender}, [Attempt(job)], polls_per_s=500, grace_s=60)
    threading.Timer(0.7, rich.mark_submitted, (left.id, "another's")).start()
    ended = batch.run()
    # The other one's task is not known here: what matters is that nothing was sent.
    assert ended[1].attempt.number == 1
    assert truth(sandbox) == []


def test_after_the_grace_it_is_sent_again_where_that_is_safe(rich: Ledger, sandbox: Sandbox):
    [job] = jobs_of("a")
    left = meter(rich, sandbox).reserve(job.request.body, key=job.key)
    rich.mark_submitting(left.id)
    [ended] = run(rich, sandbox, [job], grace_s=0).values()
    assert ended.is_done
    assert ended.reservation is not None
    assert ended.reservation.id == left.id


def test_two_batches_of_the_same_jobs_at_once_submit_each_once(rich: Ledger, sandbox: Sandbox):
    jobs = jobs_of(*"abcdefghij")
    found: list[dict[int, Outcome]] = []
    both = [
        threading.Thread(target=lambda: found.append(run(rich, sandbox, jobs, concurrency=4)))
        for _ in range(2)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert prompts_taken(sandbox) == dict.fromkeys("abcdefghij", 1)
    assert [all(one.is_done for one in outcomes.values()) for outcomes in found] == [True, True]
    assert rich.wallets.get("team").spent == usd("6.75")


def interrupting(after: int) -> Callable[[Outcome], None]:
    """Return a listener that is interrupted at one of the changes it is told of."""
    seen = []

    def listen(outcome: Outcome) -> None:
        seen.append(outcome)
        if len(seen) == after:
            raise KeyboardInterrupt

    return listen


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_stopped_batch_goes_on_where_it_was(rich: Ledger, sandbox: Sandbox, after: int):
    jobs = jobs_of(*"abcdefgh")
    batch = Batch(
        {"runapi": meter(rich, sandbox)},
        attempts_to_do(jobs, {}),
        concurrency=3,
        polls_per_s=500,
        on_change=interrupting(after),
    )
    with pytest.raises(KeyboardInterrupt):
        batch.run()
    batch.stop()
    assert not batch.is_over
    before = len(truth(sandbox))
    assert before < 8
    states = {one.state for one in rich.reservations.open()}
    assert states <= {State.SUBMITTED}
    run(rich, sandbox, jobs)
    assert prompts_taken(sandbox) == dict.fromkeys("abcdefgh", 1)
    assert rich.wallets.get("team").spent == usd("5.4")


def test_polls_keep_to_their_rate(rich: Ledger, sandbox: Sandbox):
    jobs = jobs_of(*(f"{number} [takes 1]" for number in range(20)))
    began = time.monotonic()
    Batch(
        {"runapi": meter(rich, sandbox)},
        attempts_to_do(jobs, {}),
        concurrency=20,
        polls_per_s=25,
    ).run()
    took_s = time.monotonic() - began
    polls = sum(task["polls"] for task in truth(sandbox))
    assert 20 <= polls <= 25 * took_s + 1


def test_a_database_that_is_away_for_a_moment_ends_no_batch(
    postgres: PostgresServer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("kling_ledger.jobs.batch._PAUSE_S", 0.2)
    url = postgres.new_database()
    jobs = jobs_of(*(f"clip {number}" for number in range(30)))
    with Ledger(url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("1000"))
        cuts = [threading.Timer(after_s, cut_off, [url]) for after_s in (0.2, 0.5)]
        for one in cuts:
            one.start()
        ended = run(ledger, sandbox, jobs, concurrency=4)
        for one in cuts:
            one.join()
        assert {place: str(one.error) for place, one in ended.items() if not one.is_done} == {}
        assert ledger.verify().is_clean
    assert set(prompts_taken(sandbox).values()) == {1}


def cut_off(url: str) -> None:
    """Cut every connection to a database, as a restart of its server does."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_two_hundred_jobs_at_once_are_all_settled_right(rich: Ledger):
    with Sandbox(SandboxSettings(job_s=0.5, balance=usd("1000"))) as sandbox:
        jobs = jobs_of(*(f"clip {number}" for number in range(200)))
        ended = run(rich, sandbox, jobs, concurrency=200)
        assert all(one.is_done for one in ended.values())
        assert set(prompts_taken(sandbox).values()) == {1}
        charged = sum(Decimal(task["charged"]) for task in truth(sandbox))
    assert rich.wallets.get("team").spent.amount == charged == Decimal(135)
    assert rich.verify().is_clean
