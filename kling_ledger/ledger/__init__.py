"""The ledger: what was promised, spent and given back. Knows money, knows no HTTP.

`Ledger` is the one way in. Each of its methods is one transaction of the database: it happens
whole, or not at all.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import wraps
from types import TracebackType
from typing import Any, Self, TypeVar

from kling_ledger import config
from kling_ledger.clock import utc_now
from kling_ledger.errors import RefusedError
from kling_ledger.ledger import (
    admission,
    budgets,
    evidence,
    ids,
    journal,
    periods,
    reservations,
    settlement,
    wallets,
)
from kling_ledger.ledger import rules as rule_book
from kling_ledger.ledger.admission import Asked
from kling_ledger.ledger.budgets import Budget, BudgetStatus, Scope
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Stamp, Transaction, Work, readable
from kling_ledger.ledger.evidence import ProviderBalance, ProviderRecord
from kling_ledger.ledger.periods import Accrual, Period
from kling_ledger.ledger.reservations import BudgetWarning, Job, Reservation, SettledBy
from kling_ledger.ledger.reserving import Reserving, check_is_plain
from kling_ledger.ledger.rules import RulesReader
from kling_ledger.ledger.settlement import Change
from kling_ledger.ledger.tables import OPEN_STATES, State
from kling_ledger.ledger.verify import Finding, Verification, verify
from kling_ledger.ledger.wallets import Wallet
from kling_pricing.money import Money
from kling_pricing.quote import Quote

__all__ = [
    "OPEN_STATES",
    "Accrual",
    "Asked",
    "Budget",
    "BudgetStatus",
    "BudgetWarning",
    "Change",
    "Finding",
    "Job",
    "Ledger",
    "Period",
    "ProviderBalance",
    "ProviderRecord",
    "Reservation",
    "Reserving",
    "Scope",
    "SettledBy",
    "State",
    "Verification",
    "Wallet",
]

Result = TypeVar("Result")


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
        chance: Callable[[int], int] = secrets.randbits,
        create: bool = True,
    ) -> None:
        self.database = Database(config.database_url(url), create=create)
        self._clock = clock
        self._actor = actor or config.actor()
        self._chance = chance
        self._rules = RulesReader()
        self._wallets: dict[str, Wallet] = {}

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
        stamp = self._stamp()
        return self.database.write(
            lambda transaction: wallets.create(transaction, name, unit, stamp=stamp)
        )

    def fund_wallet(
        self, name: str, amount: Money, *, key: str | None = None, reason: str | None = None
    ) -> Wallet:
        """Add credits to a wallet, once per key."""
        stamp = self._stamp(reason)

        def fund(transaction: Transaction) -> Wallet:
            period = self._rules.read(transaction).period(stamp.at_us)
            return wallets.fund(transaction, name, amount, key=key, stamp=stamp, period=period)

        return self.wallet(self.database.write(fund).name)

    def adjust_wallet(
        self,
        name: str,
        amount: Money,
        *,
        reason: str,
        key: str | None = None,
        corrects: str | None = None,
    ) -> Wallet:
        """Correct a wallet's balance, up or down; `corrects` names the month that it is for."""
        stamp = self._stamp(reason)

        def adjust(transaction: Transaction) -> Wallet:
            transaction.be_alone()
            rules = self._rules.read(transaction)
            period = periods.posting_period(transaction, rules, stamp.at_us, corrects)
            return wallets.adjust(
                transaction,
                name,
                amount,
                key=key,
                stamp=stamp,
                period=period,
                corrects=corrects,
            )

        return self.wallet(self.database.write(adjust).name)

    def wallet(self, name: str) -> Wallet:
        """Return a wallet by its name or id."""
        with self.database.read() as transaction:
            return wallets.find(transaction, name)

    def wallets(self) -> list[Wallet]:
        """Return all wallets by name."""
        with self.database.read() as transaction:
            return wallets.every(transaction)

    # --- budgets ----------------------------------------------------------------------------

    def set_budget(
        self,
        name: str,
        limit: Money,
        *,
        scope: Scope | None = None,
        window: str = "none",
        timezone: str = "UTC",
        mode: str = "hard",
        thresholds: Sequence[int] = budgets.DEFAULT_THRESHOLDS,
        ceiling: Money | None = None,
        reason: str | None = None,
    ) -> BudgetStatus:
        """Set a limit over a scope, or change the one of that name.

        What its window has admitted before counts too. Raises ConflictError if the budget is there
        with another scope, window, zone or unit: those never change.
        """
        stamp = self._stamp(reason)
        return self._change_rules(
            lambda transaction: budgets.define(
                transaction,
                name,
                limit,
                stamp=stamp,
                scope=scope or Scope(),
                window=window,
                timezone=timezone,
                mode=mode,
                thresholds=thresholds,
                ceiling=ceiling,
            )
        )

    def raise_budget(
        self, name: str, amount: Money, *, until: datetime, reason: str, key: str | None = None
    ) -> BudgetStatus:
        """Raise a budget's limit until an instant, once per key; then it is as it was."""
        stamp = self._stamp(reason)
        return self._change_rules(
            lambda transaction: budgets.raise_limit(
                transaction, name, amount, until=until, key=key, stamp=stamp
            )
        )

    def remove_budget(self, name: str, *, reason: str | None = None) -> None:
        """Remove a budget: it refuses nothing from now on."""
        stamp = self._stamp(reason)
        self._change_rules(lambda transaction: budgets.remove(transaction, name, stamp=stamp))

    def budget(self, name: str, *, at: datetime | None = None) -> BudgetStatus:
        """Return a budget and where it stands in the window that holds an instant."""
        at_us = ids.to_us(at or self._clock())
        with self.database.read() as transaction:
            return budgets.status(transaction, budgets.find_budget(transaction, name), at_us)

    def budgets(self, *, at: datetime | None = None) -> list[BudgetStatus]:
        """Return all budgets by name, each as it stands in the window that holds an instant."""
        at_us = ids.to_us(at or self._clock())
        with self.database.read() as transaction:
            found = sorted(budgets.every(transaction), key=lambda budget: budget.name)
            return [budgets.status(transaction, budget, at_us) for budget in found]

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
        work = Work(self._reserve, asked, self._stamp())
        try:
            return self.database.write_items(work)
        except RefusedError:
            if not self._is_any_due():
                raise
        return self._reserve_after_expiry(work)

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
        return outcomes

    def _reserve_each(
        self, asked: Sequence[Asked], stamp: Stamp, *, sweep: Stamp | None = None
    ) -> list[Reservation | RefusedError]:
        """Reserve in one transaction; with a `sweep`, after what the clock has ended went back."""

        def reserve(transaction: Transaction) -> list[Callable[[], Reservation] | RefusedError]:
            rules = self._rules.read(transaction)
            if sweep is not None:
                settlement.expire_due(transaction, rules, stamp=sweep)
            return admission.reserve_each(
                transaction, rules, asked, stamp=stamp, wallets=self._wallets
            )

        outcomes = self.database.write(reserve)
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
        return self.database.write_items(Work(self._settle, changes, self._stamp()))

    def expire(self) -> list[Reservation]:
        """End every reservation whose time is over and of which nothing was ever sent."""
        stamp = self._stamp()
        return self.database.write(
            lambda transaction: settlement.expire_due(
                transaction, self._rules.read(transaction), stamp=stamp
            )
        )

    def reservation(self, reservation_id: str) -> Reservation:
        """Return a reservation by its id."""
        with self.database.read() as transaction:
            return reservations.find(transaction, reservation_id)

    def reservation_of_task(self, provider: str, task_id: str) -> Reservation | None:
        """Return the reservation of a provider's task, None if the task is not ours."""
        with self.database.read() as transaction:
            return reservations.find_by_task(transaction, provider, task_id)

    def reservations_of_keys(self, keys: Sequence[str]) -> dict[str, Reservation]:
        """Return the reservations that callers' own keys stand for, of those that stand for one."""
        with self.database.read() as transaction:
            return reservations.find_by_keys(transaction, keys)

    def reservations(
        self, *, state: State | None = None, wallet: str | None = None, limit: int = 50
    ) -> list[Reservation]:
        """Return the latest reservations, newest first."""
        with self.database.read() as transaction:
            return reservations.latest(transaction, state=state, wallet=wallet, limit=limit)

    def open_reservations(self) -> list[Reservation]:
        """Return every reservation that still holds credits, oldest first."""
        with self.database.read() as transaction:
            return reservations.open_ones(transaction)

    # --- evidence ---------------------------------------------------------------------------

    def reservations_at(
        self,
        provider: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Reservation]:
        """Return all reservations at a provider made since (inclusive) and until (exclusive)."""
        with self.database.read() as transaction:
            return reservations.at_provider(
                transaction,
                provider,
                since_us=None if since is None else ids.to_us(since),
                until_us=None if until is None else ids.to_us(until),
            )

    def keep_records(self, records: Sequence[ProviderRecord]) -> None:
        """Keep what a provider's record said of tasks, in place of what it said before."""
        stamp = self._stamp()
        self.database.write(lambda transaction: evidence.record(transaction, records, stamp=stamp))

    def billed_at(self, provider: str) -> dict[str, Money]:
        """Return what a provider's bills charged for tasks, as they were last compared with us."""
        with self.database.read() as transaction:
            return evidence.billed(transaction, provider)

    def keep_balance(self, provider: str, address: str, available: Money) -> None:
        """Keep what an account at a provider holds now."""
        stamp = self._stamp()
        self.database.write(
            lambda transaction: evidence.record_balance(
                transaction, provider, address, available, stamp=stamp
            )
        )

    def last_balance(self, provider: str, address: str) -> ProviderBalance | None:
        """Return what an account held when it was last asked, None if it never was."""
        with self.database.read() as transaction:
            return evidence.last_balance(transaction, provider, address)

    def charged_since(self, known: ProviderBalance) -> Money:
        """Return what our journal says that an account was charged since it was asked."""
        with self.database.read() as transaction:
            micro = evidence.moved_since(
                transaction, known.provider, known.address, ids.to_us(known.at)
            )
        return Money.from_micro(micro, known.available.unit)

    # --- proof ------------------------------------------------------------------------------

    def close_period(self, name: str, *, hard: bool = False, reason: str | None = None) -> Period:
        """Close a month that is over: softly, or hard under a seal."""
        stamp = self._stamp(reason)
        close = periods.close_hard if hard else periods.close_softly
        return self.database.write(lambda transaction: close(transaction, name, stamp=stamp))

    def reopen_period(self, name: str, *, reason: str) -> Period:
        """Open a month again that was closed softly."""
        stamp = self._stamp(reason)
        return self.database.write(
            lambda transaction: periods.reopen(transaction, name, stamp=stamp)
        )

    def periods(self) -> list[Period]:
        """Return every month that was ever closed."""
        with self.database.read() as transaction:
            return periods.every(transaction)

    def verify(self) -> Verification:
        """Work every balance, window, state and seal out again from the journal."""
        with self.database.read() as transaction:
            return verify(transaction, dialect=self.database.engine.dialect)

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
            return settlement.is_any_due(transaction, ids.to_us(self._clock()))

    def _reserve_after_expiry(self, work: Work[Asked, Reservation]) -> list[Reservation]:
        """Before a reservation is refused for good, what the clock has ended goes back."""
        sweep = self._stamp()

        def reserve(transaction: Transaction) -> Callable[[int], Reservation]:
            settlement.expire_due(transaction, self._rules.read(transaction), stamp=sweep)
            return work(transaction)

        result_of = self.database.write(reserve)
        return [result_of(place) for place in range(len(work.items))]

    def _change_rules(self, operation: Callable[[Transaction], Result]) -> Result:
        def change(transaction: Transaction) -> Result:
            result = operation(transaction)
            rule_book.changed(transaction)
            return result

        return self.database.write(change)

    def _know_wallets(self, asked: Sequence[Asked]) -> None:
        """Look up the wallets of an operation once: their ids, names and units never change."""
        unknown = {one.wallet for one in asked} - self._wallets.keys()
        if unknown:
            with self.database.read() as transaction:
                found = {name: wallets.find(transaction, name) for name in sorted(unknown)}
            self._wallets.update(found)

    def _stamp(self, reason: str | None = None) -> Stamp:
        at_us = ids.to_us(self._clock())
        return Stamp(at_us, self._actor, readable(reason), self._chance(ids.RANDOM_BITS))
