"""The controls of a month: each rule, the file that shows it, and the query that anyone can run.

Each query is SQL that runs on both engines exactly as printed; that is how its result was obtained.
It reads only what the seal covers and what came before, so its result never changes. The statement
that admits a job also enforces hard limits, so no job is admitted beyond one; what can be seen
afterwards is only what went beyond a limit later, because the provider charged it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from kling_ledger.ledger.engines.transaction import Transaction
from kling_reports import limits
from kling_reports.close_pack.sources import Sources
from kling_reports.doors.limits import changes
from kling_reports.frames import frame_of
from kling_reports.moves import CHARGING
from kling_reports.report import Column, Table, typed

_COLUMNS: Final = (
    Column("control", "control", "text", "what is held to"),
    Column("evidence", "evidence", "text", "the file of this pack, or the table, that shows it"),
    Column("query", "query", "text", "what anyone can run to find the result again"),
    Column("result", "result", "integer", "what it gave for the month; amounts in millionths"),
    Column("expected", "expected", "integer", "what it has to give; blank where it only tells"),
    Column("holds", "holds", "flag", "whether the result is what is expected"),
)
_CHARGED: Final = ", ".join(f"'{kind}'" for kind in CHARGING)
_VERIFY: Final = "kling-ledger verify"


@dataclass(frozen=True, slots=True)
class _Control:
    """One control; MONTH in its query stands for the month. Without `expected` it only reports."""

    name: str
    evidence: str
    query: str
    expected: int | None = None


_CONTROLS: Final = (
    _Control(
        "nothing is charged without a reservation",
        "statement-lines.csv; table transfer",
        f"SELECT COUNT(*) FROM transfer AS charge WHERE period = 'MONTH' AND kind IN ({_CHARGED})"
        " AND NOT EXISTS (SELECT 1 FROM transfer AS held WHERE held.kind = 'reserve'"
        " AND held.reservation_id = charge.reservation_id AND held.period <= 'MONTH')",
        0,
    ),
    _Control(
        "what was charged beyond what was admitted is listed",
        "corrections.csv; table transfer",
        "SELECT COUNT(*) FROM transfer WHERE period = 'MONTH'"
        " AND kind IN ('overrun', 'late_commit')",
    ),
    _Control(
        "changes of limits are listed, with who, when and why",
        "limits.csv; table budget_event",
        "SELECT COUNT(*) FROM budget_event WHERE period = 'MONTH'",
    ),
    _Control(
        "how many people changed limits",
        "limits.csv; table budget_event",
        "SELECT COUNT(DISTINCT actor) FROM budget_event WHERE period = 'MONTH'",
    ),
    _Control(
        "changes of limits without a reason",
        "limits.csv; table budget_event",
        "SELECT COUNT(*) FROM budget_event WHERE period = 'MONTH' AND COALESCE(reason, '') = ''",
    ),
    _Control(
        "another person approved the close than prepared it, by the names that were given",
        "seal.json; table period",
        "SELECT COUNT(*) FROM period WHERE name = 'MONTH'"
        " AND (prepared_by IS NULL OR prepared_by = actor)",
        0,
    ),
    _Control(
        "corrections and refunds have a reason",
        "corrections.csv; table transfer",
        "SELECT COUNT(*) FROM transfer WHERE period = 'MONTH'"
        " AND kind IN ('adjust', 'adjust_down', 'refund') AND COALESCE(reason, '') = ''",
        0,
    ),
    _Control(
        "what corrects a closed month names it",
        "statement-lines.csv; table transfer",
        "SELECT COUNT(*) FROM transfer WHERE period = 'MONTH' AND corrects IS NOT NULL",
    ),
    _Control(
        "each job that was charged is confirmed by its provider or a bill, as of the month",
        "tables transfer and job_event",
        "SELECT COUNT(*) FROM (SELECT DISTINCT reservation_id FROM transfer"
        f" WHERE period = 'MONTH' AND kind IN ({_CHARGED})) AS charged WHERE COALESCE("
        "(SELECT settled_by FROM job_event AS event"
        " WHERE event.reservation_id = charged.reservation_id AND event.period <= 'MONTH'"
        " ORDER BY event.step DESC LIMIT 1), '') NOT IN ('provider', 'bill')",
        0,
    ),
    _Control(
        "what jobs still held at the month's end is accrued",
        "accruals.csv; table accrual",
        "SELECT COUNT(*) FROM accrual WHERE period = 'MONTH'",
    ),
    _Control(
        "accruals are what the journal says that each job held",
        "accruals.csv; tables accrual and transfer",
        "SELECT COUNT(*) FROM (SELECT reservation_id FROM ("
        "SELECT reservation_id, amount_micro AS micro FROM accrual WHERE period = 'MONTH'"
        " UNION ALL SELECT reservation_id, CASE WHEN kind IN ('reserve', 'reopen')"
        " THEN -amount_micro ELSE amount_micro END FROM transfer WHERE period <= 'MONTH' AND kind"
        " IN ('reserve', 'reopen', 'commit', 'return', 'roll_back', 'expire')) AS told"
        " GROUP BY reservation_id HAVING SUM(micro) <> 0) AS differing",
        0,
    ),
    _Control(
        "the seal follows that of the month before",
        "seal.json; table period",
        "SELECT COUNT(*) FROM period WHERE name = 'MONTH' AND COALESCE(previous_seal, '') <>"
        " COALESCE((SELECT earlier.seal FROM period AS earlier WHERE earlier.state = 'hard'"
        " AND earlier.name < 'MONTH' ORDER BY earlier.name DESC LIMIT 1), '')",
        0,
    ),
)
_SPENT: Final = (
    f"SELECT COALESCE(SUM(CASE WHEN kind IN ({_CHARGED}) THEN amount_micro ELSE -amount_micro END),"
    f" 0) FROM transfer WHERE period = 'MONTH' AND unit = 'UNIT' AND kind IN ({_CHARGED}, 'refund')"
)
"""What was charged less refunds, in one unit."""


def controls(of: Sources) -> Table:
    """Return the controls of a month, each with its result."""
    with of.database.read() as transaction:
        rows = [*_rows(transaction, of.month), *_spent(transaction, of.month, of.spend)]
    kinds = {column.name: column.kind for column in _COLUMNS}
    return Table("controls", "Controls", _COLUMNS, frame_of(rows, kinds))


def limits_changed(of: Sources) -> Table:
    """Return the month's changes of limits."""
    found = changes(of.database)
    of_month = limits.limits(found[found["period"] == of.month])
    # A budget may be removed later: whether it was is not part of the month.
    columns = tuple(column for column in of_month.columns if column.name != "removed")
    return Table("limits", of_month.title, columns, typed(of_month.frame, columns))


def _rows(transaction: Transaction, month: str) -> Iterator[dict[str, Any]]:
    for one in _CONTROLS:
        query = one.query.replace("MONTH", month)
        yield _row(one.name, one.evidence, query, _figure(transaction, query), one.expected)
    # No pack is made of a month that differs from its seal.
    yield _row("the seal is what the month's rows give", "seal.json", _VERIFY, 0, 0)


def _spent(transaction: Transaction, month: str, spend: Table) -> Iterator[dict[str, Any]]:
    said = spend.frame.groupby("unit")["net_micro"].sum()
    for unit in sorted(said.index):
        query = _SPENT.replace("MONTH", month).replace("UNIT", unit)
        yield _row(
            f"journal, statement and spend say the same: {unit}",
            "checks.csv, statement.csv, spend.csv; table transfer",
            query,
            _figure(transaction, query),
            int(said[unit]),
        )


def _row(
    control: str, evidence: str, query: str, result: int, expected: int | None
) -> dict[str, Any]:
    return {
        "control": control,
        "evidence": evidence,
        "query": query,
        "result": result,
        "expected": expected,
        "holds": None if expected is None else result == expected,
    }


def _figure(transaction: Transaction, query: str) -> int:
    """Return the single number that a query yields."""
    row = transaction.row(query)
    return int(next(iter(row.values()))) if row else 0
