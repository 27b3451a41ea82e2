"""Windows: the jobs of a window, grouped by what budgets distinguish, and past windows.

Forecasts are tested on earlier windows of a budget: each in its state when it was as far in as the
present one is now, and what was used of it in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger import budgets as budget_words
from kling_ledger.ledger.budgets import Budget
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Row, Transaction
from kling_ledger.ledger.ids import from_us, to_us
from kling_ledger.ledger.scopes import Subject, subject_of
from kling_ledger.ledger.windows import window_at
from kling_pricing.money import USD
from kling_reports.doors.times import within
from kling_reports.frames import frame_of
from kling_reports.report import Kind, Span

PAST_KINDS: Final[Mapping[str, Kind]] = {
    "budget": "text",
    "begins_at": "instant",
    "cut_at": "instant",
    "seen_at": "instant",
    "ends_at": "instant",
    "spent_micro": "money",
    "reserved_micro": "money",
    "jobs": "integer",
    "used_micro": "money",
}
"""The columns of pasts: one row is a window of a budget, with what was spent and reserved by how
many jobs at `cut_at`, and what was used at `seen_at`, its end. Jobs count with their final cost:
what was only reserved at `cut_at` counts as spent. One row is the present window so far: seen now,
and cut at the same proportion."""

_PASTS: Final = 6
"""How many earlier windows of each budget are used: half a year of months."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """Jobs that no budget distinguishes: how many cost or hold something, and the first one."""

    subject: Subject
    count: int
    first_us: int
    row: Row

    def spent(self, unit: str) -> int:
        """Return what they cost in a budget's unit, in millionths."""
        return int(self.row["usd_spent" if unit == USD else "spent"] or 0)

    def used(self, unit: str) -> int:
        """Return what they cost and hold in a budget's unit, in millionths."""
        return self.spent(unit) + int(self.row["usd_held" if unit == USD else "held"] or 0)


def jobs_in(transaction: Transaction, span: Span) -> list[Jobs]:
    """Return the jobs reserved in a span, grouped by what budgets distinguish."""
    columns = ", ".join(Subject.__slots__)
    spent = "COALESCE(committed_micro, 0) - refunded_micro"
    rows = transaction.rows(
        f"SELECT {columns}, MIN(created_at) AS first_at,"
        f" COUNT(CASE WHEN held_micro > 0 OR {spent} > 0 THEN 1 END) AS jobs,"
        f" SUM({spent}) AS spent, SUM(held_micro) AS held,"
        " SUM(usd_spent_micro) AS usd_spent, SUM(usd_held_micro) AS usd_held"
        f" FROM reservation WHERE {within(span)} GROUP BY {columns}"
    )
    return [Jobs(subject_of(row), int(row["jobs"]), int(row["first_at"]), row) for row in rows]


def covered(budget: Budget, jobs: Iterable[Jobs]) -> list[Jobs]:
    """Return the jobs that count in a budget."""
    return [one for one in jobs if budget.covers(one.subject)]


def pasts(database: Database, names: Sequence[str], *, at: datetime) -> pd.DataFrame:
    """Return past windows of the named budgets, with PAST_KINDS; those without end have none.

    The present window comes first, then the earlier ones, the latest first.
    """
    with database.read() as transaction:
        known = [
            one
            for one in budget_words.every(transaction)
            if one.name in names and one.window != "none"
        ]
        found = [
            row
            for repeats, zone in dict.fromkeys((one.window, one.timezone) for one in known)
            for row in _of_windows(transaction, repeats, zone, known, to_us(at))
        ]
    return frame_of(found, PAST_KINDS)


@dataclass(frozen=True, slots=True)
class _Window:
    """A window that is read at two instants, in microseconds."""

    begins: int
    cut: int
    seen: int
    ends: int


def _of_windows(
    transaction: Transaction, repeats: str, zone: str, known: Iterable[Budget], now_us: int
) -> Iterator[dict[str, Any]]:
    """Return the past of all budgets with the same windows: one look serves them all."""
    own = [one for one in known if (one.window, one.timezone) == (repeats, zone)]
    for window in _windows(repeats, zone, now_us):
        early, late = (
            jobs_in(transaction, Span(from_us(start), from_us(end)))
            for start, end in ((window.begins, window.cut), (window.cut, window.seen))
        )
        for budget in own:
            yield _past(budget, window, covered(budget, early), covered(budget, late))


def _windows(repeats: str, zone: str, now_us: int) -> Iterator[_Window]:
    begins, ends = window_at(repeats, zone, now_us)
    elapsed, whole = now_us - begins, ends - begins
    yield _Window(begins, begins + elapsed * elapsed // whole, now_us, ends)
    for _ in range(_PASTS):
        begins, ends = window_at(repeats, zone, begins - 1)
        yield _Window(begins, begins + (ends - begins) * elapsed // whole, ends, ends)


def _past(
    budget: Budget, window: _Window, early: Sequence[Jobs], late: Sequence[Jobs]
) -> dict[str, Any]:
    spent = sum(one.spent(budget.unit) for one in early)
    used = sum(one.used(budget.unit) for one in early)
    return {
        "budget": budget.name,
        "begins_at": window.begins,
        "cut_at": window.cut,
        "seen_at": window.seen,
        "ends_at": window.ends,
        "spent_micro": spent,
        "reserved_micro": used - spent,
        "jobs": sum(one.count for one in early),
        "used_micro": used + sum(one.used(budget.unit) for one in late),
    }
