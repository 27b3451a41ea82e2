"""Reserving: credits for a block of code that uses its own client.

    with ledger.reserving(quote, wallet="team") as reserved:
        task = client.create(...)
        reserved.submitted(task.id)
        reserved.commit(client.wait(task).cost, settled_by="provider")

The reservation is `submitting` on disk before the block begins, so that a crash in the middle of it
is recognised. `async with` has the same rules: see `areserving.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from kling_ledger.config import SENDING_S
from kling_ledger.errors import ConfigError, DatabaseError, KeyUsedError, StateError
from kling_ledger.ledger.asking import Asked, check_ceiling
from kling_ledger.ledger.labels import Labels, check
from kling_ledger.ledger.reservations import Job, Reservation, SettledBy, quoted_job
from kling_ledger.ledger.states import State
from kling_ledger.ledger.unwritten import keep_task, lasting
from kling_pricing.errors import KlingError
from kling_pricing.money import Money
from kling_pricing.quote import Quote

if TYPE_CHECKING:
    from kling_ledger.ledger import Ledger

NotSent = type[BaseException] | tuple[type[BaseException], ...]
"""Exceptions after which nothing can have been sent."""

_IN_DOUBT: Final = "the outcome of the block could not be recorded"


class Reserving:
    """A reservation around a block of code, which reports the outcome of its job.

    If the block raises, the job is in doubt and its credits stay reserved: after a read time-out
    the request may have been sent. They are returned only by `roll_back`, or by an exception listed
    in `not_sent`, such as `httpx.ConnectError`, unless `submitted` or `commit` was called before.
    If the block ends without a call, the job is done and costs what was reserved; if its last call
    was `submitted`, the job continues and the reservation stays open.
    """

    def __init__(self, ledger: Ledger, asked: Asked, *, not_sent: NotSent = ()) -> None:
        self._ledger = ledger
        self._asked = asked
        self._not_sent = _checked_types(not_sent)
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
        """Record that the provider accepted the job, and its task id.

        If the database is unreachable, writing the task id is retried for a few seconds; then
        TaskNotWrittenError contains it.
        """
        # Set before writing: if writing fails, the job was accepted anyway.
        self._was_taken = True
        self._now = keep_task(self._ledger, self.id, task_id)

    def commit(self, amount: Money | None = None, *, settled_by: SettledBy | None = None) -> None:
        """Charge what the job cost: by default what was reserved.

        `settled_by="provider"` says that the provider reported the amount; see `Ledger.commit`.
        """
        self._was_taken = True
        if amount is None:
            amount, settled_by = self.reservation.amount, settled_by or "quote"
        self._now = self._ledger.commit(self.id, amount, settled_by=settled_by)

    def roll_back(self, reason: str) -> None:
        """Return all credits: the provider did not accept the job, or reports that it failed."""
        self._now = self._ledger.roll_back(self.id, reason)

    def __enter__(self) -> Self:
        self.begin(self._ledger.reserve_many([self.asked()])[0])
        return self

    def asked(self) -> Asked:
        """Return what to reserve now: if the process then stops, that expires by itself."""
        ends_at = self._ledger.now() + timedelta(seconds=SENDING_S)
        return replace(self._asked, expires_at=ends_at)

    def begin(self, made: Reservation) -> None:
        """Begin the block with what was reserved for it."""
        try:
            self._now = self._ledger.mark_submitting(made.id)
        except StateError as error:
            if self._asked.key is None:
                raise
            raise KeyUsedError(
                self._asked.key, reservation_id=made.id, state=error.state
            ) from error
        except BaseException:
            self._give_up(made.id)
            raise
        self._was_taken = False

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
            self._ended_without_a_word()

    def __aenter__(self) -> NoReturn:
        raise TypeError("`async with` needs `ledger.areserving(...)`; this is for `with`")

    def __aexit__(self, *_: object) -> NoReturn:
        raise TypeError("`async with` needs `ledger.areserving(...)`; this is for `with`")

    def never_began(self) -> None:
        """Return all credits: the block was not entered, so nothing can have been sent."""
        self.roll_back("its block was never entered")

    def _give_up(self, reservation_id: str) -> None:
        """Return what was reserved, unless another call may be sending it under the same key."""
        if self._asked.key is None:
            with suppress(KlingError):
                self._ledger.roll_back(reservation_id, "its block was never entered")

    def _ended_without_a_word(self) -> None:
        if self._was_taken:
            # A call failed to be recorded and the block went on: the quote's cost would be wrong.
            self._end(State.IN_DOUBT, _IN_DOUBT)
        else:
            self.commit()

    def _interrupted(self, error: BaseException) -> None:
        problem = f"{type(error).__name__}: {error}".removesuffix(": ")
        was_never_sent = not self._was_taken and isinstance(error, self._not_sent)
        try:
            self._end(State.ROLLED_BACK if was_never_sent else State.IN_DOUBT, problem)
        except DatabaseError as away:
            # The caller has to see what stopped the block. The credits stay reserved.
            error.add_note(f"reservation {self.id} is still {self.reservation.state}: {away}")

    def _end(self, state: State, problem: str) -> None:
        is_back = state is State.ROLLED_BACK
        end = self._ledger.roll_back if is_back else self._ledger.mark_in_doubt
        try:
            self._now = lasting(lambda: end(self.id, problem))
        except StateError:
            self._now = self._ledger.reservations.get(self.id)


def asked_for(
    cost: Quote | Money,
    *,
    wallet: str,
    project: str | None,
    labels: Mapping[str, str] | None,
    key: str | None,
    ceiling: Money | None,
) -> Asked:
    """Return what a block asks for. Raises ConfigError and AmountError for invalid arguments."""
    check_payer(wallet, ceiling, labels)
    job = quoted_job(cost) if isinstance(cost, Quote) else Job()
    amount = cost.hold if isinstance(cost, Quote) else cost
    return Asked(wallet, amount, job, project, labels or {}, key, ceiling)


def check_payer(wallet: object, ceiling: object, labels: Labels | None = None) -> None:
    """Raise at once what the first job would raise."""
    if not isinstance(wallet, str) or not wallet.strip():
        raise ConfigError(
            f"invalid wallet name: {wallet!r}",
            hint="use a name such as wallet='team'",
        )
    check_ceiling(ceiling)
    check(labels or {})


def _checked_types(given: NotSent) -> tuple[type[BaseException], ...]:
    """Return exception types as a tuple; refuse at once what would fail only when one is raised."""
    types: tuple[Any, ...] = given if isinstance(given, tuple) else (given,)
    for one in types:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise TypeError(f"not_sent takes types of exceptions, got {one!r}")
    return types
