"""Lookout: one thread that acts on anything that takes longer than a moment.

A timer for each would be a thread for each, and almost none of them ever has anything to do.
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
"""After this long, a task that is still being recorded is also noted in a file."""


@dataclass(slots=True, eq=False)
class Late:
    """Something to watch: if it is not over when it is due, `call` is made."""

    due_at: float
    call: Callable[[], None]
    is_over: bool = False


@dataclass(slots=True, eq=False)
class _Waiting:
    """What one process is watching, and whether it has a thread for it."""

    lock: Lock = field(default_factory=Lock)
    late: deque[Late] = field(default_factory=deque)
    has_thread: bool = False


class Lookout:
    """Makes a call for anything that takes longer than `after_s`. Safe to share between threads.

    Its thread lives only while there is something to watch.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        # Per process: a fork inherits a lock that another thread held, and nobody releases it.
        self._by_process: dict[int, _Waiting] = {}

    def expect(self, call: Callable[[], None]) -> Late:
        """Watch something that begins now; set `is_over` once it has ended."""
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
    """Return the next item that is not over; without one return None and end the thread."""
    with waiting.lock:
        while waiting.late:
            late = waiting.late.popleft()
            if not late.is_over:
                return late
        waiting.has_thread = False
        return None
