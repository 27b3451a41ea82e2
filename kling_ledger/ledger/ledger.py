"""Ledger: the one way in. Each method is one transaction: it happens whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kling_ledger import config
from kling_ledger.config import utc_now
from kling_ledger.errors import RefusedError
from kling_ledger.ledger import (
    expiry,
    ids,
    journal,
    notices,
    settlement,
    slots,
)
from kling_ledger.ledger.access import Access
from kling_ledger.ledger.accounts_group import Accounts
from kling_ledger.ledger.admissible import Admissible
from kling_ledger.ledger.admissions import Admissions
from kling_ledger.ledger.approvals_group import Approvals
from kling_ledger.ledger.areserve import Awaited
from kling_ledger.ledger.asking import Asked
from kling_ledger.ledger.blocks import Blocks
from kling_ledger.ledger.changes import Change
from kling_ledger.ledger.clocks import ClockWatch
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Batch, Stamp, Transaction
from kling_ledger.ledger.evidence_group import Evidence
from kling_ledger.ledger.groups import Budgets, Periods, Reservations
from kling_ledger.ledger.lookout import NOTED_AFTER_S, Lookout
from kling_ledger.ledger.rehearsal import Rehearsal, Transfer
from kling_ledger.ledger.reservations import Job, Reservation, SettledBy
from kling_ledger.ledger.states import State
from kling_ledger.ledger.tokens_group import Tokens
from kling_ledger.ledger.wallets_group import Wallets
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.ledger.verify import KeptSeal, Verification


class Ledger(Awaited, Blocks):
    """A ledger in a database. Safe to use from several threads and processes at once.

    `url` is a path or address as config.database_url takes it; `clock` gives the time; `actor` is
    recorded as the person acting; `chance` gives random bits for ids. A missing database is
    created, unless `create` is false. With `dry_run` everything is done and undone: refusals are
    real, nothing changes, and `would_move` has the transfers.

    Amounts are `Money` in the unit of the wallet; another unit, or anything that is not an amount,
    is an AmountError. A `key` makes a call safe to repeat: the same key with the same content
    returns the same result and moves nothing; with other content it is a ConflictError that names
    the difference. A wrong machine clock, judged by the ledger or the server, raises ClockError and
    writes nothing. A call that raises has changed nothing. DatabaseError says whether the call can
    be repeated.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
        actor: str | None = None,
        chance: Callable[[int], int] = ids.random_bits,
        create: bool = True,
        dry_run: bool = False,
    ) -> None:
        address = config.database_url(url)
        self.database = Rehearsal(address) if dry_run else Database(address, create=create)
        watch = ClockWatch(self.database) if clock is utc_now else None
        self._access = Access(self.database, clock, actor or config.actor(), chance, watch)
        self._admissions = Admissions(self._access)
        self.lookout = Lookout(NOTED_AFTER_S)
        """Leaves a note of a task that takes long to be recorded."""
        self.wallets = Wallets(self._access)
        self.budgets = Budgets(self._access)
        self.reservations = Reservations(self._access)
        self.accounts = Accounts(self._access)
        self.evidence = Evidence(self._access)
        self.periods = Periods(self._access)
        self.approvals = Approvals(self._access)
        self.tokens = Tokens(self._access)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def now(self) -> datetime:
        """Return the instant that the ledger's clock shows."""
        return self._access.clock()

    @property
    def would_move(self) -> Sequence[Transfer]:
        """The transfers that all calls so far would make, in a dry run; else there are none."""
        return self.database.transfers if isinstance(self.database, Rehearsal) else ()

    def close(self) -> None:
        """Close the connections to the database."""
        self.database.close()

    # --- reservations -----------------------------------------------------------------------

    def reserve(
        self,
        wallet: str,
        amount: Money,
        *,
        job: Job | None = None,
        project: str | None = None,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        ceiling: Money | None = None,
        expires_at: datetime | None = None,
    ) -> Reservation:
        """Reserve credits for a job, once per key, if wallet and budgets all admit it.

        `amount` is in the wallet's unit and above zero; `ceiling` is the most that this job may
        cost; past `expires_at` the reservation expires, if nothing was sent. A repeated key returns
        the existing reservation in its current state, which may be final: check its state before
        you send anything.

        Raises InsufficientCreditsError, BudgetError, CeilingError or UnknownWorthError, which are
        all RefusedError, and NotFoundError for an unknown wallet.
        """
        asked = Asked(wallet, amount, job or Job(), project, labels or {}, key, ceiling, expires_at)
        return self.reserve_many([asked])[0]

    def reserve_many(self, asked: Sequence[Asked]) -> list[Reservation]:
        """Reserve credits for every given job, or for none.

        Raises as `reserve` does. A shortfall is computed over all of them; a budget's ceiling
        applies to each job.
        """
        return self._admissions.all_of(asked)

    def reserve_each(self, asked: Sequence[Asked]) -> list[Reservation | RefusedError]:
        """Reserve credits for every admitted job; the others return their refusals.

        They are tried in order. Only refusals are returned: bad input raises, and then no job is
        reserved.
        """
        return self._admissions.each_of(asked)

    def would_admit(self, asked: Asked) -> Admissible:
        """Return whether a reservation would be admitted now, and the largest that would be.

        It only reads, and the answer may change before you reserve. Raises the errors of `reserve`
        other than refusals, such as NotFoundError for an unknown wallet.
        """
        return self._admissions.would_admit(asked)

    def mark_submitting(self, reservation_id: str) -> Reservation:
        """Record durably, before the network call, that the request is about to be sent.

        Raises StateError unless the reservation is `reserved` and not expired: only one of several
        callers may send.
        """
        return self._settled(Change(reservation_id, State.SUBMITTING))

    def mark_submitted(self, reservation_id: str, task_id: str) -> Reservation:
        """Record that the provider accepted the job, and its task id.

        Repeating it changes nothing. Raises ConflictError for another task, or for one of another
        reservation, and StateError if the reservation's state does not allow it.
        """
        return self._settled(Change(reservation_id, State.SUBMITTED, task_id=task_id))

    def record_task(self, reservation_id: str, task_id: str) -> None:
        """Record the task of an ended reservation: the provider may still charge it.

        Moves nothing, and keeps a known task. Raises ConflictError for a task of another
        reservation.
        """
        stamp = self._access.stamp()
        self.database.write(
            lambda transaction: settlement.record_task(
                transaction,
                self._access.rules.read(transaction),
                reservation_id,
                task_id,
                stamp=stamp,
            )
        )

    def mark_in_doubt(
        self, reservation_id: str, problem: str, *, only_from: State | None = None
    ) -> Reservation:
        """Put a job in doubt: its outcome is unknown, and its credits stay reserved.

        With `only_from`, raises StateError unless the reservation is still in that state. Raises
        StateError too if nothing was sent, or if it has ended.
        """
        return self._settled(
            Change(
                reservation_id,
                State.IN_DOUBT,
                problem=problem,
                only_from=only_from,
                reason=problem,
            )
        )

    def hold(self, reservation_id: str, amount: Money, *, reason: str) -> Reservation:
        """Hold for an open job what its provider has reserved itself, more or less than before.

        More is held even beyond the wallet and the budgets, because the provider already has it:
        they may then exceed their limits and admit nothing more. Raises StateError once the
        reservation has ended.
        """
        return self._settled(Change(reservation_id, None, amount, is_hold=True, reason=reason))

    def commit(
        self,
        reservation_id: str,
        amount: Money | None = None,
        *,
        settled_by: SettledBy | None = None,
        videos: tuple[str, ...] = (),
        videos_expire_at: datetime | None = None,
        problem: str | None = None,
        reason: str | None = None,
        is_part: bool = False,
        key: str | None = None,
    ) -> Reservation:
        """Charge what the job really cost, or all that is held, and return the rest.

        If it is more than was reserved, all of it is charged; wallet and budgets may then exceed
        their limits and admit nothing more. A part leaves the rest reserved; give it a key, because
        without one a repeated call charges again.

        `amount` is zero or more, in the unit of the reservation. `settled_by` is the basis of the
        amount: a person by default, or the provider that reported it, or its bill. Without an
        amount the cost is what was held, settled by the quote. An ended reservation can be
        committed too, with an amount, if the provider charged after all. Repeating the same commit
        changes nothing; another amount is a ConflictError: use `correct`.
        """
        return self._settled(
            Change(
                reservation_id,
                State.COMMITTED,
                amount,
                is_part=is_part,
                settled_by=settled_by or ("quote" if amount is None else "person"),
                videos=videos,
                videos_expire_at=videos_expire_at,
                problem=problem,
                key=key,
                reason=reason or problem,
            )
        )

    def roll_back(
        self,
        reservation_id: str,
        reason: str,
        *,
        only_from: State | None = None,
        key: str | None = None,
    ) -> Reservation:
        """Return all credits of a reservation that were not committed.

        Repeating it changes nothing. Raises StateError if the reservation has ended otherwise, or,
        with `only_from`, is in another state.
        """
        return self._settled(
            Change(
                reservation_id,
                State.ROLLED_BACK,
                problem=reason,
                only_from=only_from,
                key=key,
                reason=reason,
            )
        )

    def refund(
        self, reservation_id: str, amount: Money, *, reason: str, key: str | None = None
    ) -> Reservation:
        """Return part of a committed amount, because the provider refunded it.

        `amount` is above zero and at most what is left of the commit, else it is an AmountError.
        Without a key, a repeated call refunds again.
        """
        return self._settled(Change(reservation_id, None, amount, key=key, reason=reason))

    def correct(
        self,
        reservation_id: str,
        amount: Money,
        *,
        reason: str,
        settled_by: SettledBy | None = None,
        key: str | None = None,
    ) -> Reservation:
        """Set the final cost of an ended job: the difference is charged or given back.

        `amount` is the whole cost, zero or more, not the difference. The same amount again changes
        nothing. Raises StateError while the reservation is open.
        """
        return self._settled(
            Change(
                reservation_id,
                None,
                amount,
                is_correction=True,
                settled_by=settled_by,
                key=key,
                reason=reason,
            )
        )

    def settle(self, changes: Sequence[Change]) -> list[Reservation]:
        """Make many changes of reservations in one transaction: all or none.

        They are made in order, so several may concern one reservation. Raises the error of the
        first that fails.
        """
        return self.database.write_batch(Batch(self._settle, changes, self._access.stamp()))

    def expire(self) -> list[Reservation]:
        """Expire every reservation that is past its time and was never sent.

        Returns those that it ended; before a refusal, admission does this itself.
        """
        stamp = self._access.stamp()
        ended = self.database.write(
            lambda transaction: expiry.expire_due(
                transaction, self._access.rules.read(transaction), stamp=stamp
            )
        )
        notices.tell_expired(ended)
        return ended

    # --- slots ------------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        """The number of slots of a hot wallet or window; 0 for none."""
        with self.database.read() as transaction:
            return self._access.rules.read(transaction).slots

    def use_slots(self, count: int) -> None:
        """Split every active wallet and window into slots; 0 merges them again.

        A wallet then scales with its clients: as many as there are slots can use it at the same
        time. Limits stay exact. Raises ConfigError for an invalid number, and for SQLite, which has
        one writer at a time.
        """
        slots.check_engine(self.database.engine.dialect)
        self._access.change_rules(lambda transaction: slots.use(transaction, count))

    # --- proof ------------------------------------------------------------------------------

    def verify(self, kept: Sequence[KeptSeal] = ()) -> Verification:
        """Recompute every balance, window, state and seal from the journal.

        `kept` are seals kept outside the ledger: each must be found in it. Changes nothing and does
        not raise for findings: see `Verification.findings`.
        """
        from kling_ledger.ledger.verify.running import run

        verification = run(self.database, kept)
        notices.tell_findings(verification.findings)
        return verification

    def canonical_journal(self) -> Iterator[str]:
        """Yield the whole journal line by line; the same history gives the same lines."""
        with self.database.read() as transaction:
            yield from journal.canonical(transaction)

    def _settle(
        self, transaction: Transaction, changes: Sequence[Change], stamp: Stamp
    ) -> Callable[[int], Reservation]:
        rules = self._access.rules.read(transaction)
        return settlement.settle(transaction, rules, changes, stamp=stamp)

    def _settled(self, change: Change) -> Reservation:
        return self.settle([change])[0]
