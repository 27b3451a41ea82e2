"""Standing: how many units of each lot are left, and what they cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kling_reports.costing.books import Stock
from kling_reports.costing.lots import Lot


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a lot: units, and what they cost, in millionths."""

    units_micro: int = 0
    cost_micro: int = 0


def left_of(lots: Sequence[Lot], stocks: Sequence[Stock]) -> Mapping[str, Left]:
    """Return what is left of each lot by the id of its funding.

    At the moving average no lot has its own cost: what is left is attributed to the lots bought
    last, each with its share of the total cost.
    """
    left = {lot.transfer_id: Left() for lot in lots}
    averaged: dict[tuple[str, str | None], list[Lot]] = defaultdict(list)
    for lot in lots:
        if lot.costing == "average":
            averaged[lot.wallet_id, lot.currency].append(lot)
    for stock in stocks:
        if stock.funding_id in left:
            left[stock.funding_id] = Left(stock.units_micro, stock.cash_micro)
        elif stock.funding_id is None:
            left |= _shared_out(stock, averaged[stock.wallet_id, stock.currency])
    return left


def _shared_out(stock: Stock, lots: Sequence[Lot]) -> dict[str, Left]:
    """Share an average among its lots, the last bought first; the shares add up to it."""
    units, cash, shares = stock.units_micro, stock.cash_micro, {}
    for lot in reversed(lots):
        of_lot = min(units, lot.units_micro)
        cost = cash * of_lot // units if units else 0
        units, cash = units - of_lot, cash - cost
        shares[lot.transfer_id] = Left(of_lot, cost)
    return shares
