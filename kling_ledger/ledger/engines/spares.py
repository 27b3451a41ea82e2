"""Spares: idle connections, kept for the next caller.

What breaks without it: a connection for each call costs more than the call itself, and the pools of
the libraries hold a lock in Python code. If Ctrl-C reaches the main thread while it holds that
lock, the lock is never released, and every thread waits forever. Here each step is a single call of
the interpreter, which an interrupt can only precede or follow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Final, Generic, Protocol, TypeVar

from kling_ledger.errors import DatabaseError

MOST: Final = 32
"""How many connections are lent at a time; a further caller waits."""

LONGEST_WAIT_S: Final = 30.0
"""How long a caller waits for a connection, in seconds."""


class Closable(Protocol):
    """What can be lent."""

    def close(self) -> None:
        """Give back what it holds."""


Lent = TypeVar("Lent", bound=Closable)


class Spares(Generic[Lent]):
    """Lends connections, opens missing ones, and closes those that come back broken.

    `is_idle` says whether a connection may be lent again after an error, `is_alive` whether one
    that was unused for a while still works.
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
        """Lend a connection for a block of code; DatabaseError if all stay lent for too long."""
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
        """Lend no more, and close what came back; False if not all came back in time."""
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
        """Take a spare connection that still works, and close those that do not."""
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
            # Ctrl-C may leave a transaction open, or an unread answer.
            if is_sound:
                self._spare.append(connection)
            else:
                connection.close()
