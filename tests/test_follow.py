"""The follower: any number of jobs, each asked for when it is due, and stopped at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from threading import Event, Lock

import pytest

from kling_ledger.jobs.follow import CALLS_AT_ONCE, Follower

MANY = 500
SLOW = CALLS_AT_ONCE - 2
"""So many calls that take long leave two threads for all others."""

LATEST_S = 15.0
"""How late a call may be on a busy machine; one that waited for the slow ones would be later."""


@contextmanager
def follower(**more: object) -> Iterator[Follower[str]]:
    """A follower that is stopped in the end."""
    with Follower[str](**{"polls_per_s": 10_000.0, **more}) as made:  # type: ignore[arg-type]
        yield made


def test_five_hundred_jobs_are_each_asked_when_due_beside_slow_ones():
    random = Random(500)  # noqa: S311 - nothing is secret here
    late: dict[str, float] = {}
    may_end = Event()

    def slow(name: str) -> str:
        may_end.wait(30)
        return name

    def quick(name: str, due_at: float) -> str:
        late[name] = time.monotonic() - due_at
        return name

    with follower() as follows:
        for number in range(SLOW):
            follows.put(partial(slow, f"slow-{number}"), asks="slow")
        for number in range(MANY - SLOW):
            in_s = random.random()
            due_at = time.monotonic() + in_s
            follows.put(partial(quick, f"quick-{number}", due_at), in_s=in_s, asks="quick")
        told: Counter[str] = Counter()
        for name in follows:
            told[name] += 1
            if len(late) == MANY - SLOW:
                may_end.set()
    assert len(told) == MANY
    assert set(told.values()) == {1}
    assert min(late.values()) >= 0
    assert max(late.values()) < LATEST_S


def test_each_of_many_jobs_is_asked_again_and_again_and_none_more_than_others():
    asked: Counter[int] = Counter()
    stop = Event()

    def ask(number: int) -> str:
        asked[number] += 1
        return str(number)

    with follower(stop=stop) as follows:
        for number in range(MANY):
            follows.put(partial(ask, number), asks="crun")
        for told in follows:
            follows.put(partial(ask, int(told)), in_s=0.01, asks="crun")
            if sum(asked.values()) >= 10 * MANY:
                stop.set()
    # One that was starved would have been asked once or never; each was asked about ten times.
    assert len(asked) == MANY
    assert min(asked.values()) >= 5
    assert max(asked.values()) <= 20


def test_a_rate_is_kept_however_many_are_due():
    asked: list[float] = []
    lock = Lock()

    def ask() -> str:
        with lock:
            asked.append(time.monotonic())
        return ""

    with follower(polls_per_s=100.0) as follows:
        for _ in range(50):
            follows.put(ask, asks="crun")
        list(follows)
    # Whoever keeps to a hundred a second needs half a second for fifty, less what it may catch up.
    assert asked[-1] - asked[0] >= 0.35


@pytest.mark.timeout(60)
def test_a_stop_ends_every_pause_at_once_and_makes_no_further_call():
    stop = Event()
    called: list[str] = []

    def first() -> str:
        stop.set()
        return "first"

    def later() -> str:
        called.append("later")
        return "later"

    with follower(stop=stop) as follows:
        follows.put(first)
        follows.put(later, in_s=3600, asks="crun")
        assert list(follows) == ["first"]
        assert not follows.is_over
    assert called == []


def test_what_a_call_raises_is_raised_where_it_is_told_of():
    def breaks() -> str:
        raise LookupError("broken")

    with follower() as follows:
        follows.put(breaks)
        with pytest.raises(LookupError, match="broken"):
            list(follows)


def test_one_that_hangs_leaves_threads_for_the_others():
    may_end, quick = Event(), 0

    def slow() -> str:
        may_end.wait(30)
        return "slow"

    with follower(at_once=4, each=2) as follows:
        for _ in range(10):
            follows.put(slow, asks="slow")
        for _ in range(20):
            follows.put(lambda: "quick", asks="quick")
        for told in follows:
            quick += told == "quick"
            if quick == 20:
                may_end.set()
    assert quick == 20
