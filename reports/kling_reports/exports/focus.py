"""FOCUS: the journal as a table of charges that any cost tool can read, credits as credits.

`focus_charges.py` says what a transfer is in it, `focus_columns.py` what the columns are.

Source: https://focus.finops.org/focus-specification/v1-2/, checked 2026-11-20.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pandas as pd

from kling_pricing.money import to_micro
from kling_reports.exports.focus_charges import charge
from kling_reports.exports.focus_columns import COLUMNS, Version, headings
from kling_reports.exports.lines import lines
from kling_reports.exports.worth import Rates, currency_codes
from kling_reports.moves import MOVES
from kling_reports.render.values import harmless


def export(
    journal: pd.DataFrame,
    worths: pd.DataFrame,
    *,
    units: Sequence[str] = (),
    rates: Mapping[str, Decimal] | None = None,
    version: Version = "1.2",
) -> bytes:
    """Return a FOCUS file (CSV, UTF-8) of the charges in a journal.

    `journal` is as journal.lines gives it, `worths` as reservations.worths does, `units` as
    journal.units does; `rates` is what one of a unit is worth in USD where no job says it. The same
    journal gives the same bytes, and a month the same lines alone and among others.
    """
    # What moves credits between available and reserved costs nobody anything: it is no charge.
    charges = [line for line in lines(journal) if line.kind in MOVES]
    known = Rates(rates or {}, worths)
    codes = currency_codes([*units, *sorted({line.unit for line in charges})])
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(headings(version))
    for line in charges:
        row = charge(line, known.of(line), codes[line.unit])
        writer.writerow(_cell(row.get(column)) for column in COLUMNS)
    return written.getvalue().encode()


def amounts(exported: bytes, unit: str) -> dict[str, int]:
    """Add up, in millionths of a unit, what a file of ours says went into wallets, by category."""
    added = dict.fromkeys(("Purchase", "Usage", "Adjustment"), 0)
    for row in csv.DictReader(io.StringIO(exported.decode(), newline="")):
        if row["x_Unit"] == unit:
            added[row["ChargeCategory"]] += to_micro(Decimal(row["x_Amount"]))
    return added


def _cell(value: Any) -> str:
    """Write one value: numbers with a decimal point, text so that no spreadsheet runs it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Decimal):
        return _number(value)
    return harmless(str(value))


def _number(value: Decimal) -> str:
    """Write a number with a decimal at least: a column of whole ones is taken for integers."""
    whole, _, part = f"{value:f}".partition(".")
    return f"{whole}.{part.rstrip('0') or '0'}"
