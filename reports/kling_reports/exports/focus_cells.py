"""Cells: how a value stands in a FOCUS file, and a file of such rows."""

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
"""How exactly money is written that was divided: a price per second, or the worth of a credit, may
never end. Rounded to the millionth, a cost would no longer be its price times its quantity."""

_FOR_PEOPLE: Final = frozenset({"ChargeDescription", "InvoiceDetailDescription", "x_Reason"})
"""The columns that people read and no program joins by: in these no spreadsheet finds a formula.
Any other text is a key, and stands as it is."""


def written(
    rows: Iterable[Mapping[str, Any]],
    headings: Mapping[str, str],
    *,
    guarded: frozenset[str] = _FOR_PEOPLE,
) -> bytes:
    """Return rows as a CSV file (UTF-8) with these columns; what a row does not have is empty."""
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
    """Return a fraction as a decimal of fifteen places, half away from zero.

    2.5 of the last place is 3 of it and -2.5 is -3: a refund is the charge with the other sign.
    """
    whole = int(abs(exact) * 10**_PLACES + Fraction(1, 2))
    return Decimal(f"{'-' if exact < 0 else ''}{whole}e-{_PLACES}")


def _number(value: Decimal) -> str:
    """Write a number with a decimal at least: a column of whole ones is taken for integers."""
    whole, _, part = f"{value:f}".partition(".")
    return f"{whole}.{part.rstrip('0') or '0'}"
