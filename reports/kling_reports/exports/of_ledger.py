"""Exports of a ledger: what each reads from the database, and no more than it needs."""

from __future__ import annotations

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
        lots = lots_of(purchases.lots(database, through=period))
        return focus_datasets.invoice_details(lots, period=period)
    charges = _charges(database, period, rates)
    if dataset == "billing-period":
        return focus_datasets.billing_periods(charges, months.standings(database))
    return written(charges, headings(version))


def _charges(
    database: Database, period: str | None, rates: Mapping[str, Decimal] | None
) -> Iterator[dict[str, Any]]:
    lots = purchases.lots(database, through=period)
    # What a charge costs follows from all that was bought and used before it, if anything was.
    alone = {"period": period} if lots.empty else {"through": period}
    return form.rows(
        journal.lines(database, **alone),
        reservations.worths(database, through=period),
        lots=lots,
        period=period,
        units=journal.units(database),
        rates=rates,
    )
