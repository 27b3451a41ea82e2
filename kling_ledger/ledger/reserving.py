"""Reserving: credits for a block of code that calls a client of its own.

    with ledger.reserving(quote, wallet="team") as reserved:
        task = client.create(...)
        reserved.submitted(task.id)
        reserved.commit(client.wait(task).cost)

The reservation is `submitting` on disk before the block begins, so that a crash in the middle of it
is known for what it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kling_ledger.errors import StateError
from kling_ledger.ledger.asking import Asked
from kling_ledger.ledger.reservations import Reservation, SettledBy
from kling_ledger.ledger.states import State
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.ledger import Ledger


class Reserving:
    """A reservation around a block of code, and what the block says of its job.

    If the block raises, the job is in doubt and its credits stay: a read that timed out says
    nothing of what was sent. They come back only by a word, `roll_back`, or by an exception of a
    type that `not_sent` names, such as `httpx.ConnectError`, unless `submitted` or `commit` was
    said before. If the block ends without a word, the job is done and costs what was reserved; if
    its last word was `submitted`, the job goes on and the reservation stays open.
    """

    def __init__(
        self, ledger: Ledger, asked: Asked, *, not_sent: tuple[type[BaseException], ...] = ()
    ) -> None:
        self._ledger = ledger
        self._asked = asked
        self._not_sent = not_sent
        self._now: Reservation | None = None
        self._was_taken = False

    @property
    def reservation(self) -> Reservation:
        """The reservation as the block has left it so far."""
        if self._now is None:
            raise RuntimeError("nothing is reserved before the block begins")
        return self._now

    @property
    def id(self) -> str:
        """The reservation's id: a provider may take it as its `Idempotency-Key`."""
        return self.reservation.id

    def submitted(self, task_id: str) -> None:
        """Say that the provider took the job, and what it calls it."""
        # Known before it is written: where writing it fails, the job was taken all the same.
        self._was_taken = True
        self._now = self._ledger.mark_submitted(self.id, task_id)

    def commit(self, amount: Money | None = None) -> None:
        """Charge what the job cost: what was reserved, unless another amount is given."""
        self._was_taken = True
        settled_by: SettledBy = "quote" if amount is None else "provider"
        cost = self.reservation.amount if amount is None else amount
        self._now = self._ledger.commit(self.id, cost, settled_by=settled_by)

    def roll_back(self, reason: str) -> None:
        """Give everything back: the provider did not take the job, or says that it failed."""
        self._now = self._ledger.roll_back(self.id, reason)

    def __enter__(self) -> Self:
        made = self._ledger.reserve_many([self._asked])[0]
        self._now = self._ledger.mark_submitting(made.id)
        self._was_taken = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.reservation.state not in {State.SUBMITTING, State.SUBMITTED}:
            return
        if error is not None:
            self._interrupted(error)
        elif self.reservation.state is State.SUBMITTING:
            self.commit()

    def _interrupted(self, error: BaseException) -> None:
        problem = f"{type(error).__name__}: {error}".removesuffix(": ")
        was_never_sent = not self._was_taken and isinstance(error, self._not_sent)
        end = self._ledger.roll_back if was_never_sent else self._ledger.mark_in_doubt
        try:
            self._now = end(self.id, problem)
        except StateError:
            self._now = self._ledger.reservations.get(self.id)


def check_is_plain(function: Callable[..., Any]) -> None:
    """Raise TypeError for a function whose work is done only after the call to it has ended."""
    kinds = (
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    )
    if any(is_one(function) for is_one in kinds):
        raise TypeError(
            f"{getattr(function, '__qualname__', function)} is async or a generator: a call to it"
            " ends before its work begins, so use `with ledger.reserving(...)` inside it instead"
        )
