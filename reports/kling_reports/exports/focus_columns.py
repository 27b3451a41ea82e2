"""The columns of FOCUS files, in their order, by version and dataset.

Source: https://focus.finops.org/focus-specification/ (1.2 and 1.4), checked 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Version = Literal["1.2", "1.4"]
"""The versions of FOCUS that can be written."""

Dataset = Literal["cost-and-usage", "billing-period", "invoice-detail"]
"""The datasets of FOCUS 1.4; 1.2 has only the first."""

COLUMNS: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountStatus",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceDetailId",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
    "x_Amount",
    "x_Unit",
    "x_PricingCurrencyName",
    "x_RateBasis",
    "x_LotId",
    "x_TransferId",
    "x_TransferKind",
    "x_ReservationId",
    "x_Period",
    "x_Corrects",
    "x_User",
    "x_Reason",
)
"""Every column of a charge; those that begin with `x_` are our own."""

BILLING_PERIOD: Final = (
    "BillingPeriodCreated",
    "BillingPeriodEnd",
    "BillingPeriodLastUpdated",
    "BillingPeriodStart",
    "BillingPeriodStatus",
    "InvoiceIssuerName",
)
"""The columns of the dataset Billing Period: one row is an issuer's month."""

INVOICE_DETAIL: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "InvoiceDetailCreated",
    "InvoiceDetailDescription",
    "InvoiceDetailGrain",
    "InvoiceDetailId",
    "InvoiceDetailLastUpdated",
    "InvoiceId",
    "InvoiceIssueDate",
    "InvoiceIssueStatus",
    "InvoiceIssuerName",
    "PaymentDueDate",
    "PaymentTerms",
    "ReferenceInvoiceId",
)
"""The columns of the dataset Invoice Detail: one row is one line of an invoice."""

_NAMES: Final[Mapping[Version, Mapping[str, str | None]]] = {
    "1.2": {"InvoiceDetailId": None},
    "1.4": {
        "ProviderName": "ServiceProviderName",
        "PublisherName": "HostProviderName",
        # A reader of 1.2 requires it, although we have no commitments.
        "CommitmentDiscountStatus": None,
    },
}
"""A version's name for a column; None if it lacks the column."""


def headings(version: Version) -> dict[str, str]:
    """Return those of COLUMNS that a version has, each with its name in it."""
    names = {column: _NAMES[version].get(column, column) for column in COLUMNS}
    return {column: name for column, name in names.items() if name is not None}
