"""One thread looks out for whatever takes longer than a moment, and lives no longer than that."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import IO

import pytest

from kling_ledger.ledger.lookout import Lookout


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_was_forked_looks_out_for_itself():
    lookout = Lookout(0.1)
    lookout.expect(lambda: None)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(tell, "wb", buffering=0) as telling:
            lookout.expect(partial(_write, telling))
            time.sleep(2)
        os._exit(0)
    os.close(tell)
    with os.fdopen(told, "rb") as reading:
        assert reading.read() == b"late"
    os.waitpid(child, 0)
