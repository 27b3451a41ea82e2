"""Purchases: one row is one lot (a funding that was paid for), or one funding of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_reports.frames import frame_of
from kling_reports.moves import MOVES
from kling_reports.report import Kind

LOT_KINDS: Final[Mapping[str, Kind]] = {
    "transfer_id": "text",
    "wallet": "text",
    "wallet_id": "text",
    "costing": "text",
    "unit": "text",
    "units_micro": "money",
    "cash_micro": "money",
    "tax_micro": "money",
    "currency": "text",
    "seller": "text",
    "invoice": "text",
    "bought_on": "date",
    "expires_on": "date",
    "period": "text",
    "created_at": "instant",
    "recorded_at": "instant",
}
"""The columns of lots. `units_micro` is in `unit`; `cash_micro` and `tax_micro`, on top of it, in
`currency`. `created_at` is when the funding was posted, `recorded_at` when its cost was
recorded."""


MOVE_KINDS: Final[Mapping[str, Kind]] = {
    "id": "text",
    "created_at": "instant",
    "period": "text",
    "kind": "text",
    "amount_micro": "money",
    "unit": "text",
    "wallet": "text",
    "wallet_id": "text",
    "reservation_id": "text",
    "actor": "text",
    "reason": "text",
}
"""The columns of moves, from which costs are computed; see journal.LINE_KINDS."""

_MOVES: Final = ", ".join(f"'{kind}'" for kind in MOVES)


def lots(database: Database, *, through: str | None = None) -> pd.DataFrame:
    """Return every purchase in the order of the journal, with LOT_KINDS.

    Of all months of the journal, or only up to and including `through`.
    """
    condition = "1 = 1" if through is None else "transfer.period <= :through"
    with database.read() as transaction:
        rows = transaction.rows(
            "SELECT lot.transfer_id, wallet.name AS wallet, wallet.id AS wallet_id,"
            " COALESCE(wallet.costing, 'fifo') AS costing, wallet.unit,"
            " transfer.amount_micro AS units_micro, lot.cash_micro, lot.tax_micro, lot.currency,"
            " lot.seller, lot.invoice, lot.bought_on, lot.expires_on, transfer.period,"
            " transfer.created_at, lot.created_at AS recorded_at FROM purchase_lot AS lot"
            " JOIN transfer ON transfer.id = lot.transfer_id"
            " JOIN wallet ON wallet.id = transfer.wallet_id"
            f" WHERE {condition} ORDER BY transfer.period, transfer.id",
            **({} if through is None else {"through": through}),
        )
    return frame_of(rows, LOT_KINDS)


def moves(database: Database, *, through: str | None = None) -> pd.DataFrame:
    """Return the transfers that changed what wallets hold, with MOVE_KINDS, in any order.

    Of all months of the journal, or only up to and including `through`. The rows are part of
    journal.lines, read without the jobs.
    """
    names = {"wallet": "wallet.name", "wallet_id": "wallet.id"}
    columns = (f"{names.get(name, f'transfer.{name}')} AS {name}" for name in MOVE_KINDS)
    condition = "1 = 1" if through is None else "transfer.period <= :through"
    with database.read() as transaction:
        rows = transaction.rows(
            f"SELECT {', '.join(columns)} FROM transfer"
            " JOIN wallet ON wallet.id = transfer.wallet_id"
            f" WHERE transfer.kind IN ({_MOVES}) AND {condition}",
            **({} if through is None else {"through": through}),
        )
    return frame_of(rows, MOVE_KINDS)


def paid(database: Database, period: str) -> dict[str, int]:
    """Add up by currency, in millionths, what a month's purchases cost, without tax."""
    with database.read() as transaction:
        rows = transaction.rows(
            "SELECT currency, SUM(cash_micro) AS micro FROM purchase_lot WHERE period = :period"
            " GROUP BY currency ORDER BY currency",
            period=period,
        )
    return {str(row["currency"]): int(row["micro"]) for row in rows}
