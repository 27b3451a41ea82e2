"""Awaiting: asyncio programs wait for a write while their event loop goes on.

A batch is put on the queue of a writer's thread, which wakes the loop: a thousand tasks that
reserve at once hold no thread each. Whatever takes more than one transaction runs in a thread.

A cancellation comes too late for what has begun: that is written anyway, so it is waited for, and
the caller gets the result and the cancellation, which it has to raise.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, MutableMapping
from contextvars import copy_context
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger.engines.transaction import Batch
from kling_ledger.ledger.engines.writer import PATIENCE_S, Entry, Waiting, Writer

Result = TypeVar("Result")

TooLate = asyncio.CancelledError | None
"""A cancellation that came when its call had begun, to be raised by whoever gets it."""

Turns = MutableMapping[asyncio.AbstractEventLoop, asyncio.Lock]


def turn_in(turns: Turns) -> asyncio.Lock:
    """Return the lock with which the tasks of this event loop take turns."""
    return turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())


async def in_thread(call: Callable[[], Result]) -> tuple[Result, TooLate]:
    """Make a call in a thread, and wait for its end even when cancelled.

    If both came, the call's exception is the cause of the cancellation that is raised.
    """
    loop = asyncio.get_running_loop()
    # A plain future, not a task: when the loop ends, all tasks are cancelled, but not this.
    made = loop.run_in_executor(None, copy_context().run, call)
    cancelled: TooLate = None
    while not made.done():
        try:
            await asyncio.wait([made])
        except asyncio.CancelledError as stopped:
            cancelled = stopped
    return _told(made.result, cancelled)


async def ended_in_thread(call: Callable[[], object]) -> None:
    """Make a call in a thread as `in_thread` does; a cancellation is raised after its end."""
    _, too_late = await in_thread(call)
    if too_late is not None:
        raise too_late


async def written(
    writer: Writer, batch: Batch[Any, Result]
) -> tuple[Callable[[int], Result], TooLate]:
    """Write a batch, perhaps merged with others; return what gives its results.

    A cancellation before it has begun is raised, and it never will. Raises as `Writer.run` does.
    """
    bell = _BELLS.setdefault(asyncio.get_running_loop(), _Bell())
    entry = _Awaited(batch, bell)
    cancelled: TooLate = None
    try:
        bell.look_after(entry, writer.put(entry))
        while not entry.is_answered:
            try:
                await entry.answered()
            except asyncio.CancelledError as stopped:
                if entry.claim():
                    raise
                cancelled = stopped
    except BaseException:
        entry.claim()
        raise
    finally:
        bell.leave(entry)
    return _told(entry.outcome, cancelled)


def _told(outcome: Callable[[], Result], cancelled: TooLate) -> tuple[Result, TooLate]:
    if cancelled is None:
        return outcome(), None
    try:
        return outcome(), cancelled
    except BaseException as error:
        raise cancelled from error


class _Awaited(Entry):
    """An entry whose answer wakes a task of an event loop."""

    __slots__ = ("_bell", "_loop", "_woken", "is_answered")

    def __init__(self, batch: Batch[Any, Any], bell: _Bell) -> None:
        super().__init__(batch)
        self.is_answered = False
        self._bell = bell
        self._loop = asyncio.get_running_loop()
        self._woken = self._loop.create_future()

    def answer(self) -> None:
        self._bell.ring(self._loop, self)

    async def answered(self) -> None:
        """Wait for the answer; if that is cancelled, it may be called again."""
        if self._woken.done():
            self._woken = self._loop.create_future()
        await self._woken

    def give_up(self, error: DatabaseError) -> None:
        """Answer with an error: it has waited too long."""
        self.claim()
        self.error = error
        self.wake()

    def wake(self) -> None:
        """Wake its task: the answer is there."""
        self.is_answered = True
        if not self._woken.done():
            self._woken.set_result(None)


class _Bell:
    """Wakes the tasks of one event loop: once for a group of answers, not for each of them."""

    def __init__(self) -> None:
        self._answered: deque[_Awaited] = deque()
        self._is_rung = False
        self._waiting: dict[_Awaited, Waiting] = {}
        self._is_looking = False

    def ring(self, loop: asyncio.AbstractEventLoop, entry: _Awaited) -> None:
        """Have the loop wake a task soon; from any thread."""
        self._answered.append(entry)
        if self._is_rung:
            return
        self._is_rung = True
        try:
            loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            # Nobody waits in a loop that has been closed.
            self._answered.clear()

    def look_after(self, entry: _Awaited, waiting: Waiting) -> None:
        """Look every second whether an entry has waited too long, or was not woken."""
        self._waiting[entry] = waiting
        if not self._is_looking:
            self._look_later()

    def leave(self, entry: _Awaited) -> None:
        """Look after an entry no more."""
        self._waiting.pop(entry, None)

    def _wake(self) -> None:
        # First: whoever comes while the tasks are woken rings again.
        self._is_rung = False
        while self._answered:
            # Woken before it is taken off: Ctrl-C may come between the two.
            self._answered[0].wake()
            self._answered.popleft()

    def _look(self) -> None:
        # What Ctrl-C has left of an earlier one.
        self._wake()
        for entry, waiting in [*self._waiting.items()]:
            try:
                waiting.look()
            except DatabaseError as error:
                entry.give_up(error)
        self._look_later()

    def _look_later(self) -> None:
        self._is_looking = bool(self._waiting)
        if self._is_looking:
            asyncio.get_running_loop().call_later(PATIENCE_S, self._look)


# Without a reference to its loop: a loop that is gone takes its bell with it.
_BELLS: Final[MutableMapping[asyncio.AbstractEventLoop, _Bell]] = WeakKeyDictionary()
