"""Exports of a ledger: what each needs from the database, and no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from kling_ledger.ledger.engines.database import Database
from kling_reports.costing import lots_of
from kling_reports.doors import journal, months, purchases, reservations
from kling_reports.exports import focus as form
from kling_reports.exports import focus_datasets
from kling_reports.exports.focus_cells import written
from kling_reports.exports.focus_columns import Dataset, Version, headings
from kling_reports.exports.focus_datasets import Issuer


def focus(
    database: Database,
    period: str | None,
    *,
    rates: Mapping[str, Decimal] | None = None,
    version: Version = "1.2",
    dataset: Dataset = "cost-and-usage",
) -> bytes:
    """Return a FOCUS file of a month of the journal, or of all of it; see focus.rows."""
    if dataset == "invoice-detail":
        return _invoice_details(database, period)
    charges = _charges(database, period, rates)
    if dataset == "cost-and-usage":
        return written(charges, headings(version))
    issuers: set[Issuer] = set()
    deque(focus_datasets.noted(charges, issuers), maxlen=0)
    return focus_datasets.billing_periods(issuers, months.standings(database))


def of_month(database: Database, month: str, *, rates: Mapping[str, Decimal]) -> dict[str, bytes]:
    """Return a month's charges and the other datasets of FOCUS 1.4, by name, reading only once."""
    issuers: set[Issuer] = set()
    charges = focus_datasets.noted(_charges(database, month, rates), issuers)
    exported = written(charges, headings("1.2"))
    return {
        "focus": exported,
        "billing-period": focus_datasets.billing_periods(issuers, months.standings(database)),
        "invoice-detail": _invoice_details(database, month),
    }


def _invoice_details(database: Database, period: str | None) -> bytes:
    lots = lots_of(purchases.lots(database, through=period))
    return focus_datasets.invoice_details(lots, period=period)


def _charges(
    database: Database, period: str | None, rates: Mapping[str, Decimal] | None
) -> Iterator[dict[str, Any]]:
    lots = purchases.lots(database, through=period)
    # What a charge costs depends on everything bought and used before it.
    alone = {"period": period} if lots.empty else {"through": period}
    return form.rows(
        journal.lines(database, **alone),
        reservations.worths(database, through=period),
        lots=lots,
        period=period,
        units=journal.units(database),
        rates=rates,
    )
