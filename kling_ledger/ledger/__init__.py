"""The ledger: what was promised, spent and given back. Knows money, knows no HTTP.

`Ledger` is the one way in. Each of its methods is one transaction of the database: it happens
whole, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from kling_ledger import config
from kling_ledger.ledger import reservations, wallets
from kling_ledger.ledger.database import Database
from kling_ledger.ledger.journal import Stamp
from kling_ledger.ledger.reservations import Job, Outcome, Reservation, SettledBy
from kling_ledger.ledger.tables import OPEN_STATES, State
from kling_ledger.ledger.verify import Finding, Verification, verify
from kling_ledger.ledger.wallets import Wallet
from kling_pricing.money import Money

__all__ = [
    "OPEN_STATES",
    "Finding",
    "Job",
    "Ledger",
    "Outcome",
    "Reservation",
    "SettledBy",
    "State",
    "Verification",
    "Wallet",
]


def utc_now() -> datetime:
    """Return the present instant, aware, in UTC."""
    return datetime.now(UTC)


class Ledger:
    """A ledger in a database. Safe to use from several threads and processes at once.

    `url` is a path or address as config.database_url takes it; `clock` tells the time; `actor`
    is who is written down as acting. A file that is not there is made, unless `create` says no.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
        actor: str | None = None,
        create: bool = True,
    ) -> None:
        self.database = Database(config.database_url(url), create=create)
        self._clock = clock
        self._actor = actor or config.actor()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections to the database."""
        self.database.close()

    # --- wallets ----------------------------------------------------------------------------

    def create_wallet(self, name: str, unit: str) -> Wallet:
        """Create an empty wallet; the same name and unit again is the same wallet."""
        with self.database.write() as transaction:
            return wallets.create(transaction, name, unit, stamp=self._stamp())

    def fund_wallet(
        self, name: str, amount: Money, *, key: str | None = None, reason: str | None = None
    ) -> Wallet:
        """Add credits to a wallet, once per key."""
        with self.database.write() as transaction:
            return wallets.fund(transaction, name, amount, key=key, stamp=self._stamp(reason))

    def wallet(self, name: str) -> Wallet:
        """Return a wallet by its name or id."""
        with self.database.read() as transaction:
            return wallets.find(transaction, name)

    def wallets(self) -> list[Wallet]:
        """Return all wallets by name."""
        with self.database.read() as transaction:
            return wallets.every(transaction)

    # --- reservations -----------------------------------------------------------------------

    def reserve(
        self,
        wallet: str,
        amount: Money,
        *,
        job: Job | None = None,
        project: str | None = None,
        key: str | None = None,
        ceiling: Money | None = None,
    ) -> Reservation:
        """Set credits aside for a job, once per key; refused if the wallet does not hold them."""
        with self.database.write() as transaction:
            return reservations.reserve(
                transaction,
                wallet,
                amount,
                job=job or Job(),
                stamp=self._stamp(),
                project=project,
                key=key,
                ceiling=ceiling,
            )

    def mark_submitting(self, reservation_id: str) -> Reservation:
        """Write down, durably and before the network call, that the request is about to be sent."""
        return self._change(reservation_id, State.SUBMITTING)

    def mark_submitted(self, reservation_id: str, task_id: str) -> Reservation:
        """Write down that the provider took the job and what it calls it."""
        return self._change(reservation_id, State.SUBMITTED, Outcome(task_id=task_id))

    def record_task(self, reservation_id: str, task_id: str) -> None:
        """Keep a task whose reservation has ended meanwhile: the provider may yet charge it."""
        with self.database.write() as transaction:
            reservations.record_task(transaction, reservation_id, task_id)

    def mark_in_doubt(
        self, reservation_id: str, problem: str, *, only_from: State | None = None
    ) -> Reservation:
        """Write down that nobody knows what became of the job; its credits stay reserved."""
        outcome = Outcome(problem=problem)
        return self._change(reservation_id, State.IN_DOUBT, outcome, problem, only_from)

    def commit(
        self,
        reservation_id: str,
        amount: Money,
        *,
        settled_by: SettledBy = "provider",
        videos: tuple[str, ...] = (),
        problem: str | None = None,
        reason: str | None = None,
    ) -> Reservation:
        """Charge what the job really cost and return the rest.

        More than was reserved is charged whole, because it was; the wallet may then stand below
        zero and admits nothing more.
        """
        outcome = Outcome(amount, settled_by, videos=videos, problem=problem)
        return self._change(reservation_id, State.COMMITTED, outcome, reason or problem)

    def roll_back(
        self, reservation_id: str, reason: str, *, only_from: State | None = None
    ) -> Reservation:
        """Return all credits of a reservation."""
        outcome = Outcome(problem=reason)
        return self._change(reservation_id, State.ROLLED_BACK, outcome, reason, only_from)

    def reservation(self, reservation_id: str) -> Reservation:
        """Return a reservation by its id."""
        with self.database.read() as transaction:
            return reservations.find(transaction, reservation_id)

    def reservation_of_task(self, provider: str, task_id: str) -> Reservation | None:
        """Return the reservation of a provider's task, None if the task is not ours."""
        with self.database.read() as transaction:
            return reservations.find_by_task(transaction, provider, task_id)

    def reservations(
        self, *, state: State | None = None, wallet: str | None = None, limit: int = 50
    ) -> list[Reservation]:
        """Return the latest reservations, newest first."""
        with self.database.read() as transaction:
            return reservations.latest(transaction, state=state, wallet=wallet, limit=limit)

    # --- proof ------------------------------------------------------------------------------

    def verify(self) -> Verification:
        """Work every balance and state out again from the journal."""
        with self.database.read() as transaction:
            return verify(transaction)

    def _change(
        self,
        reservation_id: str,
        to_state: State,
        outcome: Outcome | None = None,
        reason: str | None = None,
        only_from: State | None = None,
    ) -> Reservation:
        with self.database.write() as transaction:
            return reservations.change(
                transaction,
                reservation_id,
                to_state,
                stamp=self._stamp(reason),
                outcome=outcome,
                only_from=only_from,
            )

    def _stamp(self, reason: str | None = None) -> Stamp:
        return Stamp(at=self._clock(), actor=self._actor, reason=reason)
