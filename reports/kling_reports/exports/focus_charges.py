"""Charges: what a FOCUS file says of one transfer, column by column.

Prepaid credits come in two kinds of rows. A purchase is the money that was paid in: billed, with no
effective cost yet. A usage row is what a job was charged: nothing is billed any more, the effective
cost is the money that the credits were worth, and `PricingCurrency...` says the same in credits. A
refund is usage below zero. What somebody adjusted by hand is an adjustment that costs no money.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from kling_ledger.ledger import labels
from kling_pricing.money import from_micro
from kling_reports.exports.lines import Line
from kling_reports.exports.worth import Rate, is_currency
from kling_reports.moves import MOVES

_PLACES: Final = 15
"""How exactly money is written that was divided: a price per second, or the worth of a credit, may
never end. Rounded to the millionth, a cost would no longer be its price times its quantity."""
_ZERO: Final = Decimal(0)
_COSTS: Final = ("BilledCost", "ContractedCost", "ListCost", "EffectiveCost")
_SOUND: Final[Mapping[bool | None, str]] = {True: "sound", False: "silent", None: "-"}
_METERS: Final = {"Seconds": "Clip seconds", "Clips": "Clips"}
_DONE: Final = {
    "commit": "clip by",
    "overrun": "clip beyond its quote by",
    "late_commit": "clip charged late by",
    "refund": "refund of a clip by",
}


def charge(line: Line, rate: Rate, code: str) -> dict[str, Any]:
    """Return the row of one transfer of MOVES; columns that it does not have are empty.

    `rate` is what one of its unit is worth, `code` the three letters that its unit goes by.
    """
    make: Callable[[Line, Rate], dict[str, Any]] = _usage
    if line.kind == "fund":
        make = _purchase
    elif line.kind in {"adjust", "adjust_down"}:
        make = _adjustment
    return {**_common(line, rate, code), **_own(line), **make(line, rate)}


def rounded(exact: Fraction) -> Decimal:
    """Return a fraction as a decimal of fifteen places, half away from zero.

    2.5 of the last place is 3 of it and -2.5 is -3: a refund is the charge with the other sign.
    """
    whole = int(abs(exact) * 10**_PLACES + Fraction(1, 2))
    return Decimal(f"{'-' if exact < 0 else ''}{whole}e-{_PLACES}")


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
        # A charge period has a length: a transfer, which has none, is given its second.
        "ChargePeriodStart": second,
        "ChargePeriodEnd": second + timedelta(seconds=1),
        "PricingCurrency": code,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "x_RateBasis": rate.basis,
    }


def _own(line: Line) -> dict[str, Any]:
    """Return our own columns, in which the journal itself can be read back."""
    return {
        "x_Amount": from_micro(MOVES[line.kind][1] * line.amount_micro),
        "x_Unit": line.unit,
        "x_PricingCurrencyName": line.unit,
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
        **dict.fromkeys(_COSTS, cost),
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
        **dict.fromkeys(_COSTS, _ZERO),
        "PricingCurrencyEffectiveCost": _ZERO,
        "PricingQuantity": from_micro(MOVES[line.kind][1] * line.amount_micro),
        "PricingUnit": _pricing_unit(line),
        **_names(_seller(line), "Prepaid credits"),
    }


def _usage(line: Line, rate: Rate) -> dict[str, Any]:
    """Return a charge or a refund as clip seconds at the price per second that was quoted."""
    signed = -MOVES[line.kind][1] * line.amount_micro
    cost = _cost(signed, rate)
    return {
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{_DONE[line.kind]} {line.provider_name} {line.model or ''}".strip(),
        "ChargeFrequency": "Usage-Based",
        **dict.fromkeys(_COSTS, cost),
        "BilledCost": _ZERO,
        "PricingCurrencyEffectiveCost": from_micro(signed),
        **_quantity(line, rate, signed),
        **_names(line.provider_name, "Kling video"),
        "ResourceId": line.reservation_id,
        "ResourceName": line.reservation_id,
        "ResourceType": "Video clip",
        **_clip(line),
        **_owner(line),
    }


def _quantity(line: Line, rate: Rate, signed: int) -> dict[str, Any]:
    """Return how much was used, such that its price per second is the one that was quoted.

    A clip charged at its quote has its own seconds; at half of it, half of them.
    """
    quoted = line.quoted_micro or line.amount_micro
    seconds = line.billed_seconds or 1
    quantity = rounded(Fraction(signed * seconds, quoted))
    credits_each = Fraction(quoted, seconds * 1_000_000)
    unit = _measure(line)
    return {
        **_unit_prices(credits_each * rate.worth, credits_each),
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
    }


def _clip(line: Line) -> dict[str, Any]:
    """Return which clip it was: what it is sold as, and at which price."""
    words = {name: getattr(line, name) for name in ("action", "resolution")}
    details = {f"x_{name.title()}": word for name, word in words.items() if word is not None}
    sku = f"{line.provider_name}/{line.model or 'unnamed'}"
    price = [sku, line.action or "-", line.resolution or "-", _SOUND[line.sound], line.unit]
    return _sku(sku, "/".join(price), _METERS[_measure(line)], details)


def _measure(line: Line) -> str:
    return "Seconds" if line.billed_seconds else "Clips"


def _unit_prices(money: Fraction, credits_each: Fraction) -> dict[str, Any]:
    each, in_credits = rounded(money), rounded(credits_each)
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
    return rounded(Fraction(micro, 1_000_000) * rate.worth)


def _month(period: str) -> tuple[datetime, datetime]:
    starts_at = datetime.fromisoformat(f"{period}-01").replace(tzinfo=UTC)
    return starts_at, (starts_at + timedelta(days=31)).replace(day=1)


def _json(words: Mapping[str, str]) -> str:
    return json.dumps(words, ensure_ascii=False, separators=(",", ":"))
