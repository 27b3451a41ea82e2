"""Writer: the one thread of a process that writes to a file, on behalf of all threads.

Callers put their operations on a queue and wait. The thread takes everything that is waiting,
writes it as one group in one transaction, and gives each caller its result. A group costs one write
to the disk: with a transaction per caller, 64 callers would write a tenth as much.

Why a separate thread: Ctrl-C reaches only the main thread, at any moment, and this is never the
main thread. A write here is never interrupted, so nothing is ever half done. Even a single caller
hands its operation over; that costs little beside the write to the disk.
"""

from __future__ import annotations

import _thread
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from queue import Empty, SimpleQueue
from typing import Any, Final

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger.engines.transaction import Batch

MOST_TOGETHER: Final = 256
"""The most operations written together: the first of them waits for the last."""

_GATHERING_S: Final = 0.001
"""How long the writer waits for one more operation, as long as they keep coming."""

_LOOK_S: Final = 0.2
"""How often `close` checks whether there is anything to wait for, in seconds."""

PATIENCE_S: Final = 1.0
"""How often a waiting caller checks for a writer and its own waiting time, in seconds."""

SAID_AFTER_S: Final = 3.0
"""After this long a caller reports whom it is waiting for."""

GIVEN_UP_AFTER_S: Final = 30.0
"""After this long a caller gives up, however many are ahead of it."""

log: Final = logging.getLogger("kling_ledger.database")

_UNWRITTEN: Final = object()


class Entry:
    """One operation that waits to be written, and then its result.

    A batch may be merged with others; anything else is a function that gets the transaction.
    """

    __slots__ = ("_answered", "_claim", "error", "operation", "value")

    def __init__(self, operation: Callable[[Any], Any] | Batch[Any, Any]) -> None:
        self.operation = operation
        self.value: Any = _UNWRITTEN
        self.error: BaseException | None = None
        self._answered = _thread.allocate_lock()
        self._answered.acquire()
        self._claim = _thread.allocate_lock()

    def claim(self) -> bool:
        """Take it, to write it or to give it up: only the first caller may."""
        return self._claim.acquire(blocking=False)

    def answer(self) -> None:
        """Wake its caller: it has a value or an error now."""
        self._answered.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the answer; False if it has not come in time."""
        return self._answered.acquire(timeout=timeout_s)

    @property
    def is_open(self) -> bool:
        """Whether it has neither a value nor an error."""
        return self.value is _UNWRITTEN and self.error is None

    @property
    def is_claimed(self) -> bool:
        """Whether it is being written, or was given up."""
        return self._claim.locked()

    def outcome(self) -> Any:
        """Return what the operation returned, or raise what it raised."""
        if self.error is not None:
            raise self.error
        if self.value is _UNWRITTEN:
            raise DatabaseError("the writer thread has died", retryable=True)
        return self.value


class Writer:
    """Hands operations to one thread, which the first of them starts.

    `write` gets the entries of one group and settles each: a value or an error. It holds `turn`
    while it writes, so that other processes wait. `close` releases what writing needed. Only that
    thread uses the three. `held_by` says who has the turn, for callers that wait long.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Entry]], None],
        *,
        turn: AbstractContextManager[None],
        close: Callable[[], None],
        held_by: Callable[[], str],
    ) -> None:
        self._write = write
        self.held_by = held_by
        self._turn = turn
        self._close = close
        self._queue: SimpleQueue[Entry | None] = SimpleQueue()
        self._is_closed = False
        # The thread that holds it is the writer. A second thread, which an interrupt at the wrong
        # moment may have started, finds it taken and ends.
        self._role = _thread.allocate_lock()
        self._together = 1
        self._group: list[Entry] = []
        self._is_writing = False

    def run(self, operation: Callable[[Any], Any] | Batch[Any, Any]) -> Any:
        """Write an operation, perhaps together with others, and return what it returns.

        A caller that is interrupted stops waiting: an operation that has not begun never will, and
        one that has begun runs to its end.
        """
        entry = Entry(operation)
        try:
            waiting = self.put(entry)
            while not entry.wait(PATIENCE_S):
                waiting.look()
        except BaseException:
            entry.claim()
            raise
        return entry.outcome()

    def put(self, entry: Entry) -> Waiting:
        """Queue an operation; return what its caller looks at while it waits."""
        waiting = Waiting(self, entry)
        self._queue.put(entry)
        self.see_to_a_writer()
        return waiting

    def close(self) -> None:
        """Write what is waiting, then end the thread; later callers are refused."""
        self._is_closed = True
        self._queue.put(None)
        # The writer releases its role at its end; if there is no writer, there is nothing to end. A
        # writer whose callers have all given up may wait for its turn forever: it is left alone.
        looks = 0
        while not self._role.acquire(timeout=_LOOK_S):
            looks = 0 if self._has_work() else looks + 1
            if looks > 1:
                return
        self._role.release()

    def _has_work(self) -> bool:
        """Whether anybody is still waiting for the writer."""
        is_waited_for = any(not entry.is_claimed for entry in self._group)
        return self._is_writing or is_waited_for or self._queue.qsize() > 1

    def see_to_a_writer(self) -> None:
        """Start a writer if there is none: at the first write, or after one has died."""
        if self._role.locked():
            return
        if self._is_closed:
            raise DatabaseError("this ledger is closed")
        # One step, as Ctrl-C sees it: `Thread.start` also waits, in ways that it can break.
        _thread.start_new_thread(self._serve, ())

    def _serve(self) -> None:
        if not self._role.acquire(blocking=False):
            return
        try:
            while (first := self._queue.get()) is not None:
                self._write_with(first)
        finally:
            try:
                self._close()
            finally:
                self._role.release()

    def _write_with(self, first: Entry) -> None:
        """Write an operation and all that wait with it, and answer their callers."""
        self._group = group = [first]
        self._gather(group)
        try:
            with self._turn:
                self._is_writing = True
                # Only once the turn has come: until then a caller may still give up.
                group = [entry for entry in self._all_waiting(group) if entry.claim()]
                self._together = len(group)
                if group:
                    self._write(group)
        except BaseException as error:  # noqa: BLE001 - whoever waits is told, and the thread lives
            for entry in group:
                entry.error = error
        finally:
            for entry in group:
                entry.answer()
            self._group, self._is_writing = [], False

    def _gather(self, group: list[Entry]) -> None:
        """Wait a moment for the callers of the last group: they have just been answered."""
        while len(group) < self._together and self._take(group, timeout=_GATHERING_S):
            pass

    def _all_waiting(self, group: list[Entry]) -> list[Entry]:
        while len(group) < MOST_TOGETHER and self._take(group, timeout=0):
            pass
        return group

    def _take(self, group: list[Entry], *, timeout: float) -> bool:
        """Take one more operation from the queue; False if none came in time, or ever will."""
        try:
            entry = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
        except Empty:
            return False
        if entry is None:
            self._queue.put(None)
            return False
        group.append(entry)
        return True


class Waiting:
    """A caller that waits for its operation: it says so after a while, and then gives up."""

    __slots__ = ("_entry", "_has_said", "_since", "_writer")

    def __init__(self, writer: Writer, entry: Entry) -> None:
        self._writer = writer
        self._entry = entry
        self._since = time.monotonic()
        self._has_said = False

    def look(self) -> None:
        """See to a writer. Raises DatabaseError if it has waited too long and nothing has begun."""
        self._writer.see_to_a_writer()
        waited_s = time.monotonic() - self._since
        if waited_s >= GIVEN_UP_AFTER_S and self._entry.claim():
            raise DatabaseError(
                f"{self._writer.held_by()}: waited for {waited_s:.0f} s, nothing was changed",
                hint="stop that program if it hangs, then try again",
                retryable=True,
            )
        if waited_s >= SAID_AFTER_S and not self._has_said:
            self._has_said = True
            log.warning("waiting to write: %s", self._writer.held_by())
