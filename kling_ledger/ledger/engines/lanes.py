"""Lanes: many threads of a process write to a server in few transactions.

A single caller writes in its own thread. If others are already writing, its batch goes to the lane
of its kind: a thread that takes everything that is waiting and sends it as one transaction. With a
transaction each, 64 threads that use the same wallet would wait for each other's commits. Reserving
and settling have a lane each, so that one is prepared while the other is under way.

If a group is refused as a whole, a second transaction decides each batch in turn; only what that
leaves, or what fails there, is written one by one. In a rush on a limit the next group would be
refused too, so it is decided in turn at once.
"""

from __future__ import annotations

import _thread
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Final, TypeVar, cast

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger.engines.group import hand_out, merged
from kling_ledger.ledger.engines.transaction import Batch, Outcome
from kling_ledger.ledger.engines.writer import Entry, Writer

Item = TypeVar("Item")
Result = TypeVar("Result")

_FIRST: Final = 64
"""How many of a large group are written before the others."""

_SOON_S: Final = 0.01
"""How soon the callers of a group may come back: then they should be grouped again."""


class Lanes:
    """Writes batches, merging those that arrive together.

    `write` writes one batch and returns the function that gives its results. `write_merged` writes
    one that was merged from several, and raises if any of them has to be decided by itself;
    `write_in_turn` decides several by themselves, in one transaction.
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
        """Write a batch; return the function that gives its results by place."""
        lane = self._lane_of(batch)
        if lane.is_quiet and lane.alone.acquire(blocking=False):
            try:
                return self._write(batch)
            finally:
                lane.alone.release()
        result_of: Callable[[int], Result] = lane.writer.run(batch)
        return result_of

    def writer_of(self, batch: Batch[Any, Any]) -> Writer:
        """Return what writes a batch in its own thread, however quiet it is."""
        return self._lane_of(batch).writer

    def close(self) -> None:
        """Write what is waiting, then end the threads."""
        for lane in self._lanes.values():
            lane.writer.close()

    def _lane_of(self, batch: Batch[Any, Any]) -> _Lane:
        lane = self._lanes.get(batch.decide)
        return lane or self._lanes.setdefault(batch.decide, _Lane(self._write_group))

    def _write_group(self, entries: Sequence[Entry]) -> None:
        left = self._written_together(entries) if len(entries) > 1 else entries
        for entry in left:
            try:
                entry.value = self._write(merged([entry]))
            except BaseException as error:  # noqa: BLE001 - it is raised where it came from
                entry.error = error

    def _written_together(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Write several in few transactions; return those still to be written by themselves."""
        # If a limit is reached, a few find that out at a smaller cost than all of them.
        first = _FIRST if len(entries) > 2 * _FIRST and not self._is_rush else len(entries)
        parts = filter(None, (entries[:first], entries[first:]))
        try:
            return [left for part in parts for left in self._written_at_once(part)]
        except DatabaseError as error:
            # It was tried long enough, on behalf of all of them.
            for entry in entries:
                if entry.is_open:
                    entry.error = error
            return ()

    def _written_at_once(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Write several in one transaction; return those still to be written by themselves."""
        ways = [self._as_one]
        if merged(entries[:1]).in_turn is not None:
            ways.insert(0 if self._is_rush else 1, self._in_turn)
        for write in ways:
            try:
                return write(entries)
            except DatabaseError:
                raise
            except Exception:  # noqa: BLE001, S110 - each is told what is wrong with its own
                pass
        return entries

    def _as_one(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        hand_out(entries, self._write_merged(merged(entries)))
        return ()

    def _in_turn(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        outcomes = self._write_in_turn([cast("Batch[Any, Any]", one.operation) for one in entries])
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
    """One thread that writes groups, and the lock of a caller that writes alone."""

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
        """Whether nobody is writing here or about to come back."""
        return not self._is_writing and time.monotonic() >= self._together_until

    def _write(self, entries: Sequence[Entry]) -> None:
        self._is_writing = True
        try:
            self._write_group(entries)
        finally:
            if len(entries) > 1:
                self._together_until = time.monotonic() + _SOON_S
            self._is_writing = False
