"""One thread looks out for whatever takes longer than a moment, and lives no longer than that."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from functools import partial
from typing import IO

import pytest

from kling_ledger.ledger.lookout import Lookout
from tests.waiting import until


def _write(telling: IO[bytes]) -> None:
    telling.write(b"late")


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "lookout"]


def test_what_is_not_over_in_time_is_told_and_what_is_over_is_not():
    told: list[str] = []
    lookout = Lookout(0.2)
    slow = lookout.expect(partial(told.append, "slow"))
    quick = lookout.expect(partial(told.append, "quick"))
    quick.is_over = True
    until(lambda: bool(told))
    until(lambda: not threads())
    assert (told, slow.is_over) == (["slow"], False)


def test_many_at_once_have_one_thread():
    lookout = Lookout(0.3)
    found = [lookout.expect(lambda: None) for _ in range(200)]
    assert len(threads()) == 1
    for one in found:
        one.is_over = True
    until(lambda: not threads())


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
ignored = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def hears_of_it(lookout: Lookout, within_s: float) -> bool:
    """Fork, and say whether the child's lookout makes its call; the child ends in any case."""
    heard, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(tell, "wb", buffering=0) as telling:
            lookout.expect(partial(_write, telling))
            time.sleep(within_s)
        os._exit(0)
    os.close(tell)
    try:
        is_there, _, _ = select.select([heard], [], [], within_s)
        return bool(is_there) and os.read(heard, 4) == b"late"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(heard)


@forks
@ignored
def test_a_process_that_was_forked_looks_out_for_itself():
    lookout = Lookout(0.1)
    lookout.expect(lambda: None)
    assert hears_of_it(lookout, 10)


@forks
@ignored
def test_a_fork_in_any_instant_of_another_thread_stops_nobody():
    """A lock that another thread holds is held for ever in the child: the child needs its own."""
    lookout = Lookout(0.0)
    is_done = threading.Event()

    def work() -> None:
        while not is_done.is_set():
            lookout.expect(lambda: None).is_over = True
            time.sleep(0)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert [number for number in range(40) if not hears_of_it(lookout, 10)] == []
    finally:
        is_done.set()
        worker.join()
