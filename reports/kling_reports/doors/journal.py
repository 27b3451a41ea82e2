"""The journal: one row is one transfer as posted, or a sum of transfers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_reports.doors.batches import BATCH, batches, whole
from kling_reports.doors.times import before, posted_within
from kling_reports.doors.told import FIRST_HELD
from kling_reports.frames import frame_of
from kling_reports.report import EVER, Kind, Span

_OF_TRANSFERS: Final[Mapping[str, Kind]] = {
    "id": "text",
    "created_at": "instant",
    "period": "text",
    "corrects": "text",
    "kind": "text",
    "amount_micro": "money",
    "unit": "text",
    "wallet": "text",
    "reservation_id": "text",
    "project": "text",
    "provider": "text",
    "model": "text",
    "debit_account": "text",
    "credit_account": "text",
    "actor": "text",
    "reason": "text",
}
TRANSFER_KINDS: Final[Mapping[str, Kind]] = {**_OF_TRANSFERS, "account": "text"}
"""The columns of transfers: one row each, as in the journal; `amount_micro` is positive."""

_OF_JOBS: Final[Mapping[str, Kind]] = {
    "labels": "text",
    "action": "text",
    "resolution": "text",
    "sound": "flag",
    "billed_seconds": "integer",
    "quoted_micro": "money",
    "reserved_micro": "money",
    "usd_micro": "money",
    "reserved_at": "instant",
}
LINE_KINDS: Final[Mapping[str, Kind]] = {**_OF_TRANSFERS, "wallet_id": "text", **_OF_JOBS}
"""The columns of the exported journal; of a job, only facts that never change. `quoted_micro` is
what was first held; `usd_micro` is the value of `reserved_micro`, and both rise together if the
provider itself reserves more."""

_SOURCES: Final[Mapping[str, str]] = {
    "wallet": "wallet.name",
    **{
        name: f"reservation.{name}"
        for name in ("project", "provider", "account", "model", *_OF_JOBS)
    },
    "quoted_micro": FIRST_HELD,
    "reserved_at": "reservation.created_at",
}
"""The source of columns that are not the transfer's own."""

_JOINED: Final = (
    "FROM transfer JOIN wallet ON wallet.id = transfer.wallet_id"
    # What is paid into a wallet belongs to no job.
    " LEFT JOIN reservation ON reservation.id = transfer.reservation_id"
)


def transfers(
    database: Database,
    *,
    kinds: Iterable[str],
    span: Span = EVER,
    period: str | None = None,
) -> pd.DataFrame:
    """Return transfers of some kinds, oldest first, with the columns of TRANSFER_KINDS.

    Select by the instants of a span, or by the month of the journal that they count in.
    """
    found = transfer_batches(database, kinds=kinds, span=span, period=period)
    return whole(found, TRANSFER_KINDS)


def transfer_batches(
    database: Database,
    *,
    kinds: Iterable[str],
    span: Span = EVER,
    period: str | None = None,
    by_wallet: bool = False,
    size: int = BATCH,
) -> Iterator[pd.DataFrame]:
    """Yield the rows of `transfers` in batches; with `by_wallet`, one wallet after another."""
    order = "transfer.created_at, transfer.id"
    return _batches(
        database,
        TRANSFER_KINDS,
        condition=_counted(kinds, span, period),
        order=f"wallet.name, {order}" if by_wallet else order,
        given=_month(period),
        size=size,
    )


def lines(
    database: Database,
    *,
    period: str | None = None,
    through: str | None = None,
    touched_in: str | None = None,
) -> pd.DataFrame:
    """Return the journal's transfers of every kind with LINE_KINDS, in the order of their ids.

    Of one month, or of all months up to and including one; or only of the jobs that a month
    touched. Once a month is closed hard, its lines never change.
    """
    asked = {"period": period, "through": through, "touched": touched_in}
    given = {name: value for name, value in asked.items() if value is not None}
    conditions = {
        "period": "transfer.period = :period",
        "through": "transfer.period <= :through",
        "touched": "transfer.reservation_id IN"
        " (SELECT reservation_id FROM transfer WHERE period = :touched)",
    }
    found = _batches(
        database,
        LINE_KINDS,
        condition=" AND ".join(["1 = 1", *(conditions[name] for name in given)]),
        order="transfer.id",
        given=given,
    )
    return whole(found, LINE_KINDS)


def units(database: Database) -> list[str]:
    """Return every unit of a wallet, in the order in which they entered the ledger."""
    with database.read() as transaction:
        rows = transaction.rows("SELECT unit FROM wallet ORDER BY id")
    return list(dict.fromkeys(str(row["unit"]) for row in rows))


def movements(database: Database, *, span: Span = EVER, period: str | None = None) -> pd.DataFrame:
    """Add up transfers: one row is a wallet, a kind, and whether they came `before` a span.

    Columns: `wallet`, `unit`, `kind` (missing for a wallet without any), `before`, `amount_micro`,
    and `transfers`, their number.
    """
    if period is None:
        earlier, until = (
            before(span.starts_at, beyond="1 = 0"),
            before(span.ends_at, beyond="1 = 1"),
        )
    else:
        earlier, until = "period < :period", "period <= :period"
    with database.read() as transaction:
        rows = transaction.rows(
            "SELECT wallet.name AS wallet, wallet.unit, moved.kind, moved.is_before AS before,"
            # A wallet that never received anything has a statement too: of zeros.
            " moved.amount_micro, moved.transfers FROM wallet LEFT JOIN ("
            f"  SELECT wallet_id, kind, CASE WHEN {earlier} THEN 1 ELSE 0 END AS is_before,"
            "  SUM(amount_micro) AS amount_micro, COUNT(*) AS transfers"
            f"  FROM transfer WHERE {until} GROUP BY 1, 2, 3"
            ") AS moved ON moved.wallet_id = wallet.id ORDER BY wallet.name, moved.kind",
            **_month(period),
        )
    kinds = {name: TRANSFER_KINDS[name] for name in ("wallet", "unit", "kind", "amount_micro")}
    return frame_of(rows, {**kinds, "before": "flag", "transfers": "integer"})


def _counted(kinds: Iterable[str], span: Span, period: str | None) -> str:
    """Write the condition that a transfer is of some kinds, and in a span or a month."""
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    when = posted_within(span) if period is None else "period = :period"
    return f"kind IN ({listed}) AND {when}"


def _month(period: str | None) -> dict[str, str]:
    return {} if period is None else {"period": period}


def _batches(
    database: Database,
    kinds: Mapping[str, Kind],
    *,
    condition: str,
    order: str,
    given: Mapping[str, str],
    size: int = BATCH,
) -> Iterator[pd.DataFrame]:
    columns = ", ".join(f"{_SOURCES.get(name, f'transfer.{name}')} AS {name}" for name in kinds)
    statement = f"SELECT {columns} {_JOINED} WHERE {condition} ORDER BY {order}"
    return batches(database, statement, kinds, size=size, given=given)
