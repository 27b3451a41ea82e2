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


class Ledger(Blocks):
    """A ledger in a database. Safe to use from several threads and processes at once.

    `url` is a path or address as config.database_url takes it; `clock` tells the time; `actor`
    is who is written down as acting; `chance` gives random bits for ids. A database that is not
    there is made, unless `create` says no. With `dry_run` everything is done and undone again:
    refusals are real, nothing changes, and `would_move` has what would move.

    Amounts are `Money` in the unit of the wallet; another unit, or what is no amount, is an
    AmountError. A `key` makes a call repeatable: the same key with the same content gives the same
    result and moves nothing, with other content it is a ConflictError that names the difference.
    The machine's own clock writes nothing, a ClockError, where ledger or server say it is wrong.
    A call that raises has changed nothing. DatabaseError says whether the call may be repeated.
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
        """Who leaves a note of a task that takes its time to be written down."""
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
        """Give back the connections to the database."""
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
        """Set credits aside for a job, once per key, if wallet and budgets all admit it.

        `amount` is in the wallet's unit and above zero; `ceiling` is the most that this job may
        cost; past `expires_at` the clock may end the reservation, as long as nothing was sent.
        Under a key that has reserved before, the reservation is given as it stands now, which may
        be at its end: look at its state before anything is sent.

        Raises InsufficientCreditsError, BudgetError, CeilingError or UnknownWorthError, which are
        all RefusedError, and NotFoundError for an unknown wallet.
        """
        asked = Asked(wallet, amount, job or Job(), project, labels or {}, key, ceiling, expires_at)
        return self.reserve_many([asked])[0]

    def reserve_many(self, asked: Sequence[Asked]) -> list[Reservation]:
        """Set credits aside for every job that is asked for, or for none of them.

        Raises as `reserve` does. What is missing is counted over all of them, and a budget's
        ceiling bounds each by itself.
        """
        return self._admissions.all_of(asked)

    def reserve_each(self, asked: Sequence[Asked]) -> list[Reservation | RefusedError]:
        """Set credits aside for every job that is admitted; another gives its refusal instead.

        They are tried in their order. Only refusals stand in the list: bad input raises, and then
        none of them is reserved.
        """
        return self._admissions.each_of(asked)

    def would_admit(self, asked: Asked) -> Admissible:
        """Say whether a reservation would be admitted now, and the most that would be.

        It only reads, and what it says may change before anybody reserves. Raises what `reserve`
        would raise that is no refusal, such as NotFoundError for an unknown wallet.
        """
        return self._admissions.would_admit(asked)

    def mark_submitting(self, reservation_id: str) -> Reservation:
        """Write down, durably and before the network call, that the request is about to be sent.

        Raises StateError unless the reservation is `reserved` and not past its expiry: of many that
        try, one may send.
        """
        return self._settled(Change(reservation_id, State.SUBMITTING))

    def mark_submitted(self, reservation_id: str, task_id: str) -> Reservation:
        """Write down that the provider took the job and what it calls it.

        The same task again changes nothing. Raises ConflictError for another task, or for one that
        another reservation has, and StateError where the life of a reservation does not lead here.
        """
        return self._settled(Change(reservation_id, State.SUBMITTED, task_id=task_id))

    def record_task(self, reservation_id: str, task_id: str) -> None:
        """Keep a task whose reservation has ended meanwhile: the provider may yet charge it.

        Moves nothing, and leaves a task that is known as it is. Raises ConflictError for a task
        that another reservation has.
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

        With `only_from`, raises StateError unless the reservation is still in that state: somebody
        else has moved it on. Raises StateError too where nothing was sent, or all has ended.
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
        """Hold for an open job what its provider set aside itself, be it more or less.

        More is held whatever the wallet and the budgets have left, because the provider has it
        already: they may then stand beyond their limits and admit nothing more. Raises StateError
        once the reservation has ended.
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

        More than was reserved is charged whole, because it was; wallet and budgets may then stand
        beyond their limits and admit nothing more. A part leaves the rest reserved; give it a key,
        because without one the same part again is another part.

        `amount` is zero or more, in the unit of the reservation. `settled_by` says whose word it
        is: a person's, unless you name the provider that told you, or its bill. Without an amount
        the cost is what was held: it is settled by the quote. An ended reservation may be
        committed too, at an amount: the provider charged after all. The same commit again changes
        nothing; at another amount it is a ConflictError, and `correct` is what sets it right.
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

        Again, it changes nothing. Raises StateError once the reservation has ended otherwise, or,
        with `only_from`, in any state but that one.
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
        """Give back some of what was committed, because the provider did.

        `amount` is above zero and at most what is left of the commit, else it is an AmountError.
        Without a key, the same refund again is another one.
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
        """Set what an ended job cost in the end: the difference is charged or given back.

        `amount` is the whole cost, zero or more, and not the difference. The same amount again
        changes nothing. Raises StateError while the reservation is open.
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
        """Make many changes of reservations in one transaction: all of them, or none.

        They are made in their order, so that two may be of one reservation. Raises what the first
        that cannot be made would raise alone.
        """
        return self.database.write_batch(Batch(self._settle, changes, self._access.stamp()))

    def expire(self) -> list[Reservation]:
        """End every reservation whose time is over and of which nothing was ever sent.

        Returns those that it ended; what a refusal would need of them is ended without this call.
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
        """Into how many slots a hot wallet or window is shared out; 0 for none."""
        with self.database.read() as transaction:
            return self._access.rules.read(transaction).slots

    def use_slots(self, count: int) -> None:
        """Share every wallet and window that is moved out among slots; 0 gathers them again.

        One wallet then scales with its clients: as many of them as there are slots move it at the
        same time. What is admitted stays exact. Raises ConfigError for a number that cannot be,
        and for a file: it has one writer at a time.
        """
        slots.check_engine(self.database.engine.dialect)
        self._access.change_rules(lambda transaction: slots.use(transaction, count))

    # --- proof ------------------------------------------------------------------------------

    def verify(self, kept: Sequence[KeptSeal] = ()) -> Verification:
        """Work every balance, window, state and seal out again from the journal.

        `kept` are seals that were kept outside the ledger: each has to be found in it. Changes
        nothing and raises nothing for what it finds: see `Verification.findings`.
        """
        from kling_ledger.ledger.verify.running import run

        verification = run(self.database, kept)
        notices.tell_findings(verification.findings)
        return verification

    def canonical_journal(self) -> Iterator[str]:
        """Write the whole journal line by line; the same history gives the same lines."""
        with self.database.read() as transaction:
            yield from journal.canonical(transaction)

    def _settle(
        self, transaction: Transaction, changes: Sequence[Change], stamp: Stamp
    ) -> Callable[[int], Reservation]:
        rules = self._access.rules.read(transaction)
        return settlement.settle(transaction, rules, changes, stamp=stamp)

    def _settled(self, change: Change) -> Reservation:
        return self.settle([change])[0]
