"""Turns: who writes next. Between the threads of one process, and between processes.

SQLite has one writer at a time. Left to themselves, processes that find it busy sleep and try
again, and some never get through; threads each pay for a write to the disk of their own.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from kling_ledger.ledger.engines.transaction import Work

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

MOST_TOGETHER = 256
"""How many operations are written together at most: the first of them waits for the last."""

_GATHERING_S = 0.001
"""How long a leader waits for another caller to come, as long as they do come."""

_PATIENCE_S = 0.1
"""How often whoever waits looks for itself whether somebody still cares for it."""


class Entry:
    """One operation that waits for its turn, and then what came of it.

    `work` is the operation where it works on items and may be joined with others of its kind.
    """

    __slots__ = (
        "error",
        "is_done",
        "is_gone",
        "is_left",
        "is_woken",
        "leads",
        "operation",
        "then",
        "value",
        "woken",
        "work",
    )

    def __init__(
        self, operation: Callable[[Any], Any], *, work: Work[Any, Any] | None = None
    ) -> None:
        self.operation = operation
        self.work = work
        self.value: Any = None
        self.error: BaseException | None = None
        self.is_done = False
        self.is_left = False
        self.leads = False
        self.is_woken = False
        self.is_gone = False
        self.then: Entry | None = None
        self.woken = threading.Lock()
        self.woken.acquire()

    @property
    def is_settled(self) -> bool:
        """Whether nobody has to run it any more: it was run, or its caller has left."""
        return self.is_done or self.is_left

    def wake(self) -> None:
        """Let its caller go; one who is gone cannot wake the next, so that is done here."""
        self.is_woken = True
        self.stir()
        if self.is_gone:
            self.pass_on()

    def stir(self) -> None:
        """Let its caller look what has changed; once too often does no harm."""
        if self.woken.locked():
            self.woken.release()

    def pass_on(self) -> None:
        """Wake the caller that is to be woken after this one."""
        then = self.then
        if then is not None:
            # Woken first and forgotten after: twice does no harm, and never would.
            then.wake()
            self.then = None

    def outcome(self) -> Any:
        """Return what the operation returned, or raise what it raised."""
        if self.error is not None:
            raise self.error
        return self.value


class GroupCommit:
    """Writes the operations of many threads together: those that wait share one transaction.

    The first that comes leads: it runs its own operation and all that wait with it, then wakes
    their callers and hands the lead to the first that came meanwhile. A caller that is alone
    never waits for anybody. `write` is given the entries of one transaction and settles each;
    `clear` finishes what an interrupt has left half done.

    Ctrl-C may end any call of a caller, at any moment: Python looks for it when a call returns. So
    what belongs together is assigned without a call between, what is woken looks why, and whoever
    waits for long looks whether its leader is gone.
    """

    def __init__(self, write: Callable[[list[Entry]], None], clear: Callable[[], None]) -> None:
        self._write = write
        self._clear = clear
        self._mutex = threading.Lock()
        self._waiting: deque[Entry] = deque()
        self._group: list[Entry] = []
        self._leader: Entry | None = None
        self._together = 1

    def run(self, entry: Entry) -> Any:
        """Run an operation in a transaction, perhaps with others, and return what it returns."""
        try:
            self._join(entry)
            self._wait(entry)
            if entry.is_woken:
                entry.pass_on()
            if entry.leads:
                self._gather(entry)
                self._write(self._take())
                self._hand_over(entry)
        except BaseException:
            self._leave(entry)
            raise
        finally:
            # Before any call: from now on, others look after what this caller leaves behind.
            entry.is_gone = True
            if entry.is_woken:
                entry.pass_on()
        return entry.outcome()

    def _join(self, entry: Entry) -> None:
        with self._mutex:
            self._waiting.append(entry)
            if self._leader is None:
                self._leader = entry
                entry.leads = True
            elif len(self._waiting) == self._together:
                self._leader.stir()

    def _wait(self, entry: Entry) -> None:
        while not (entry.is_done or entry.leads):
            if not entry.woken.acquire(timeout=_PATIENCE_S):
                self._inherit(entry)

    def _gather(self, leader: Entry) -> None:
        """Let those come along who were written together last: they have just been woken."""
        seen = 0
        while seen < len(self._waiting) < self._together:
            seen = len(self._waiting)
            leader.woken.acquire(timeout=_GATHERING_S)

    def _take(self) -> list[Entry]:
        """Take those that wait, the leader first of all."""
        with self._mutex:
            group = list(islice(self._waiting, MOST_TOGETHER))
            later = deque(islice(self._waiting, MOST_TOGETHER, None))
            self._group, self._waiting = group, later
            self._together = len(group)
        return group

    def _hand_over(self, leader: Entry) -> None:
        """Wake those whose operations are settled; what was interrupted waits for another turn."""
        self._clear()
        with self._mutex:
            settled = [entry for entry in self._group if entry.is_settled and entry is not leader]
            unsettled = [entry for entry in self._group if not entry.is_settled]
            waiting = deque(entry for entry in (*unsettled, *self._waiting) if entry is not leader)
            successor = waiting[0] if waiting else None
            self._group, self._waiting = [], waiting
            self._leader = successor
            leader.leads = False
            if successor is not None:
                successor.leads = True
                successor.stir()
        _wake(settled)

    def _leave(self, entry: Entry) -> None:
        """Stop waiting: what has not begun never will; for what has, its end is awaited."""
        with self._mutex:
            entry.is_left = True
            if entry in self._waiting:
                self._waiting.remove(entry)
        if entry.leads:
            self._hand_over(entry)
        while entry in self._group and not (entry.is_done or self._is_orphaned()):
            entry.woken.acquire(timeout=_PATIENCE_S)

    def _inherit(self, entry: Entry) -> None:
        """Lead if whoever led is gone, interrupted at the worst of moments; nothing is lost."""
        with self._mutex:
            if not self._is_orphaned():
                return
            self._clear()
            if entry.is_done:
                return
            others = [one for one in self._group if not one.is_settled] + list(self._waiting)
            waiting = deque([entry, *(one for one in others if one is not entry)])
            self._group, self._waiting = [], waiting
            self._leader = entry
            entry.leads = True

    def _is_orphaned(self) -> bool:
        return self._leader is not None and self._leader.is_gone


def _wake(entries: list[Entry]) -> None:
    """Wake callers, each by the one before: at once they would all want to run, and one can."""
    for earlier, later in pairwise(entries):
        earlier.then = later
    if entries:
        entries[0].wake()


class FileTurn:
    """A turn between processes: whoever holds the lock on a file beside the database writes.

    There are two locks. The first is for being next: whoever has just written must queue for it
    again, behind the one who already holds it, so that nobody writes twice in a row while others
    wait. The files are empty and may be deleted while no process uses the ledger. Where the
    system has no such locks, SQLite's own waiting has to do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: tuple[int, int] | None = None
        self._is_held = False

    def __enter__(self) -> None:
        if fcntl is None:
            return
        if self._files is None:
            self._files = (self._open("next"), self._open("turn"))
        # Interrupted while giving up: to wait for one with the other would wait for ever.
        self.give_up()
        is_next, turn = self._files
        self._is_held = True
        fcntl.flock(is_next, fcntl.LOCK_EX)
        fcntl.flock(turn, fcntl.LOCK_EX)
        fcntl.flock(is_next, fcntl.LOCK_UN)

    def __exit__(self, *_: object) -> None:
        self.give_up()

    def give_up(self) -> None:
        """Let others write, whatever of the turn is held: an interrupt may have come half-way."""
        if self._is_held:
            for file in self._files or ():
                fcntl.flock(file, fcntl.LOCK_UN)
            self._is_held = False

    def close(self) -> None:
        """Close the files."""
        for file in self._files or ():
            os.close(file)
        self._files = None

    def _open(self, name: str) -> int:
        return os.open(f"{self._path}-{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
