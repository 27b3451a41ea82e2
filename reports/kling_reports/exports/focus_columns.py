"""The columns of a FOCUS file, in their order, and what a later version calls some of them.

Source: https://focus.finops.org/focus-specification/v1-2/, checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Version = Literal["1.2", "1.4"]
"""The versions of FOCUS that can be written: 1.4 names the provider in other columns."""

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
    "x_TransferId",
    "x_TransferKind",
    "x_ReservationId",
    "x_Period",
    "x_Corrects",
    "x_User",
    "x_Reason",
)
"""Every column that is written; those that begin with `x_` are our own."""

_RENAMED: Final[Mapping[Version, Mapping[str, str]]] = {
    "1.2": {},
    "1.4": {"ProviderName": "ServiceProviderName", "PublisherName": "HostProviderName"},
}


def headings(version: Version) -> tuple[str, ...]:
    """Return the names of COLUMNS in a version."""
    names = _RENAMED[version]
    return tuple(names.get(column, column) for column in COLUMNS)
