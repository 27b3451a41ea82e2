"""Lanes: what many threads of a process write at a time goes to a server as few transactions.

A caller that is by itself writes by itself, in its own thread. Where others write already, its
batch goes to the lane of its kind, one thread that takes all that have come and sends them as one
transaction: with a transaction each, 64 threads that want the same wallet wait for one another's
commits. There is a lane for reserving and one for settling, so that one is prepared while the other
is under way.

Where all of them together are refused, each is seen to in turn, in a second transaction; only what
that leaves, or what goes wrong with it, is written one by one. In a rush on a limit the next group
would be refused too, and is seen to in turn at once.
"""

from __future__ import annotations

import _thread
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Final, TypeVar

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger.engines.group import hand_out, merged
from kling_ledger.ledger.engines.transaction import Batch, Outcome
from kling_ledger.ledger.engines.writer import Entry, Writer

Item = TypeVar("Item")
Result = TypeVar("Result")

_SOON_S: Final = 0.01
"""So soon after a group its callers may come back: they should meet again."""


class Lanes:
    """Writes batches, those that come together as one.

    `write` writes one batch and returns what gives its results; `write_merged` writes one that is
    made of several, and raises where any of them has to be decided by itself; `write_in_turn` does
    that for several in one transaction.
    """

    def __init__(
        self,
        write: Callable[[Batch[Any, Any]], Callable[[int], Any]],
        write_merged: Callable[[Batch[Any, Any]], Callable[[int], Any]],
        write_in_turn: Callable[[Sequence[Batch[Any, Any]]], Sequence[Outcome]],
    ) -> None:
        self._write = write
        self._write_merged = write_merged
        self._write_in_turn = write_in_turn
        self._lanes: dict[object, _Lane] = {}
        self._is_rush = False

    def run(self, batch: Batch[Item, Result]) -> Callable[[int], Result]:
        """Have a batch written; return what gives its results by place."""
        lane = self._lanes.get(batch.decide)
        if lane is None:
            lane = self._lanes.setdefault(batch.decide, _Lane(self._write_group))
        if lane.is_quiet and lane.alone.acquire(blocking=False):
            try:
                return self._write(batch)
            finally:
                lane.alone.release()
        result_of: Callable[[int], Result] = lane.writer.run(batch)
        return result_of

    def close(self) -> None:
        """Let what waits be written, and end the threads."""
        for lane in self._lanes.values():
            lane.writer.close()

    def _write_group(self, entries: Sequence[Entry]) -> None:
        left = self._written_together(entries) if len(entries) > 1 else entries
        for entry in left:
            try:
                entry.value = self._write(merged([entry]))
            except BaseException as error:  # noqa: BLE001 - it is raised where it came from
                entry.error = error

    def _written_together(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Write several in one transaction; return those that are still to be written alone."""
        ways = [self._as_one]
        if merged(entries[:1]).in_turn is not None:
            ways.insert(0 if self._is_rush else 1, self._in_turn)
        for write in ways:
            try:
                return write(entries)
            except DatabaseError as error:
                # It was tried for long enough, for all of them.
                for entry in entries:
                    entry.error = error
                return ()
            except Exception:  # noqa: BLE001, S110 - each is told what is wrong with its own
                pass
        return entries

    def _as_one(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        hand_out(entries, self._write_merged(merged(entries)))
        return ()

    def _in_turn(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        outcomes = self._write_in_turn([merged([entry]) for entry in entries])
        left = []
        for entry, outcome in zip(entries, outcomes, strict=True):
            if outcome is None:
                left.append(entry)
            elif isinstance(outcome, Exception):
                entry.error = outcome
            else:
                entry.value = outcome
        self._is_rush = any(isinstance(outcome, Exception) for outcome in outcomes)
        return left


class _Lane:
    """One thread that writes groups, and the place of a caller that is by itself."""

    def __init__(self, write_group: Callable[[Sequence[Entry]], None]) -> None:
        self.alone = _thread.allocate_lock()
        self.writer = Writer(
            self._write,
            turn=nullcontext(),
            close=lambda: None,
            held_by=lambda: "the server is slow",
        )
        self._write_group = write_group
        self._is_writing = False
        self._together_until = 0.0

    @property
    def is_quiet(self) -> bool:
        """Whether nobody writes here, and nobody is about to come back."""
        return not self._is_writing and time.monotonic() >= self._together_until

    def _write(self, entries: Sequence[Entry]) -> None:
        self._is_writing = True
        try:
            self._write_group(entries)
        finally:
            if len(entries) > 1:
                self._together_until = time.monotonic() + _SOON_S
            self._is_writing = False
