"""FOCUS: the journal as a table of charges that any cost tool can read, with credits as credits.

`focus_charges.py` maps transfers to rows, `focus_columns.py` has the columns, and
`focus_datasets.py` writes the other datasets of 1.4.

Source: https://focus.finops.org/focus-specification/v1-2/, checked 2026-11-20.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pandas as pd

from kling_pricing.money import to_micro
from kling_reports.costing import Books, costed, lots_of
from kling_reports.exports.focus_cells import written
from kling_reports.exports.focus_charges import charges
from kling_reports.exports.focus_columns import Version, headings
from kling_reports.exports.lines import lines
from kling_reports.exports.worth import Rates, currency_codes
from kling_reports.moves import MOVES


def export(
    journal: pd.DataFrame, worths: pd.DataFrame, *, version: Version = "1.2", **given: Any
) -> bytes:
    """Return a FOCUS file (CSV, UTF-8) of the charges in a journal; arguments as for `rows`.

    The same journal gives the same bytes, and a month's lines are the same alone or among others.
    """
    return written(rows(journal, worths, **given), headings(version))


def rows(
    journal: pd.DataFrame,
    worths: pd.DataFrame,
    *,
    lots: pd.DataFrame | None = None,
    period: str | None = None,
    units: Sequence[str] = (),
    rates: Mapping[str, Decimal] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a FOCUS file for the charges in a journal, in COLUMNS.

    `journal` comes from journal.lines; with `lots` (see purchases.lots) it must be complete,
    because what a charge costs depends on everything before it. `period` limits the rows to one
    month. `worths` comes from reservations.worths, `units` from journal.units; `rates` is what one
    of a unit is worth in USD if no job says it. Raises ConfigError if the value of units used
    without a purchase is unknown.
    """
    moved = [line for line in lines(journal) if line.kind in MOVES]
    bought = [] if lots is None else lots_of(lots)
    of_fundings = {lot.transfer_id: lot for lot in bought}
    known = Rates(rates or {}, worths)
    codes = currency_codes([*units, *sorted({line.unit for line in moved})])
    # In the order of the journal's ids, as in every export.
    for one in sorted(costed(moved, Books(bought)), key=lambda costed: costed.line.id):
        if period in {None, one.line.period}:
            lot = of_fundings.get(one.line.id)
            yield from charges(one, lot=lot, rate_of=known.of, codes=codes)


def amounts(exported: bytes, unit: str) -> dict[str, int]:
    """Sum, in millionths of a unit, what one of our files says went into wallets, by category."""
    added = dict.fromkeys(("Purchase", "Usage", "Adjustment", "Tax"), 0)
    for row in csv.DictReader(io.StringIO(exported.decode(), newline="")):
        if row["x_Unit"] == unit:
            added[row["ChargeCategory"]] += to_micro(Decimal(row["x_Amount"]))
    return added


def billed(exported: bytes, category: str) -> dict[str, int]:
    """Sum by currency, in millionths, what one of our files says was billed in a category."""
    added: dict[str, int] = defaultdict(int)
    for row in csv.DictReader(io.StringIO(exported.decode(), newline="")):
        if row["ChargeCategory"] == category:
            added[row["BillingCurrency"]] += to_micro(Decimal(row["BilledCost"]))
    return added
