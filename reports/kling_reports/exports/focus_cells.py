"""Cells: how a value is written in a FOCUS file, and a file of such rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from kling_reports.render.values import harmless

_PLACES: Final = 15
"""The decimals of divided amounts: a price per second, or the value of a credit, may be endless.
Rounded to the millionth, a cost would no longer be its price times its quantity."""

_FOR_PEOPLE: Final = frozenset({"ChargeDescription", "InvoiceDetailDescription", "x_Reason"})
"""The columns for people, which no program joins by: in these, text is made safe from being read as
a formula by a spreadsheet. Any other text is a key and stays as it is."""


def written(
    rows: Iterable[Mapping[str, Any]],
    headings: Mapping[str, str],
    *,
    guarded: frozenset[str] = _FOR_PEOPLE,
) -> bytes:
    """Return rows as a CSV file (UTF-8) with these columns; missing values are empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(headings.values())
    for row in rows:
        writer.writerow(cell(row.get(column), is_guarded=column in guarded) for column in headings)
    return file.getvalue().encode()


def cell(value: Any, *, is_guarded: bool) -> str:
    """Write one value: numbers with a decimal point, instants in UTC."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Decimal):
        return _number(value)
    return harmless(str(value)) if is_guarded else str(value)


def rounded(exact: Fraction) -> Decimal:
    """Return a fraction as a decimal with fifteen places, halves rounded away from zero.

    Both 2.5 and -2.5 of the last place become 3 and -3, so that a refund is the charge with the
    opposite sign.
    """
    whole = int(abs(exact) * 10**_PLACES + Fraction(1, 2))
    return Decimal(f"{'-' if exact < 0 else ''}{whole}e-{_PLACES}")


def _number(value: Decimal) -> str:
    """Write a number with at least one decimal: a column of whole ones is taken for integers."""
    whole, _, part = f"{value:f}".partition(".")
    return f"{whole}.{part.rstrip('0') or '0'}"
