"""Reserving for asyncio: the rules are those of `Reserving`, and the event loop never waits.

    async with ledger.areserving(quote, wallet="team") as reserved:
        task = await client.create(...)
        await reserved.submitted(task.id)
        await reserved.commit((await client.wait(task)).cost)

Reserving waits in the event loop (`engines/awaiting.py`); every other call of the ledger runs in a
thread. A cancellation waits for what has begun to end: it is written anyway, and the cancelled
caller has to know that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self

from kling_ledger.ledger.asking import Asked
from kling_ledger.ledger.engines.awaiting import TooLate, ended_in_thread, in_thread
from kling_ledger.ledger.reservations import Reservation, SettledBy
from kling_ledger.ledger.reserving import Reserving
from kling_pricing.errors import KlingError
from kling_pricing.money import Money

Reserve = Callable[[Sequence[Asked]], Awaitable[tuple[list[Reservation], TooLate]]]
"""Reserves, and returns a cancellation that came too late to stop it."""


class AsyncReserving:
    """A reservation around a block of asynchronous code: `Reserving` says what its end means.

    A cancellation or a time-out inside the block leaves the job in doubt, like every exception. If
    it comes while the credits are being reserved, they are returned: the block never began.
    """

    def __init__(self, block: Reserving, reserve: Reserve) -> None:
        self._block = block
        self._reserve = reserve
        self._unsaid: list[_Word] = []

    @property
    def reservation(self) -> Reservation:
        """The reservation as the block has left it so far."""
        return self._block.reservation

    @property
    def id(self) -> str:
        """The reservation's id: a provider may take it as its `Idempotency-Key`."""
        return self._block.id

    def submitted(self, task_id: str) -> Awaitable[None]:
        """Record that the provider accepted the job, and its task id. To be awaited."""
        return _Word(self._unsaid, "submitted", partial(self._block.submitted, task_id))

    def commit(
        self, amount: Money | None = None, *, settled_by: SettledBy | None = None
    ) -> Awaitable[None]:
        """Charge what the job cost, by default what was reserved. To be awaited."""
        said = partial(self._block.commit, amount, settled_by=settled_by)
        return _Word(self._unsaid, "commit", said)

    def roll_back(self, reason: str) -> Awaitable[None]:
        """Return all credits: the provider did not accept the job, or it failed. To be awaited."""
        return _Word(self._unsaid, "roll_back", partial(self._block.roll_back, reason))

    async def __aenter__(self) -> Self:
        [made], too_late = await self._reserve([self._block.asked()])
        try:
            _, later = await in_thread(partial(self._block.begin, made))
        except Exception as error:
            if too_late is not None:
                raise too_late from error
            raise
        cancelled = too_late or later
        if cancelled is not None:
            # With a key too: only the caller that began the job could have sent it.
            await self._never_began(cancelled)
            raise cancelled
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, GeneratorExit):
            # The event loop is closed: nothing can be awaited any more.
            self._block.__exit__(kind, error, traceback)
            return
        unsaid = None if error is not None else self._first_unsaid()
        stopped_by = error or unsaid
        await ended_in_thread(partial(self._block.__exit__, kind, stopped_by, traceback))
        if unsaid is not None:
            raise unsaid

    def __enter__(self) -> NoReturn:
        raise TypeError("`with` needs `ledger.reserving(...)`; this is for `async with`")

    def __exit__(self, *_: object) -> NoReturn:
        raise TypeError("`with` needs `ledger.reserving(...)`; this is for `async with`")

    async def _never_began(self, cancelled: asyncio.CancelledError) -> None:
        try:
            await ended_in_thread(self._block.never_began)
        except KlingError as error:
            cancelled.add_note(
                f"reservation {self.id} is still open, and nothing was sent: {error}"
            )

    def _first_unsaid(self) -> RuntimeError | None:
        """Return the error for a block that called a method and did not await it."""
        if not self._unsaid:
            return None
        name = self._unsaid[0].name
        return RuntimeError(f"`reserved.{name}(...)` was not awaited: write `await` before it")


class _Word:
    """A call on the reservation that takes effect once it is awaited."""

    def __init__(self, unsaid: list[_Word], name: str, say: Callable[[], None]) -> None:
        self.name = name
        self._say = say
        self._unsaid = unsaid
        unsaid.append(self)

    def __await__(self) -> Generator[Any, None, None]:
        if self in self._unsaid:
            self._unsaid.remove(self)
        return ended_in_thread(self._say).__await__()
