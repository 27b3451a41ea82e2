"""Glance: the state of wallets, budgets, open jobs and spending, read in a few milliseconds.

It is read every few seconds, however many jobs a ledger has. So nothing here reads all jobs or the
whole journal each time: the total spending of wallets is stored, and their spending at the start of
the day or month is computed once.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from kling_ledger.ledger import Ledger, State, Wallet, standing
from kling_ledger.ledger import approvals as approval_rows
from kling_ledger.ledger import budgets as budget_rows
from kling_ledger.ledger import wallets as wallet_rows
from kling_ledger.ledger.approvals import Approval
from kling_ledger.ledger.budgets import Budget
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.ids import first_id, from_us, to_us
from kling_ledger.ledger.standing import BudgetStatus
from kling_ledger.ledger.states import OPEN_STATES
from kling_ledger.ledger.windows import window_at
from kling_pricing.money import Money, from_micro

MOST_WALLETS: Final = 200
MOST_BUDGETS: Final = 100
MOST_JOBS: Final = 50
MOST_DOUBTS: Final = 20
MOST_APPROVALS: Final = 20
"""How many of each are shown; the rest are only counted."""

_COUNTED_AGAIN_US: Final = 60_000_000
_WORKED_OUT_AGAIN_US: Final = 3_600_000_000
_OF_A_RUN: Final = "run="
_IS_OPEN: Final = f"state IN ({', '.join(repr(str(state)) for state in OPEN_STATES)})"
_SPENT_SINCE: Final = (
    "SELECT unit, SUM(CASE WHEN kind = 'refund' THEN -amount_micro ELSE amount_micro END) AS spent"
    " FROM transfer WHERE id >= :first"
    " AND kind IN ('commit', 'overrun', 'late_commit', 'refund') GROUP BY unit"
)
_OPEN_BY_STATE: Final = (
    "SELECT state, unit, COUNT(*) AS jobs, SUM(held_micro) AS held, MIN(created_at) AS oldest"
    f" FROM reservation WHERE {_IS_OPEN} GROUP BY state, unit"
)
_JOBS: Final = (
    "SELECT reservation.id, state, wallet.name AS wallet, reservation.unit, held_micro, provider,"
    " model, project, reservation.created_at FROM reservation"
    " JOIN wallet ON wallet.id = reservation.wallet_id"
    f" WHERE {_IS_OPEN} AND"
)
_DOUBTS: Final = f"{_JOBS} state = 'in_doubt' ORDER BY reservation.created_at LIMIT {MOST_DOUBTS}"
_RUNNING: Final = (
    f"{_JOBS} state <> 'in_doubt' ORDER BY reservation.created_at DESC LIMIT {MOST_JOBS}"
)


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that still holds credits; of what its caller wrote, only names are shown."""

    id: str
    state: State
    wallet: str
    provider: str | None
    model: str | None
    project: str | None
    held: Money
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OpenCount:
    """How many jobs of one unit are in one state, what they hold, and when the oldest began."""

    state: State
    jobs: int
    held: Money
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class Spend:
    """What was charged in one unit, less refunds: today and this month, both in UTC."""

    today: Money
    month: Money


@dataclass(frozen=True, slots=True)
class Glance:
    """A ledger at one instant.

    `wallets`, `budgets` and `approvals` (those that a person can decide now) may be incomplete:
    `..._in_all` has the totals. `open_counts` covers all open jobs; `doubts` are the oldest in
    doubt, and `running` the latest of the others. `spend` is by unit.
    """

    at: datetime
    wallets: tuple[Wallet, ...]
    wallets_in_all: int
    budgets: tuple[BudgetStatus, ...]
    budgets_in_all: int
    approvals: tuple[Approval, ...]
    approvals_in_all: int
    open_counts: tuple[OpenCount, ...]
    doubts: tuple[OpenJob, ...]
    running: tuple[OpenJob, ...]
    spend: tuple[Spend, ...]


class Glances:
    """Reads glances of a ledger. Safe to share between threads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._spent_before: dict[int, tuple[int, Mapping[str, int]]] = {}
        self._counted: dict[Budget, tuple[int, int, BudgetStatus]] = {}

    def read(self) -> Glance:
        """Read the current state in one transaction; DatabaseError if that fails."""
        at = self._ledger.now().astimezone(UTC)
        at_us = to_us(at)
        with self._ledger.database.read() as transaction:
            wallets = wallet_rows.every(transaction)
            budgets = sorted(budget_rows.every(transaction), key=_place)
            asked = approval_rows.every(transaction, undecided_at_us=at_us)
            return Glance(
                at=at,
                wallets=tuple(wallets[:MOST_WALLETS]),
                wallets_in_all=len(wallets),
                budgets=self._statuses(transaction, budgets[:MOST_BUDGETS], at_us),
                budgets_in_all=len(budgets),
                approvals=tuple(asked[:MOST_APPROVALS]),
                approvals_in_all=len(asked),
                open_counts=_open_counts(transaction),
                doubts=_jobs(transaction, _DOUBTS),
                running=_jobs(transaction, _RUNNING),
                spend=self._spend(transaction, wallets, at_us),
            )

    # --- budgets ----------------------------------------------------------------------------

    def _statuses(
        self, transaction: Transaction, budgets: Sequence[Budget], at_us: int
    ) -> tuple[BudgetStatus, ...]:
        found = tuple(self._status(transaction, budget, at_us) for budget in budgets)
        with self._lock:
            self._counted = {key: kept for key, kept in self._counted.items() if key in budgets}
        return found

    def _status(self, transaction: Transaction, budget: Budget, at_us: int) -> BudgetStatus:
        """Return a budget's state.

        A window without admissions has no stored sums: jobs from before the budget must be summed
        from the reservations, so that is done only once a minute.
        """
        starts_us, _ = budget.window_at(at_us)
        if standing.is_opened(transaction, budget, starts_us):
            return standing.status(transaction, budget, at_us)
        kept = self._counted.get(budget)
        if kept is not None and kept[0] == starts_us and at_us - kept[1] < _COUNTED_AGAIN_US:
            limit = Money.exact(from_micro(budget.limit_at(at_us)), budget.unit)
            return replace(kept[2], limit=limit)
        counted = standing.status(transaction, budget, at_us)
        with self._lock:
            self._counted[budget] = (starts_us, at_us, counted)
        return counted

    # --- spend ------------------------------------------------------------------------------

    def _spend(
        self, transaction: Transaction, wallets: Sequence[Wallet], at_us: int
    ) -> tuple[Spend, ...]:
        spent = _spent_in_all(wallets)
        today, month = (window_at(repeats, "UTC", at_us)[0] for repeats in ("day", "month"))
        before = {start: self._before(transaction, spent, start, at_us) for start in (today, month)}
        with self._lock:
            self._spent_before = before

        def since(start: int, unit: str) -> Money:
            micro = spent[unit] - before[start][1].get(unit, 0)
            return Money.exact(from_micro(micro), unit)

        return tuple(Spend(since(today, unit), since(month, unit)) for unit in sorted(spent))

    def _before(
        self, transaction: Transaction, spent: Mapping[str, int], start_us: int, at_us: int
    ) -> tuple[int, Mapping[str, int]]:
        """Return, by unit, what had been spent when a day or a month began, and when that was read.

        Wallets and journal are read in one transaction, so their difference is exact. It is
        recomputed every hour, in case a machine with another clock has since posted something
        before that instant.
        """
        known = self._spent_before.get(start_us)
        if known is not None and at_us - known[0] < _WORKED_OUT_AGAIN_US:
            return known
        rows = transaction.rows(_SPENT_SINCE, first=first_id("txf", start_us))
        since = {str(row["unit"]): int(row["spent"]) for row in rows}
        return at_us, {unit: micro - since.get(unit, 0) for unit, micro in spent.items()}


def is_of_a_run(budget: Budget) -> bool:
    """Whether a budget caps a single run: there are as many such budgets as runs."""
    return (budget.scope.label or "").startswith(_OF_A_RUN)


def _place(budget: Budget) -> tuple[bool, str]:
    """Sort the caps of single runs last: there may be many of them."""
    return is_of_a_run(budget), budget.name


def _spent_in_all(wallets: Iterable[Wallet]) -> Mapping[str, int]:
    spent: Counter[str] = Counter()
    for wallet in wallets:
        spent[wallet.unit] += wallet.funded.micro + wallet.adjusted.micro - wallet.posted.micro
    return spent


def _open_counts(transaction: Transaction) -> tuple[OpenCount, ...]:
    found = [
        OpenCount(
            State(row["state"]),
            int(row["jobs"]),
            Money.exact(from_micro(int(row["held"])), row["unit"]),
            from_us(int(row["oldest"])),
        )
        for row in transaction.rows(_OPEN_BY_STATE)
    ]
    return tuple(sorted(found, key=lambda one: (OPEN_STATES.index(one.state), one.held.unit)))


def _jobs(transaction: Transaction, query: str) -> tuple[OpenJob, ...]:
    return tuple(
        OpenJob(
            row["id"],
            State(row["state"]),
            row["wallet"],
            row["provider"],
            row["model"],
            row["project"],
            Money.from_micro(row["held_micro"], row["unit"]),
            from_us(row["created_at"]),
        )
        for row in transaction.rows(query)
    )
