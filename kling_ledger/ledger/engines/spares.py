"""Spares: connections that nobody uses at the moment, kept for whoever comes next.

What breaks without it: a connection a call costs more than the call itself, and the pools of the
libraries hold a lock in Python code. Ctrl-C in the main thread may come while that is taken; it is
never given back, and every thread waits for ever. Here nothing is taken but by one call of the
interpreter, which an interrupt comes before or after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Final, Generic, Protocol, TypeVar

MOST: Final = 32
"""How many connections are lent at a time; who asks for another waits."""


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
        for _ in range(MOST):
            self._places.put(None)

    @contextmanager
    def lent(self) -> Iterator[Lent]:
        """Lend a connection for a block of code."""
        self._places.get()
        try:
            with self._one() as connection:
                yield connection
        finally:
            self._places.put(None)

    def close(self) -> None:
        """Close every connection that is not lent."""
        while self._spare:
            self._spare.pop().close()

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
