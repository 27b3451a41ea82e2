"""Over: since when a budget is over its limit, by when the jobs that it covers were reserved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import pandas as pd

from kling_ledger.ledger import budgets, scopes, standing
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.ids import to_us
from kling_ledger.ledger.standing import BudgetStatus
from kling_pricing.money import USD
from kling_reports.frames import frame_of
from kling_reports.report import Kind

OVER_KINDS: Final[Mapping[str, Kind]] = {"budget": "text", "over_since_at": "instant"}
"""The columns of budgets that are over. `over_since_at` is when the job was reserved with which
all that the window covers passed today's limit."""

_IN_USD: Final = "COALESCE(usd_held_micro, 0) + COALESCE(usd_spent_micro, 0)"
_IN_ITS_UNIT: Final = "held_micro + COALESCE(committed_micro, 0) - refunded_micro"


def since(database: Database, *, at: datetime) -> pd.DataFrame:
    """Return the budgets that are over their limits at an instant, with OVER_KINDS."""
    with database.read() as transaction:
        stands = [
            standing.status(transaction, one, to_us(at)) for one in budgets.every(transaction)
        ]
        rows = [
            {"budget": one.budget.name, "over_since_at": _passed(transaction, one, to_us(at))}
            for one in stands
            if one.left.amount < 0
        ]
    return frame_of(rows, OVER_KINDS)


def _passed(transaction: Transaction, stands: BudgetStatus, at_us: int) -> int | None:
    """Return when the limit was passed, in microseconds; None where no job of the window did."""
    budget = stands.budget
    condition, values = scopes.condition(budget.scope, wallet_id=budget.wallet_id, unit=budget.unit)
    starts, ends = budget.window_at(at_us)
    row = transaction.row(
        "SELECT MIN(created_at) AS passed FROM ("
        f" SELECT created_at, SUM({_IN_USD if budget.unit == USD else _IN_ITS_UNIT})"
        " OVER (ORDER BY created_at, id) AS used_micro"
        f" FROM reservation WHERE {condition} AND created_at >= :starts AND created_at < :ends"
        ") AS running WHERE used_micro > :limit",
        starts=starts,
        ends=ends,
        limit=stands.limit.micro,
        **values,
    )
    return None if row is None or row["passed"] is None else int(row["passed"])
