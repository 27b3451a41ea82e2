"""Ledger: the one way in. Each method is one transaction: it happens whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from kling_ledger import config
from kling_ledger.config import utc_now
from kling_ledger.errors import RefusedError
from kling_ledger.ledger import (
    admission,
    expiry,
    ids,
    journal,
    notices,
    reservations,
    settlement,
    wallets,
)
from kling_ledger.ledger.access import Access
from kling_ledger.ledger.asking import Asked
from kling_ledger.ledger.changes import Change
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Stamp, Transaction
from kling_ledger.ledger.groups import Budgets, Evidence, Periods, Reservations, Wallets
from kling_ledger.ledger.reservations import Job, Reservation, SettledBy
from kling_ledger.ledger.reserving import Reserving, check_is_plain
from kling_ledger.ledger.states import State
from kling_ledger.ledger.wallets import Wallet
from kling_pricing.money import Money
from kling_pricing.quote import Quote

if TYPE_CHECKING:
    from kling_ledger.ledger.verify import Verification

Result = TypeVar("Result")
Admitted = Callable[[], Reservation] | RefusedError
"""What became of one job that was asked for, told once the transaction has ended."""


class Ledger:
    """A ledger in a database. Safe to use from several threads and processes at once.

    `url` is a path or address as config.database_url takes it; `clock` tells the time; `actor`
    is who is written down as acting; `chance` gives random bits for ids. A database that is not
    there is made, unless `create` says no.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
        actor: str | None = None,
        chance: Callable[[int], int] = ids.random_bits,
        create: bool = True,
    ) -> None:
        self.database = Database(config.database_url(url), create=create)
        self._access = Access(self.database, clock, actor or config.actor(), chance)
        self._rules = self._access.rules
        self._wallets: dict[str, Wallet] = {}
        self.wallets = Wallets(self._access)
        self.budgets = Budgets(self._access)
        self.reservations = Reservations(self._access)
        self.evidence = Evidence(self._access)
        self.periods = Periods(self._access)

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
        """Set credits aside for a job, once per key, if wallet and budgets all admit it."""
        asked = Asked(wallet, amount, job or Job(), project, labels or {}, key, ceiling, expires_at)
        return self.reserve_many([asked])[0]

    def reserve_many(self, asked: Sequence[Asked]) -> list[Reservation]:
        """Set credits aside for every job that is asked for, or for none of them."""
        self._know_wallets(asked)
        try:
            return self._reserve_all(asked, self._stamp())
        except RefusedError as refusal:
            notices.tell_refusal(refusal)
            raise

    def reserve_each(self, asked: Sequence[Asked]) -> list[Reservation | RefusedError]:
        """Set credits aside for every job that is admitted; another gives its refusal instead."""
        self._know_wallets(asked)
        stamp = self._stamp()
        outcomes = self._reserve_each(asked, stamp)
        refused = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, RefusedError)]
        if refused and self._is_any_due():
            again = replace(stamp, chance=stamp.chance + len(asked))
            sweep = self._stamp()
            rest = self._reserve_each([asked[n] for n in refused], again, sweep=sweep)
            for n, outcome in zip(refused, rest, strict=True):
                outcomes[n] = outcome
        for outcome in outcomes:
            if isinstance(outcome, RefusedError):
                notices.tell_refusal(outcome)
        return outcomes

    def _reserve_each(
        self, asked: Sequence[Asked], stamp: Stamp, *, sweep: Stamp | None = None
    ) -> list[Reservation | RefusedError]:
        """Reserve in one transaction; with a `sweep`, after what the clock has ended went back."""

        def reserve(transaction: Transaction) -> tuple[list[Reservation], list[Admitted]]:
            rules = self._rules.read(transaction)
            ended = [] if sweep is None else expiry.expire_due(transaction, rules, stamp=sweep)
            return ended, admission.reserve_each(
                transaction, rules, asked, stamp=stamp, wallets=self._wallets
            )

        ended, outcomes = self.database.write(reserve)
        notices.tell_expired(ended)
        return [one if isinstance(one, RefusedError) else one() for one in outcomes]

    def reserving(
        self,
        cost: Quote | Money,
        *,
        wallet: str,
        project: str | None = None,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        ceiling: Money | None = None,
    ) -> Reserving:
        """Return a reservation for a `with` block that calls a client of its own.

        See `kling_ledger.ledger.reserving.Reserving` for what becomes of it.
        """
        job = reservations.quoted_job(cost) if isinstance(cost, Quote) else Job()
        amount = cost.amount if isinstance(cost, Quote) else cost
        return Reserving(self, Asked(wallet, amount, job, project, labels or {}, key, ceiling))

    def charged(
        self,
        cost: Callable[..., Quote | Money],
        *,
        wallet: str,
        project: str | None = None,
        labels: Mapping[str, str] | None = None,
        ceiling: Money | None = None,
    ) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        """Return a decorator that reserves for each call of a function.

        `cost` is called with the function's own arguments; the function is called with its
        `Reserving` before them, and need not do anything with it. Raises TypeError for a function
        that is async or a generator.
        """

        def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
            check_is_plain(function)

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Result:
                price = cost(*args, **kwargs)
                with self.reserving(
                    price, wallet=wallet, project=project, labels=labels, ceiling=ceiling
                ) as reserved:
                    return function(reserved, *args, **kwargs)

            return call

        return decorate

    def mark_submitting(self, reservation_id: str) -> Reservation:
        """Write down, durably and before the network call, that the request is about to be sent."""
        return self._settled(Change(reservation_id, State.SUBMITTING))

    def mark_submitted(self, reservation_id: str, task_id: str) -> Reservation:
        """Write down that the provider took the job and what it calls it."""
        return self._settled(Change(reservation_id, State.SUBMITTED, task_id=task_id))

    def record_task(self, reservation_id: str, task_id: str) -> None:
        """Keep a task whose reservation has ended meanwhile: the provider may yet charge it."""
        self.database.write(
            lambda transaction: settlement.record_task(transaction, reservation_id, task_id)
        )

    def mark_in_doubt(
        self, reservation_id: str, problem: str, *, only_from: State | None = None
    ) -> Reservation:
        """Write down that nobody knows what became of the job; its credits stay reserved."""
        return self._settled(
            Change(
                reservation_id,
                State.IN_DOUBT,
                problem=problem,
                only_from=only_from,
                reason=problem,
            )
        )

    def commit(
        self,
        reservation_id: str,
        amount: Money | None = None,
        *,
        settled_by: SettledBy = "provider",
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
        """
        return self._settled(
            Change(
                reservation_id,
                State.COMMITTED,
                amount,
                is_part=is_part,
                settled_by=settled_by,
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
        """Return all credits of a reservation that were not committed."""
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
        """Give back some of what was committed, because the provider did."""
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

        The same amount again changes nothing. Raises StateError while the reservation is open.
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
        """Make many changes of reservations in one transaction: all of them, or none."""
        return self.database.write_many(self._settle, changes, stamp=self._stamp())

    def expire(self) -> list[Reservation]:
        """End every reservation whose time is over and of which nothing was ever sent."""
        stamp = self._stamp()
        ended = self.database.write(
            lambda transaction: expiry.expire_due(
                transaction, self._rules.read(transaction), stamp=stamp
            )
        )
        notices.tell_expired(ended)
        return ended

    # --- proof ------------------------------------------------------------------------------

    def verify(self) -> Verification:
        """Work every balance, window, state and seal out again from the journal."""
        from kling_ledger.ledger.verify import verify

        with self.database.read() as transaction:
            verification = verify(transaction, dialect=self.database.engine.dialect)
        notices.tell_findings(verification.findings)
        return verification

    def canonical_journal(self) -> Iterator[str]:
        """Write the whole journal line by line; the same history gives the same lines."""
        with self.database.read() as transaction:
            yield from journal.canonical(transaction)

    def _reserve(
        self, transaction: Transaction, asked: Sequence[Asked], stamp: Stamp
    ) -> Callable[[int], Reservation]:
        rules = self._rules.read(transaction)
        return admission.reserve(transaction, rules, asked, stamp=stamp, wallets=self._wallets)

    def _settle(
        self, transaction: Transaction, changes: Sequence[Change], stamp: Stamp
    ) -> Callable[[int], Reservation]:
        rules = self._rules.read(transaction)
        return settlement.settle(transaction, rules, changes, stamp=stamp)

    def _settled(self, change: Change) -> Reservation:
        return self.settle([change])[0]

    def _is_any_due(self) -> bool:
        with self.database.read() as transaction:
            return expiry.is_any_due(transaction, self._access.at_us())

    def _reserve_all(self, asked: Sequence[Asked], stamp: Stamp) -> list[Reservation]:
        try:
            return self.database.write_many(self._reserve, asked, stamp=stamp)
        except RefusedError:
            if not self._is_any_due():
                raise
        return self._reserve_after_expiry(asked, stamp)

    def _reserve_after_expiry(self, asked: Sequence[Asked], stamp: Stamp) -> list[Reservation]:
        """Before a reservation is refused for good, what the clock has ended goes back."""
        sweep = self._stamp()

        def reserve(
            transaction: Transaction,
        ) -> tuple[list[Reservation], Callable[[int], Reservation]]:
            rules = self._rules.read(transaction)
            ended = expiry.expire_due(transaction, rules, stamp=sweep)
            return ended, self._reserve(transaction, asked, stamp)

        ended, result_of = self.database.write(reserve)
        notices.tell_expired(ended)
        return [result_of(place) for place in range(len(asked))]

    def _know_wallets(self, asked: Sequence[Asked]) -> None:
        """Look up the wallets of an operation once: their ids, names and units never change."""
        unknown = {one.wallet for one in asked} - self._wallets.keys()
        if unknown:
            with self.database.read() as transaction:
                found = {name: wallets.find(transaction, name) for name in sorted(unknown)}
            self._wallets.update(found)

    def _stamp(self, reason: str | None = None) -> Stamp:
        return self._access.stamp(reason)
