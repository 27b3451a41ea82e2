"""Lookout: one thread does something about whatever takes longer than a moment, however much it is.

A timer for each would be a thread for each, and hardly any of them ever has anything to do.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
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


class Lookout:
    """Makes calls about what takes longer than so many seconds. Safe to share between threads.

    Its thread lives while there is something to look out for.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._lock = Lock()
        self._waiting: deque[Late] = deque()
        self._runs_in: int | None = None

    def expect(self, call: Callable[[], None]) -> Late:
        """Look out for something that begins now; set `is_over` once it has ended."""
        late = Late(time.monotonic() + self._after_s, call)
        with self._lock:
            self._waiting.append(late)
            # A process that was forked has the list, and no thread.
            if self._runs_in != os.getpid():
                Thread(target=self._run, name="lookout", daemon=True).start()
                self._runs_in = os.getpid()
        return late

    def _run(self) -> None:
        while (late := self._next()) is not None:
            time.sleep(max(0.0, late.due_at - time.monotonic()))
            if not late.is_over:
                late.call()

    def _next(self) -> Late | None:
        """Return what is due first and not over; None, and no thread, where there is nothing."""
        with self._lock:
            while self._waiting:
                late = self._waiting.popleft()
                if not late.is_over:
                    return late
            self._runs_in = None
            return None
