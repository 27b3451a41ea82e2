"""What was paid for credits, what is left of them, and which fundings nobody paid for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.ids import to_us
from kling_pricing.money import from_micro, plain
from kling_reports.costing import Books, Lot, Stock, costed, lots_of
from kling_reports.costing.standing import Left, left_of
from kling_reports.doors import purchases
from kling_reports.exports.lines import Line, lines
from kling_reports.frames import frame_of
from kling_reports.query import Query
from kling_reports.report import UNIT, Column, Report, Table, typed_totals

_LOTS: Final = (
    Column("wallet", "wallet", "text"),
    Column("seller", "seller", "text"),
    Column("bought_on", "bought on", "date"),
    Column("invoice", "invoice", "text"),
    Column("units_micro", "units", "money", "what was bought, in the wallet's own unit"),
    Column("used_micro", "used", "money", "of it, in the wallet's own unit"),
    Column("left_micro", "left", "money", "of it, in the wallet's own unit"),
    Column("counted_in", "of", "text", "the wallet's own unit"),
    Column("cash_micro", "cash", "money", "what was paid, without tax", adds_up=True),
    Column("tax_micro", "tax", "money", "on top of it", adds_up=True),
    Column(UNIT, "currency", "text"),
    Column("unit_price_micro", "unit price", "money", "cash for one, to the nearest millionth"),
    Column("cost_left_micro", "cost of what is left", "money", "of the cash", adds_up=True),
    Column("expires_on", "expires on", "date", "the last day on which it can be used"),
    Column("state", "state", "text", "open, used up, or expired with something left"),
    Column("costing", "costing", "text", "how the wallet's purchases are used up"),
    Column("transfer_id", "transfer", "text"),
)
_ALLOWANCES: Final = (
    Column("wallet", "wallet", "text"),
    Column("created_at", "at", "instant"),
    Column("units_micro", "allowed", "money", "what it permitted", adds_up=True),
    Column("used_micro", "used", "money", "billed as it was used", adds_up=True),
    Column("left_micro", "left", "money", "not yet used", adds_up=True),
    Column(UNIT, "unit", "text"),
    Column("actor", "user", "text"),
    Column("reason", "reason", "text"),
    Column("id", "transfer", "text"),
)
_GIVES_WAY: Final = ("transfer_id", "costing", "tax_micro", "invoice", "unit_price_micro")


def report(database: Database, query: Query) -> Report:
    """Report what was bought and what is left of it, now or at the end of a month."""
    lots, moved, stocks = _walked(database, query.period)
    today = query.now.date()
    bought = query.filtered(_bought(lots, left_of(lots, stocks), today))
    allowed = query.filtered(_allowed(moved, stocks, {lot.transfer_id for lot in lots}))
    return query.answer(
        "purchases",
        "Purchases",
        question="What was paid for credits, and what is left of it?",
        tables=[_table("purchases", "Purchases", _LOTS, bought), _allowances(allowed)],
        notes=list(_notes(bought, allowed)),
    )


def lots_left(database: Database, wallet: str, *, today: date) -> list[dict[str, str | None]]:
    """Return what is left of a wallet's purchases, plain values by name, the next to expire first.

    Purchases that never expire come last, in their order.
    """
    lots, _, stocks = _walked(database, None)
    left = left_of(lots, stocks)
    of_wallet = [lot for lot in lots if lot.wallet == wallet and left[lot.transfer_id].units_micro]
    return [
        _shown(lot, left[lot.transfer_id], today)
        for lot in sorted(of_wallet, key=lambda lot: lot.expires_on or date.max)
    ]


def _walked(
    database: Database, through: str | None
) -> tuple[list[Lot], Sequence[Line], list[Stock]]:
    """Return the purchases, the transfers and what is left, up to a month or until now."""
    lots = lots_of(purchases.lots(database, through=through))
    books = Books(lots)
    moved = [one.line for one in costed(lines(purchases.moves(database, through=through)), books)]
    return lots, moved, books.stocks()


def _bought(lots: Iterable[Lot], left: Mapping[str, Left], today: date) -> pd.DataFrame:
    rows = [_lot_row(lot, left[lot.transfer_id], today) for lot in lots]
    return frame_of(rows, {column.name: column.kind for column in _LOTS})


def _lot_row(lot: Lot, left: Left, today: date) -> dict[str, Any]:
    return {
        **{name: getattr(lot, name) for name in ("wallet", "seller", "invoice", "costing")},
        "bought_on": lot.bought_on,
        "units_micro": lot.units_micro,
        "used_micro": lot.units_micro - left.units_micro,
        "left_micro": left.units_micro,
        "counted_in": lot.unit,
        "cash_micro": lot.cash_micro,
        "tax_micro": lot.tax_micro,
        UNIT: lot.currency,
        # To the nearest, half up.
        "unit_price_micro": (2_000_000 * lot.cash_micro + lot.units_micro) // (2 * lot.units_micro),
        "cost_left_micro": left.cost_micro,
        "expires_on": lot.expires_on,
        "state": _state(lot, left, today),
        "transfer_id": lot.transfer_id,
    }


def _allowed(moved: Iterable[Line], stocks: Iterable[Stock], paid: set[str]) -> pd.DataFrame:
    """Return every unpaid funding, and how much of it is left."""
    left = {stock.funding_id: stock.units_micro for stock in stocks}
    rows = [
        {
            **{name: getattr(line, name) for name in ("wallet", "actor", "reason", "id")},
            "created_at": to_us(line.created_at),
            "units_micro": line.amount_micro,
            "used_micro": line.amount_micro - left[line.id],
            "left_micro": left[line.id],
            UNIT: line.unit,
        }
        for line in moved
        if line.kind == "fund" and line.id not in paid
    ]
    return frame_of(rows, {column.name: column.kind for column in _ALLOWANCES})


def _allowances(allowed: pd.DataFrame) -> Table:
    return _table("allowances", "Allowances", _ALLOWANCES, allowed)


def _table(name: str, title: str, columns: tuple[Column, ...], frame: pd.DataFrame) -> Table:
    added = [column.name for column in columns if column.adds_up]
    # If a value is unknown in one row, it is unknown for all of them.
    totals = frame.groupby(UNIT, sort=True, as_index=False)[added].sum(min_count=1)
    return Table(
        name,
        title,
        columns,
        frame.reset_index(drop=True),
        totals=typed_totals(totals, columns),
        empty=f"there are no {name}",
        gives_way=_GIVES_WAY if name == "purchases" else ("id", "actor", "reason"),
    )


def _notes(bought: pd.DataFrame, allowed: pd.DataFrame) -> Iterable[str]:
    if len(allowed):
        yield (
            f"{len(allowed)} of {len(allowed) + len(bought)} fundings are allowances: no cash "
            "was recorded for them. kling-ledger wallet purchase WALLET --of TRANSFER does."
        )
    expired = int((bought["state"] == "expired").sum())
    if expired:
        yield (
            f"{expired} expired with something left. It counts as usable: only the seller knows."
            " kling-ledger wallet adjust takes it out."
        )


def _state(lot: Lot, left: Left, today: date) -> str:
    if not left.units_micro:
        return "used up"
    return "expired" if lot.expires_on is not None and lot.expires_on < today else "open"


def _shown(lot: Lot, left: Left, today: date) -> dict[str, str | None]:
    return {
        "bought_on": lot.bought_on.isoformat(),
        "seller": lot.seller,
        "invoice": lot.invoice,
        "units": plain(from_micro(lot.units_micro)),
        "left": plain(from_micro(left.units_micro)),
        "unit": lot.unit,
        "cash": plain(from_micro(lot.cash_micro)),
        "cost_left": plain(from_micro(left.cost_micro)),
        "currency": lot.currency,
        "expires_on": None if lot.expires_on is None else lot.expires_on.isoformat(),
        "state": _state(lot, left, today),
        "transfer_id": lot.transfer_id,
    }
