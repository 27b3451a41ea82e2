"""The groups of a ledger: `ledger.budgets`, `.reservations`, `.periods`.

`ledger.wallets` is in `wallets_group.py`. `ledger.accounts` is in `accounts_group.py`,
`ledger.evidence` in `evidence_group.py`, `ledger.approvals` in `approvals_group.py`,
`ledger.tokens` in `tokens_group.py`. Each method is one transaction. Reserving and settling are
methods of the ledger itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kling_ledger.errors import AmbiguousTaskError
from kling_ledger.ledger import (
    budget_history,
    budgets,
    closing,
    ids,
    limits,
    lists,
    periods,
    raises,
    relays,
    reservations,
    standing,
    two_people,
)
from kling_ledger.ledger.access import Access
from kling_ledger.ledger.budget_history import BudgetEvent, BudgetPast, Matched
from kling_ledger.ledger.lefts import Left, left_beside
from kling_ledger.ledger.limits import Setting
from kling_ledger.ledger.lists import Wanted
from kling_ledger.ledger.periods import Period
from kling_ledger.ledger.reservations import Reservation
from kling_ledger.ledger.scopes import Scope
from kling_ledger.ledger.standing import BudgetStatus
from kling_ledger.ledger.states import State
from kling_ledger.ledger.two_people import TwoPeopleChange
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets of a ledger, by name."""

    _access: Access

    def set(
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

        `limit` is zero or more; a budget in USD counts every unit at its value, any other only its
        own unit. `window` is none, hour, day, week or month by the clocks of `timezone`;
        `thresholds` are percentages of the limit; `ceiling` is the most that a single job may cost.

        Jobs already in its window count too. Setting the same again does nothing. Raises
        ConflictError if the budget exists with another scope, window, zone or unit: those never
        change.
        """
        stamp = self._access.stamp(reason)
        setting = Setting(
            name, limit, scope or Scope(), window, timezone, mode, thresholds, ceiling
        )
        return self._access.change_rules(
            lambda transaction: limits.define(transaction, setting, stamp=stamp)
        )

    def raise_limit(
        self, name: str, amount: Money, *, until: datetime, reason: str, key: str | None = None
    ) -> BudgetStatus:
        """Raise a budget's limit until an instant (exclusive), once per key.

        `amount` is above zero, in the budget's unit, and is added to the limit and to other raises.
        Raises ConfigError without a reason or for an instant that has passed.
        """
        stamp = self._access.stamp(reason)
        return self._access.change_rules(
            lambda transaction: raises.raise_limit(
                transaction, name, amount, until=until, key=key, stamp=stamp
            )
        )

    def remove(self, name: str, *, reason: str | None = None) -> None:
        """Remove a budget: it no longer limits anything, and its name is free again."""
        stamp = self._access.stamp(reason)
        self._access.change_rules(lambda transaction: limits.remove(transaction, name, stamp=stamp))

    def matched(self) -> dict[str, Matched]:
        """Return by name how many jobs each budget has ever covered, and their total."""
        with self._access.read() as transaction:
            return budget_history.matched(transaction)

    def history(self, name: str) -> list[BudgetEvent]:
        """Return who set, changed or raised a budget, when and why, oldest first."""
        with self._access.read() as transaction:
            return budget_history.history(transaction, name)

    def pasts(self, name: str) -> list[BudgetPast]:
        """Return the changes of every budget that ever had a name, removed ones too.

        Raises NotFoundError if none had it.
        """
        with self._access.read() as transaction:
            return budget_history.pasts(transaction, name)

    def get(self, name: str, *, at: datetime | None = None) -> BudgetStatus:
        """Return a budget and its figures in the window that holds an instant."""
        at_us = self._access.at_us(at)
        with self._access.read() as transaction:
            return standing.status(transaction, budgets.find_budget(transaction, name), at_us)

    def all(self, *, at: datetime | None = None) -> list[BudgetStatus]:
        """Return all budgets by name, each with its figures in the window that holds an instant."""
        at_us = self._access.at_us(at)
        with self._access.read() as transaction:
            found = sorted(budgets.every(transaction), key=lambda budget: budget.name)
            return [standing.status(transaction, budget, at_us) for budget in found]


@dataclass(frozen=True, slots=True)
class Reservations:
    """The reservations of a ledger: how to find them."""

    _access: Access

    def get(self, reservation_id: str) -> Reservation:
        """Return a reservation by its id; NotFoundError if there is none."""
        with self._access.read() as transaction:
            return reservations.find(transaction, reservation_id)

    def with_left(self, reservation_id: str) -> tuple[Reservation, Left]:
        """Return a reservation, and what its wallet and budgets have left."""
        with self._access.read() as transaction:
            rules = self._access.rules.read(transaction)
            return left_beside(transaction, rules, reservation_id)

    def of_task(
        self,
        provider: str,
        task_id: str,
        *,
        address: str | None = None,
        account: str | None = None,
    ) -> Reservation | None:
        """Return the reservation of a provider's task, None if the task is not ours.

        With an address or an account, only a job there counts. Raises AmbiguousTaskError if several
        jobs have this task id.
        """
        with self._access.read() as transaction:
            found = reservations.find_by_task(transaction, provider, task_id)
        there = [
            one
            for one in found
            if address in {None, one.job.address} and account in {None, one.job.account}
        ]
        if len(there) > 1:
            raise AmbiguousTaskError(task_id, [one.id for one in there])
        return there[0] if there else None

    def of_keys(self, keys: Sequence[str]) -> dict[str, Reservation]:
        """Return the reservations of callers' own keys, for the keys that have one."""
        with self._access.read() as transaction:
            return reservations.find_by_keys(transaction, keys)

    def latest(
        self,
        *,
        state: State | None = None,
        wallet: str | None = None,
        project: str | None = None,
        provider: str | None = None,
        account: str | None = None,
        model: str | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> list[Reservation]:
        """Return the latest matching reservations, newest first.

        A `project` that ends in a slash includes itself and everything below it; a `label` is
        `name=value`. `since` is inclusive, `until` exclusive. The page begins after the reservation
        `after`: give the last of one page to get the next.

        Raises NotFoundError for an unknown `after`, ConfigError for an invalid label.
        """
        wanted = Wanted(
            state,
            wallet,
            project,
            provider,
            account,
            model,
            label,
            None if since is None else ids.to_us(since),
            None if until is None else ids.to_us(until),
        )
        with self._access.read() as transaction:
            return lists.latest(transaction, wanted, after=after, limit=limit)

    def open(self) -> list[Reservation]:
        """Return every reservation that still holds credits, oldest first."""
        with self._access.read() as transaction:
            return reservations.open_ones(transaction)

    def some_open(
        self, *, wallet: str, provider: str, address: str | None, account: str | None, limit: int
    ) -> list[Reservation]:
        """Return at most `limit` of a wallet's open reservations at one place, drawn at random.

        Each gets its turn this way, however many there are; those in doubt come last.
        """
        with self._access.read() as transaction:
            return reservations.some_open(
                transaction,
                wallet=wallet,
                provider=provider,
                address=address,
                account=account,
                limit=limit,
            )

    def at_provider(
        self,
        provider: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Reservation]:
        """Return all reservations at a provider made since (inclusive) and until (exclusive)."""
        with self._access.read() as transaction:
            found = reservations.at_provider(
                transaction,
                provider,
                since_us=None if since is None else ids.to_us(since),
                until_us=None if until is None else ids.to_us(until),
            )
            return list(found)

    def tasks_at(self, provider: str) -> set[str]:
        """Return the ids of all our tasks at a provider."""
        with self._access.read() as transaction:
            return reservations.tasks_at(transaction, provider)

    def relay_to(self, reservation_id: str, url: str) -> None:
        """Store the callback address of a job's client, permanently, before the job is sent.

        Raises NotFoundError for an unknown reservation, ConflictError if another address is stored.
        """
        stamp = self._access.stamp()
        self._access.write(
            lambda transaction: relays.write(transaction, reservation_id, url, stamp=stamp)
        )

    def relay_of(self, reservation_id: str) -> str | None:
        """Return the callback address of a job's client, None if there is none."""
        with self._access.read() as transaction:
            return relays.read(transaction, reservation_id)

    def relay_proof(self, url: str) -> str:
        """Return the proof that stands for a client's own address: see `ledger.relays`."""
        with self._access.read() as transaction:
            return relays.proof(transaction, url)


@dataclass(frozen=True, slots=True)
class Periods:
    """The months of a ledger, and which of them are closed."""

    _access: Access

    def close(self, name: str, *, hard: bool = False, reason: str | None = None) -> Period:
        """Close a month that is over: softly, or hard under a seal; `name` is as in 2026-10.

        Repeating it changes nothing. Raises PeriodError for a month that is not over in UTC,
        PeriodOrderError if an earlier one must be sealed first, and TwoPeopleError if another
        person must seal it.
        """
        stamp = self._access.stamp(reason)
        close = closing.close_hard if hard else closing.close_softly
        return close(self._access.database, name, stamp=stamp)

    def reopen(self, name: str, *, reason: str) -> Period:
        """Reopen a month that was closed softly; PeriodError if it is sealed."""
        stamp = self._access.stamp(reason)
        return self._access.write(
            lambda transaction: periods.reopen(transaction, name, stamp=stamp)
        )

    def all(self) -> list[Period]:
        """Return every month that was ever closed."""
        with self._access.read() as transaction:
            return periods.every(transaction)

    def require_two_people(self, *, required: bool, reason: str | None = None) -> bool:
        """Set whether a month must be sealed by another person than the one who closed it.

        Who set it, when and why is recorded. Returns whether that changed anything.
        """
        stamp = self._access.stamp(reason)
        return self._access.write(
            lambda transaction: two_people.require(transaction, required=required, stamp=stamp)
        )

    def two_people(self) -> list[TwoPeopleChange]:
        """Return the changes of the two-people rule, oldest first: the last one applies."""
        with self._access.read() as transaction:
            return two_people.history(transaction)
