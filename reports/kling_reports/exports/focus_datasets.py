"""FOCUS 1.4 besides the charges: the months of each issuer, and the lines of invoices.

Source: https://focus.finops.org/focus-specification/ (1.4), checked 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time
from typing import Any, Final

from kling_pricing.money import from_micro
from kling_reports.costing import Lot
from kling_reports.doors.months import Standing
from kling_reports.exports.focus_cells import written
from kling_reports.exports.focus_charges import as_json, month
from kling_reports.exports.focus_columns import BILLING_PERIOD, INVOICE_DETAIL

Issuer = tuple[str, str]
"""A month, and who charged in it."""

_TERMS: Final = "not recorded"
"""Stands for the terms of payment, which must not be empty: a purchase does not record them."""


def noted(charges: Iterable[dict[str, Any]], issuers: set[Issuer]) -> Iterator[dict[str, Any]]:
    """Pass charges through (see focus.rows), noting their issuers and months."""
    for row in charges:
        issuers.add((row["x_Period"], row["InvoiceIssuerName"]))
        yield row


def billing_periods(found: Iterable[Issuer], standings: Mapping[str, Standing]) -> bytes:
    """Return the dataset Billing Period of the issuers of some months.

    A month is closed once it is sealed: a softly closed one still takes corrections.
    """
    rows = (_billing_period(name, issuer, standings[name]) for name, issuer in sorted(found))
    return written(rows, dict(zip(BILLING_PERIOD, BILLING_PERIOD, strict=True)))


def invoice_details(lots: Iterable[Lot], *, period: str | None) -> bytes:
    """Return the dataset Invoice Detail: the purchases of a month, or of all, that name an invoice.

    The lines of an invoice add up to the cash and the tax paid for it.
    """
    rows = (
        row
        for lot in lots
        if lot.invoice is not None and period in {None, lot.period}
        for row in _lines_of(lot)
    )
    return written(rows, dict(zip(INVOICE_DETAIL, INVOICE_DETAIL, strict=True)))


def _billing_period(name: str, issuer: str, standing: Standing) -> dict[str, Any]:
    starts_at, ends_at = month(name)
    return {
        "BillingPeriodCreated": starts_at,
        "BillingPeriodEnd": ends_at,
        "BillingPeriodLastUpdated": max(starts_at, standing.changed_at),
        "BillingPeriodStart": starts_at,
        "BillingPeriodStatus": "Closed" if standing.is_sealed else "Open",
        "InvoiceIssuerName": issuer,
    }


def _lines_of(lot: Lot) -> Iterator[dict[str, Any]]:
    starts_at, ends_at = month(lot.period)
    known = {
        "BillingAccountId": lot.wallet_id,
        "BillingCurrency": lot.currency,
        "BillingPeriodEnd": ends_at,
        "BillingPeriodStart": starts_at,
        "InvoiceDetailCreated": lot.recorded_at,
        "InvoiceDetailGrain": as_json({"x_LotId": lot.transfer_id}),
        "InvoiceDetailLastUpdated": lot.recorded_at,
        "InvoiceId": lot.invoice,
        "InvoiceIssueDate": datetime.combine(lot.bought_on, time(), UTC),
        "InvoiceIssueStatus": "Issued",
        "InvoiceIssuerName": lot.seller,
        "PaymentTerms": _TERMS,
        # It refers to itself, because it corrects no other.
        "ReferenceInvoiceId": lot.invoice,
    }
    yield {
        **known,
        "BilledCost": from_micro(lot.cash_micro),
        "ChargeCategory": "Purchase",
        "InvoiceDetailDescription": f"{lot.unit} for wallet {lot.wallet}",
        "InvoiceDetailId": lot.transfer_id,
    }
    if lot.tax_micro:
        yield {
            **known,
            "BilledCost": from_micro(lot.tax_micro),
            "ChargeCategory": "Tax",
            "InvoiceDetailDescription": f"tax on {lot.unit} for wallet {lot.wallet}",
            "InvoiceDetailId": f"{lot.transfer_id}/tax",
        }
