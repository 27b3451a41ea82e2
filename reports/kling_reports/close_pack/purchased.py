"""Purchased: purchases and allowances in a close pack, from seal format 3 on.

A month sealed in an earlier format keeps its FOCUS file and has none of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_reports.close_pack.sources import Sources
from kling_reports.costing import Books, Lot, costed, lots_of
from kling_reports.doors import journal, reservations
from kling_reports.doors import purchases as bought
from kling_reports.exports import focus as focus_form
from kling_reports.exports import focus_first, of_ledger
from kling_reports.exports.lines import Line, lines
from kling_reports.frames import frame_of
from kling_reports.report import UNIT, Column, Table

_KINDS: Final = {"fund": "allowance", "adjust": "adjustment", "refund": "refund"}
_PURCHASES: Final = (
    Column("wallet", "wallet", "text"),
    Column("kind", "kind", "text", "lot, average of all lots, allowance, adjustment, on credit"),
    Column("seller", "seller", "text"),
    Column("invoice", "invoice", "text"),
    Column("bought_on", "bought on", "date"),
    Column("expires_on", "expires on", "date"),
    Column("state", "state", "text", "at the month's end: open, used up, or expired"),
    Column("opening_units_micro", "opening units", "money", "left when the month began"),
    Column("in_units_micro", "units in", "money", "that came in the month"),
    Column("used_units_micro", "units used", "money", "less what came back"),
    Column("closing_units_micro", "closing units", "money", "left when it ended"),
    Column("counted_in", "of", "text", "the wallet's own unit"),
    Column("opening_cost_micro", "opening cost", "money", "of what was left", adds_up=True),
    Column("in_cost_micro", "cost in", "money", "paid for what came, without tax", adds_up=True),
    Column("used_cost_micro", "cost used", "money", "less what came back", adds_up=True),
    Column("closing_cost_micro", "closing cost", "money", "of what is left", adds_up=True),
    Column(UNIT, "currency", "text"),
    Column("transfer_id", "transfer", "text"),
)

_ON_CREDIT: Final = "on credit"

_Key = tuple[str, str]
"""A wallet's id and one of its stocks: a funding's id, an average's currency, or _ON_CREDIT."""

Compared = tuple[str, str, int, int]
"""A figure and its unit, its value in the journal, and its value in the pack."""

_Amounts = Mapping[_Key, tuple[int, int]]
"""Units, and their cost."""


def focus_before(of: Sources, rates: Mapping[str, Decimal]) -> dict[str, bytes]:
    """Return the FOCUS file of a month sealed before purchases and allowances differed."""
    worths = reservations.worths(of.database, through=of.month)
    units = journal.units(of.database)
    return {"focus": focus_first.export(of.lines, worths, units=units, rates=rates)}


def focus(of: Sources, rates: Mapping[str, Decimal]) -> dict[str, bytes]:
    """Return the FOCUS files of a closed month by name; `focus` has its charges."""
    return of_ledger.of_month(of.database, of.month, rates=rates)


def purchases(of: Sources) -> Table:
    """Return how each lot and allowance went from its opening to its closing amount."""
    return rolled_forward(of.database, of.month)


def allowed(tables: Mapping[str, Table], unit: str) -> int:
    """Return how much of a unit allowances brought in, if the pack lists them separately."""
    if "purchases" not in tables:
        return 0
    frame = tables["purchases"].frame
    rows = (frame["kind"] == "allowance") & (frame["counted_in"] == unit)
    return int(frame.loc[rows, "in_units_micro"].sum())


def no_checks(_: Sources, __: Mapping[str, Table], ___: bytes) -> Iterator[Compared]:
    """Return no checks: this pack has nothing about purchases."""
    return iter(())


def checks(of: Sources, tables: Mapping[str, Table], exported: bytes) -> Iterator[Compared]:
    """Return figures of purchases, each with its unit, as in the database and as in the pack."""
    rolled, billed = tables["purchases"].frame, focus_form.billed(exported, "Purchase")
    for currency, cash in bought.paid(of.database, of.month).items():
        came = rolled.loc[rolled[UNIT] == currency, "in_cost_micro"].sum()
        yield "cash of purchases", currency, cash, int(came)
        yield "cash of purchases in focus", currency, cash, billed.get(currency, 0)
    summary = tables["statement"].frame
    for unit in sorted(set(summary[UNIT])):
        closing = summary.loc[summary[UNIT] == unit, "closing_micro"].sum()
        left = rolled.loc[rolled["counted_in"] == unit, "closing_units_micro"].sum()
        yield "closing units of purchases", unit, int(closing), int(left)


def rolled_forward(database: Database, month: str) -> Table:
    """Return each lot and allowance from its opening to its closing amount, in units and cash.

    At the moving average, all lots of a currency are together. Units taken on credit are negative
    until they are bought.
    """
    lots = {lot.transfer_id: lot for lot in lots_of(bought.lots(database, through=month))}
    history = list(lines(bought.moves(database, through=month)))
    books = Books(list(lots.values()))
    within = [line for line in history if line.period == month]
    for _ in costed((line for line in history if line.period < month), books):
        pass
    opening = _held(books)
    came = _came([one.line for one in costed(within, books)], lots)
    closing = _held(books)
    sources = {line.id: line for line in history}
    wallets = {line.wallet_id: line for line in history}
    rows = [
        {
            **_what(key, wallets[key[0]], sources, lots, month, is_left=closing[key][0] > 0),
            **_amounts(opening.get(key, (0, 0)), came.get(key, (0, 0)), closing[key]),
        }
        for key in sorted(closing, key=lambda key: wallets[key[0]].wallet)
        if any((opening.get(key, (0, 0))[0], came.get(key, (0, 0))[0], closing[key][0]))
    ]
    frame = frame_of(rows, {column.name: column.kind for column in _PURCHASES})
    return Table("purchases", "Purchases", _PURCHASES, _without_cost_of_allowances(frame))


def _held(books: Books) -> _Amounts:
    """Return the stocks in the order of use; those on credit last."""
    stocks = {
        (stock.wallet_id, stock.funding_id or str(stock.currency)): stock
        for stock in books.stocks()
    }
    held = {key: (stock.units_micro, stock.cash_micro) for key, stock in stocks.items()}
    return held | {(wallet, _ON_CREDIT): (-owed, 0) for wallet, owed in books.owed().items()}


def _came(moved: Iterable[Line], lots: Mapping[str, Lot]) -> _Amounts:
    """Add up what went into each stock."""
    came: dict[_Key, tuple[int, int]] = {}
    for line in moved:
        if line.kind in {"fund", "adjust"}:
            lot = lots.get(line.id)
            is_average = lot is not None and lot.costing == "average"
            key = (line.wallet_id, lot.currency if lot and is_average else line.id)
            units, cash = came.get(key, (0, 0))
            came[key] = (units + line.amount_micro, cash + (lot.cash_micro if lot else 0))
    return came


def _what(
    key: _Key,
    wallet: Line,
    sources: Mapping[str, Line],
    lots: Mapping[str, Lot],
    month: str,
    *,
    is_left: bool,
) -> dict[str, Any]:
    """Return what a stock is; `wallet` is any line of its wallet."""
    known = {"wallet": wallet.wallet, "counted_in": wallet.unit, UNIT: wallet.unit}
    if key[1] in lots:
        lot = lots[key[1]]
        names = ("seller", "invoice", "bought_on", "expires_on", "transfer_id")
        state = _state(lot, month) if is_left else "used up"
        own = {name: getattr(lot, name) for name in names}
        return {**known, "kind": "lot", **own, "state": state, UNIT: lot.currency}
    blank = dict.fromkeys(("seller", "invoice", "bought_on", "expires_on", "transfer_id"))
    if key[1] in sources:
        kind = _KINDS[sources[key[1]].kind]
        return {**blank, **known, "kind": kind, "state": None, "transfer_id": key[1]}
    if key[1] == _ON_CREDIT:
        return {**blank, **known, "kind": _ON_CREDIT, "state": None}
    return {**blank, **known, "kind": "average", "state": None, UNIT: key[1]}


def _amounts(
    opening: tuple[int, int], came: tuple[int, int], closing: tuple[int, int]
) -> dict[str, int]:
    """Return the figures of a stock: what is no longer there was used."""
    used = tuple(was + new - now for was, new, now in zip(opening, came, closing, strict=True))
    figures = {"opening": opening, "in": came, "used": used, "closing": closing}
    return {
        f"{name}_{of}_micro": amounts[place]
        for name, amounts in figures.items()
        for place, of in enumerate(("units", "cost"))
    }


def _state(lot: Lot, month: str) -> str:
    """Return whether a lot with units left could still be used when a month ended."""
    first = date.fromisoformat(f"{month}-01")
    last_day = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return "expired" if lot.expires_on is not None and lot.expires_on <= last_day else "open"


def _without_cost_of_allowances(frame: pd.DataFrame) -> pd.DataFrame:
    """Blank the cash of what was never bought: it is not zero, it does not apply."""
    costs = [column.name for column in _PURCHASES if column.adds_up]
    is_bought = frame["kind"].isin(["lot", "average"])
    return frame.assign(**{name: frame[name].where(is_bought) for name in costs})
