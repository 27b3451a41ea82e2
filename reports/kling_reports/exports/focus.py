"""FOCUS: the journal as a table of charges that any cost tool can read, credits as credits.

Prepaid credits come in two kinds of rows. A purchase is the money that was paid in: billed, with no
effective cost yet. A usage row is what a job was charged: nothing is billed any more, the effective
cost is the money that the credits were worth, and `PricingCurrency...` says the same in credits. A
refund is usage below zero. What somebody adjusted by hand is an adjustment that costs no money.

Source: https://focus.finops.org/focus-specification/v1-2/, checked 2026-11-20.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal

import pandas as pd

from kling_ledger.ledger import labels
from kling_pricing.money import from_micro, to_micro
from kling_reports.exports.lines import Line, lines
from kling_reports.exports.worth import Rate, Rates, currency_codes, is_currency
from kling_reports.moves import MOVES
from kling_reports.render.values import harmless

Version = Literal["1.2", "1.4"]
"""The versions of FOCUS that can be written: 1.4 names the provider in other columns."""

_COLUMNS: Final = (
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
_RENAMED: Final[Mapping[Version, Mapping[str, str]]] = {
    "1.2": {},
    "1.4": {"ProviderName": "ServiceProviderName", "PublisherName": "HostProviderName"},
}
_PLACES: Final = 15
"""How exactly money is written that was divided: a price per second, or the worth of a credit, may
never end. Rounded to the millionth, a cost would no longer be its price times its quantity."""
_ZERO: Final = Decimal(0)


def export(
    journal: pd.DataFrame,
    worths: pd.DataFrame,
    *,
    rates: Mapping[str, Decimal] | None = None,
    version: Version = "1.2",
) -> bytes:
    """Return a FOCUS file (CSV, UTF-8) of the charges in a journal.

    `journal` is as journal.lines gives it, `worths` as reservations.worths does; `rates` is what
    one of a unit is worth in USD where no job says it. The same journal gives the same bytes.
    """
    charges = [line for line in lines(journal) if line.kind in MOVES]
    known = Rates(rates or {}, worths)
    codes = currency_codes({line.unit for line in charges})
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    names = _RENAMED[version]
    writer.writerow(names.get(column, column) for column in _COLUMNS)
    for line in charges:
        row = _row(line, known.of(line), codes[line.unit])
        writer.writerow(_cell(row.get(column)) for column in _COLUMNS)
    return written.getvalue().encode()


def _row(line: Line, rate: Rate, code: str) -> dict[str, Any]:
    make: Callable[[Line, Rate], dict[str, Any]] = _usage
    if line.kind == "fund":
        make = _purchase
    elif line.kind in {"adjust", "adjust_down"}:
        make = _adjustment
    return {**_common(line, rate, code), **make(line, rate)}


def _common(line: Line, rate: Rate, code: str) -> dict[str, Any]:
    starts_at, ends_at = _month(line.period)
    second = line.created_at.replace(microsecond=0)
    return {
        "BillingAccountId": line.wallet_id,
        "BillingAccountName": line.wallet,
        "BillingAccountType": "Wallet",
        "BillingCurrency": rate.currency,
        "BillingPeriodStart": starts_at,
        "BillingPeriodEnd": ends_at,
        # Within the month that it corrects, it is a charge like any other.
        "ChargeClass": "Correction" if line.corrects not in {None, line.period} else None,
        "ChargePeriodStart": second,
        "ChargePeriodEnd": second + timedelta(seconds=1),
        "PricingCurrency": code,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "x_Amount": from_micro(MOVES[line.kind][1] * line.amount_micro),
        "x_Unit": line.unit,
        "x_PricingCurrencyName": line.unit,
        "x_RateBasis": rate.basis,
        "x_TransferId": line.id,
        "x_TransferKind": line.kind,
        "x_ReservationId": line.reservation_id,
        "x_Period": line.period,
        "x_Corrects": line.corrects,
        "x_User": line.actor,
        "x_Reason": line.reason,
    }


def _purchase(line: Line, rate: Rate) -> dict[str, Any]:
    cost = _cost(line.amount_micro, rate)
    sku = f"prepaid/{line.unit}"
    return {
        "ChargeCategory": "Purchase",
        "ChargeDescription": f"{line.unit} paid into wallet {line.wallet}",
        "ChargeFrequency": "One-Time",
        "BilledCost": cost,
        "ContractedCost": cost,
        "ListCost": cost,
        "EffectiveCost": _ZERO,
        "PricingCurrencyEffectiveCost": _ZERO,
        **_unit_prices(rate.worth, Fraction(1)),
        "PricingQuantity": from_micro(line.amount_micro),
        "PricingUnit": _pricing_unit(line),
        **_names(_seller(line), "Prepaid credits"),
        **_sku(sku, sku, "Credits", {"x_Unit": line.unit}),
    }


def _adjustment(line: Line, _: Rate) -> dict[str, Any]:
    return {
        "ChargeCategory": "Adjustment",
        "ChargeDescription": f"wallet {line.wallet} adjusted by hand",
        "ChargeFrequency": "One-Time",
        **dict.fromkeys(("BilledCost", "ContractedCost", "ListCost", "EffectiveCost"), _ZERO),
        "PricingCurrencyEffectiveCost": _ZERO,
        "PricingQuantity": from_micro(MOVES[line.kind][1] * line.amount_micro),
        "PricingUnit": _pricing_unit(line),
        **_names(_seller(line), "Prepaid credits"),
    }


def _usage(line: Line, rate: Rate) -> dict[str, Any]:
    """Return a charge or a refund as clip seconds at the price per second that was quoted."""
    signed = -MOVES[line.kind][1] * line.amount_micro
    reserved = line.reserved_micro or line.amount_micro
    seconds = line.billed_seconds or 1
    quantity = _rounded(Fraction(signed * seconds, reserved))
    credits_each = Fraction(reserved, seconds * 1_000_000)
    cost = _cost(signed, rate)
    unit = "Seconds" if line.billed_seconds else "Clips"
    words = {name: getattr(line, name) for name in ("action", "resolution")}
    details = {f"x_{name.title()}": word for name, word in words.items() if word is not None}
    sku = f"{line.provider_name}/{line.model or 'unnamed'}"
    price = [sku, line.action or "-", line.resolution or "-", _SOUND[line.sound], line.unit]
    return {
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{_DONE[line.kind]} {line.provider_name} {line.model or ''}".strip(),
        "ChargeFrequency": "Usage-Based",
        "BilledCost": _ZERO,
        "ContractedCost": cost,
        "ListCost": cost,
        "EffectiveCost": cost,
        "PricingCurrencyEffectiveCost": from_micro(signed),
        **_unit_prices(credits_each * rate.worth, credits_each),
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        **_names(line.provider_name, "Kling video"),
        "ResourceId": line.reservation_id,
        "ResourceName": line.reservation_id,
        "ResourceType": "Video clip",
        **_sku(sku, "/".join(price), _METERS[unit], details),
        **_owner(line),
    }


_SOUND: Final[Mapping[bool | None, str]] = {True: "sound", False: "silent", None: "-"}
_METERS: Final = {"Seconds": "Clip seconds", "Clips": "Clips"}
_DONE: Final = {
    "commit": "clip by",
    "overrun": "clip beyond its quote by",
    "late_commit": "clip charged late by",
    "refund": "refund of a clip by",
}


def _unit_prices(money: Fraction, credits_each: Fraction) -> dict[str, Any]:
    each, in_credits = _rounded(money), _rounded(credits_each)
    return {
        "ListUnitPrice": each,
        "ContractedUnitPrice": each,
        "PricingCurrencyListUnitPrice": in_credits,
        "PricingCurrencyContractedUnitPrice": in_credits,
        "PricingCategory": "Standard",
    }


def _seller(line: Line) -> str:
    """Return who sold credits, as far as their name says it; money has no seller."""
    return "prepaid" if is_currency(line.unit) else line.unit.removesuffix("-credit")


def _pricing_unit(line: Line) -> str:
    return line.unit if is_currency(line.unit) else "Credits"


def _names(provider: str, service: str) -> dict[str, Any]:
    return {
        "ProviderName": provider,
        "PublisherName": provider,
        "InvoiceIssuerName": provider,
        "ServiceName": service,
    }


def _sku(sku: str, price: str, meter: str, details: Mapping[str, str]) -> dict[str, Any]:
    return {
        "SkuId": sku,
        "SkuPriceId": price,
        "SkuMeter": meter,
        "SkuPriceDetails": _json(details),
    }


def _owner(line: Line) -> dict[str, Any]:
    tags = {f"label:{name}": value for name, value in labels.from_text(line.labels).items()}
    if line.project is None:
        return {"Tags": _json(tags)}
    return {
        "SubAccountId": line.project,
        "SubAccountName": line.project,
        "SubAccountType": "Project",
        "Tags": _json({"project": line.project, **tags}),
    }


def _cost(micro: int, rate: Rate) -> Decimal:
    return _rounded(Fraction(micro, 1_000_000) * rate.worth)


def _rounded(exact: Fraction) -> Decimal:
    """Return a fraction as a decimal, half away from zero."""
    whole = int(abs(exact) * 10**_PLACES + Fraction(1, 2))
    return Decimal(f"{'-' if exact < 0 else ''}{whole}e-{_PLACES}")


def _month(period: str) -> tuple[datetime, datetime]:
    starts_at = datetime.fromisoformat(f"{period}-01").replace(tzinfo=UTC)
    return starts_at, (starts_at + timedelta(days=31)).replace(day=1)


def _json(words: Mapping[str, str]) -> str:
    return json.dumps(words, ensure_ascii=False, separators=(",", ":"))


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


def amounts(exported: bytes, unit: str) -> dict[str, int]:
    """Add up, in millionths of a unit, what a file of ours says went into wallets, by category."""
    added = dict.fromkeys(("Purchase", "Usage", "Adjustment"), 0)
    for row in csv.DictReader(io.StringIO(exported.decode(), newline="")):
        if row["x_Unit"] == unit:
            added[row["ChargeCategory"]] += to_micro(Decimal(row["x_Amount"]))
    return added
