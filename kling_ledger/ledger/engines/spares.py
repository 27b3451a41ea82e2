"""Spares: connections that nobody uses at the moment, kept for whoever comes next.

What breaks without it: a connection a call costs more than the call itself, and the pools of the
libraries hold a lock in Python code. Ctrl-C in the main thread may come while that is taken; it is
never given back, and every thread waits for ever. Here nothing is taken but by one call of the
interpreter, which an interrupt comes before or after.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Final, Generic, Protocol, TypeVar

from kling_ledger.errors import DatabaseError

MOST: Final = 32
"""How many connections are lent at a time; who asks for another waits."""

LONGEST_WAIT_S: Final = 30.0
"""How long that is waited for."""


class Closable(Protocol):
    """What can be lent."""

    def close(self) -> None:
        """Give back what it holds."""


Lent = TypeVar("Lent", bound=Closable)


class Spares(Generic[Lent]):
    """Lends connections, makes those that are missing, and closes those that came back broken.

    `is_idle` says whether one, after an error, may be lent again, `is_alive` whether one that
    nobody has used for a while still may.
    """

    def __init__(
        self,
        connect: Callable[[], Lent],
        *,
        is_idle: Callable[[Lent], bool],
        is_alive: Callable[[Lent], bool] = lambda _: True,
    ) -> None:
        self._connect = connect
        self._is_idle = is_idle
        self._is_alive = is_alive
        self._spare: list[Lent] = []
        self._places: SimpleQueue[None] = SimpleQueue()
        self._withdrawn = 0
        for _ in range(MOST):
            self._places.put(None)

    @contextmanager
    def lent(self) -> Iterator[Lent]:
        """Lend a connection for a block of code; DatabaseError where all are lent for long."""
        try:
            self._places.get(timeout=LONGEST_WAIT_S)
        except Empty:
            raise DatabaseError(
                f"{MOST} connections are in use, and none was released within"
                f" {LONGEST_WAIT_S:.0f} s",
                hint="finish the reads of this process, such as a half-read journal",
                retryable=True,
            ) from None
        try:
            with self._one() as connection:
                yield connection
        finally:
            self._places.put(None)

    def close(self) -> None:
        """Close every connection that is not lent."""
        while self._spare:
            self._spare.pop().close()

    def withdraw(self, *, within_s: float) -> bool:
        """Lend no more, and close what came back; False where not all came back in time."""
        give_up_at = time.monotonic() + within_s
        try:
            while self._withdrawn < MOST:
                self._places.get(timeout=max(give_up_at - time.monotonic(), 0.001))
                self._withdrawn += 1
        except Empty:
            return False
        finally:
            self.close()
        return True

    def lend_again(self) -> None:
        """Lend as before."""
        while self._withdrawn:
            self._withdrawn -= 1
            self._places.put(None)

    def _kept(self) -> Lent | None:
        """Take one that is still alive; those that are not have nothing to give back."""
        while True:
            try:
                connection = self._spare.pop()
            except IndexError:
                return None
            if self._is_alive(connection):
                return connection
            connection.close()

    @contextmanager
    def _one(self) -> Iterator[Lent]:
        connection = self._kept() or self._connect()
        is_sound = False
        try:
            yield connection
            is_sound = True
        except Exception:
            is_sound = self._is_idle(connection)
            raise
        finally:
            # Ctrl-C may leave a transaction open, or an answer that nobody has read.
            if is_sound:
                self._spare.append(connection)
            else:
                connection.close()
