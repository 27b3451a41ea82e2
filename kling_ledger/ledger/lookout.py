"""Lookout: one thread does something about whatever takes longer than a moment, however much it is.

A timer for each would be a thread for each, and hardly any of them ever has anything to do.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Final

NOTED_AFTER_S: Final = 1.0
"""After so long a task that is not written down is in a file too."""


@dataclass(slots=True, eq=False)
class Late:
    """What is looked out for: once it is due and not over, `call` is made."""

    due_at: float
    call: Callable[[], None]
    is_over: bool = False


@dataclass(slots=True, eq=False)
class _Waiting:
    """What one process waits for, and whether a thread of it does."""

    lock: Lock = field(default_factory=Lock)
    late: deque[Late] = field(default_factory=deque)
    has_thread: bool = False


class Lookout:
    """Makes calls about what takes longer than so many seconds. Safe to share between threads.

    Its thread lives while there is something to look out for.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        # By process: a fork inherits a lock that another thread held, and nobody gives it back.
        self._by_process: dict[int, _Waiting] = {}

    def expect(self, call: Callable[[], None]) -> Late:
        """Look out for something that begins now; set `is_over` once it has ended."""
        late = Late(time.monotonic() + self._after_s, call)
        waiting = self._by_process.setdefault(os.getpid(), _Waiting())
        with waiting.lock:
            waiting.late.append(late)
            if not waiting.has_thread:
                Thread(target=_look_out, args=(waiting,), name="lookout", daemon=True).start()
                waiting.has_thread = True
        return late


def _look_out(waiting: _Waiting) -> None:
    while (late := _next(waiting)) is not None:
        time.sleep(max(0.0, late.due_at - time.monotonic()))
        if not late.is_over:
            late.call()


def _next(waiting: _Waiting) -> Late | None:
    """Return what is due first and not over; None, and no thread, where there is nothing."""
    with waiting.lock:
        while waiting.late:
            late = waiting.late.popleft()
            if not late.is_over:
                return late
        waiting.has_thread = False
        return None
