"""Charges: one transfer in a FOCUS file, column by column.

A purchase is cash paid for credits: billed, with no effective cost yet; its tax is a separate row.
Usage of bought credits is not billed again: its effective cost is what the credits cost. Usage of
an allowance, or on credit, is billed as it is used, at the job's value. A charge from several lots
has a row for each; a refund is negative usage. What was taken out by hand is a loss of what it
cost. For usage on credit that is bought later, the month of the purchase reverses what was billed
and adds what it really cost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from kling_ledger.ledger import labels
from kling_pricing.money import from_micro
from kling_reports.costing import Costed, Filled, Lot, Part
from kling_reports.exports.focus_cells import rounded
from kling_reports.exports.lines import Line
from kling_reports.exports.worth import Rate, is_currency
from kling_reports.moves import MOVES

ZERO: Final = Decimal(0)
COSTS: Final = ("BilledCost", "ContractedCost", "ListCost", "EffectiveCost")
_SOUND: Final[Mapping[bool | None, str]] = {True: "sound", False: "silent", None: "-"}
_METERS: Final = {"Seconds": "Clip seconds", "Clips": "Clips"}
_DONE: Final = {
    "commit": "clip by",
    "overrun": "clip beyond its quote by",
    "late_commit": "clip charged late by",
    "refund": "refund of a clip by",
}
_ADJUSTMENTS: Final = ("adjust", "adjust_down")

RateOf = Callable[[Line], Rate]
"""The value of one unit of a transfer; ConfigError if unknown."""


@dataclass(frozen=True, slots=True)
class Value:
    """What some units of a charge are worth in money: exact, negative if they came back.

    `units` are millionths, positive if they left the wallet; `basis` is the source of that value.
    """

    units: int
    billed: Fraction
    effective: Fraction
    currency: str
    basis: str | None
    lot_id: str | None = None


def charges(
    costed: Costed, *, lot: Lot | None, rate_of: RateOf, codes: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Return the rows of one transfer; columns that do not apply are empty.

    `lot` is a funding's purchase, `codes` has the three-letter code of each unit. An allowance has
    no rows: it is a permission, and costs nothing until it is used.
    """
    line = costed.line
    if lot is not None:
        yield from _purchase(line, lot)
    if line.kind == "adjust":
        yield _row(line, _worthless(line, -line.amount_micro), codes)
    for part in costed.parts:
        yield _row(line, _value(line, part, rate_of), codes)
    for filled in costed.filled:
        yield from _bought_later(line, filled, rate_of, codes)


def _value(line: Line, part: Part, rate_of: RateOf) -> Value:
    """Return the value of a part of a charge or a refund."""
    sign = -MOVES[line.kind][1]
    units = sign * part.units_micro
    if part.currency is not None:
        basis = "average" if part.lot_id is None else "lot"
        cost = Fraction(sign * part.cost_micro, 1_000_000)
        return Value(units, Fraction(0), cost, part.currency, basis, part.lot_id)
    if line.kind in _ADJUSTMENTS:
        return _worthless(line, units)
    rate = rate_of(line)
    worth = Fraction(units, 1_000_000) * rate.worth
    return Value(units, worth, worth, rate.currency, rate.basis)


def _worthless(line: Line, units: int) -> Value:
    """Return a value of zero, for what is put in or taken out by hand without a purchase."""
    currency = line.unit if is_currency(line.unit) else "USD"
    return Value(units, Fraction(0), Fraction(0), currency, None)


def _bought_later(
    funding: Line, filled: Filled, rate_of: RateOf, codes: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Reverse what was billed for units on credit, and give their cost, with the purchase."""
    charge = filled.charge
    then = _value(charge, Part(filled.part.units_micro), rate_of)
    undone = Value(-then.units, -then.billed, -then.effective, then.currency, then.basis)
    for value in (undone, _value(charge, filled.part, rate_of)):
        yield {
            **_row(charge, value, codes),
            **when(funding),
            "ChargeClass": "Correction" if charge.period != funding.period else None,
            "ChargeDescription": f"{description(charge)}, on credit until its credits were bought",
            "x_TransferId": funding.id,
            "x_TransferKind": funding.kind,
            "x_Period": funding.period,
            "x_Corrects": charge.period,
            "x_User": funding.actor,
            "x_Reason": funding.reason,
        }


def _row(line: Line, value: Value, codes: Mapping[str, str]) -> dict[str, Any]:
    make = _adjustment if line.kind in _ADJUSTMENTS else _usage
    return {
        **account(line),
        **when(line),
        **own(line, -value.units),
        "BillingCurrency": value.currency,
        "PricingCurrency": codes[line.unit],
        **dict.fromkeys(COSTS, rounded(value.effective)),
        "BilledCost": rounded(value.billed),
        **make(line, value),
        "x_RateBasis": value.basis,
        "x_LotId": value.lot_id,
    }


def account(line: Line) -> dict[str, Any]:
    """Return whose charge it is, and the kind of service."""
    return {
        "BillingAccountId": line.wallet_id,
        "BillingAccountName": line.wallet,
        "BillingAccountType": "Wallet",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
    }


def when(line: Line) -> dict[str, Any]:
    """Return the month that a transfer counts in, and the second of its posting."""
    starts_at, ends_at = month(line.period)
    second = line.created_at.replace(microsecond=0)
    return {
        "BillingPeriodStart": starts_at,
        "BillingPeriodEnd": ends_at,
        # In the month that it corrects, it is a charge like any other.
        "ChargeClass": "Correction" if line.corrects not in {None, line.period} else None,
        # A charge period must have a length: a transfer, which has none, gets its second.
        "ChargePeriodStart": second,
        "ChargePeriodEnd": second + timedelta(seconds=1),
    }


def own(line: Line, into_wallet: int) -> dict[str, Any]:
    """Return our own columns, from which the journal itself can be read back.

    `into_wallet` is in millionths, negative for what went out.
    """
    return {
        "x_Amount": from_micro(into_wallet),
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


def _purchase(line: Line, lot: Lot) -> Iterator[dict[str, Any]]:
    """Return what was paid for a lot, and the tax on it."""
    cash, sku = from_micro(lot.cash_micro), f"prepaid/{line.unit}"
    bought = {
        **account(line),
        **when(line),
        **_valid(lot),
        "BillingCurrency": lot.currency,
        "ChargeFrequency": "One-Time",
        "InvoiceId": lot.invoice,
        "PricingCurrency": lot.currency,
        **names(lot.seller, "Prepaid credits"),
    }
    yield {
        **bought,
        **own(line, line.amount_micro),
        "ChargeCategory": "Purchase",
        "ChargeDescription": f"{line.unit} bought from {lot.seller} for wallet {line.wallet}",
        **dict.fromkeys(COSTS, cash),
        "EffectiveCost": ZERO,
        "InvoiceDetailId": None if lot.invoice is None else line.id,
        "PricingCurrencyEffectiveCost": ZERO,
        **_same_prices(Fraction(lot.cash_micro, line.amount_micro)),
        "PricingQuantity": from_micro(line.amount_micro),
        "PricingUnit": pricing_unit(line),
        **sku_of(sku, sku, "Credits", {"x_Unit": line.unit}),
        "x_PricingCurrencyName": lot.currency,
        "x_RateBasis": "lot",
        "x_LotId": line.id,
    }
    if lot.tax_micro:
        tax = from_micro(lot.tax_micro)
        yield {
            **bought,
            **own(line, 0),
            "ChargeCategory": "Tax",
            "ChargeDescription": f"tax on {line.unit} bought from {lot.seller}",
            **dict.fromkeys((*COSTS, "PricingCurrencyEffectiveCost"), tax),
            "InvoiceDetailId": None if lot.invoice is None else f"{line.id}/tax",
            "x_PricingCurrencyName": lot.currency,
            "x_LotId": line.id,
        }


def _valid(lot: Lot) -> dict[str, Any]:
    """Return how long a lot can be used: the day of its purchase, or until it expires."""
    last = lot.expires_on or lot.bought_on
    return {
        "ChargePeriodStart": _midnight(lot.bought_on),
        "ChargePeriodEnd": _midnight(last) + timedelta(days=1),
    }


def _adjustment(line: Line, _: Value) -> dict[str, Any]:
    return {
        "ChargeCategory": "Adjustment",
        "ChargeDescription": description(line),
        "ChargeFrequency": "One-Time",
        # It was sold without a price, so it has no quantity either. `x_Amount` has its credits.
        "PricingCurrencyEffectiveCost": ZERO,
        **names(seller(line), "Prepaid credits"),
    }


def _usage(line: Line, value: Value) -> dict[str, Any]:
    """Return a charge or a refund as clip seconds at a price per second."""
    return {
        "ChargeCategory": "Usage",
        "ChargeDescription": description(line),
        "ChargeFrequency": "Usage-Based",
        "PricingCurrencyEffectiveCost": from_micro(value.units),
        **quantity(line, value.effective, value.units),
        **names(line.provider_name, "Kling video"),
        **clip(line),
        **owner(line),
    }


def description(line: Line) -> str:
    """Describe what was done."""
    if line.kind in _ADJUSTMENTS:
        return f"wallet {line.wallet} adjusted by hand"
    return f"{_DONE[line.kind]} {line.provider_name} {line.model or ''}".strip()


def quantity(line: Line, cost: Fraction, units: int) -> dict[str, Any]:
    """Return the quantity used, such that a second costs the quoted number of credits.

    A clip charged at its quote has its own seconds; at half its quote, half of them. `cost` is what
    `units` (millionths of credits) were in money.
    """
    quoted = line.quoted_micro or line.amount_micro
    seconds = line.billed_seconds or 1
    exact = Fraction(units * seconds, quoted)
    each = cost / exact if exact else Fraction(0)
    unit = measure(line)
    return {
        **unit_prices(each, Fraction(quoted, seconds * 1_000_000)),
        "PricingQuantity": rounded(exact),
        "PricingUnit": unit,
        "ConsumedQuantity": rounded(exact),
        "ConsumedUnit": unit,
    }


def clip(line: Line) -> dict[str, Any]:
    """Return which clip it was: its product, and its price."""
    words = {name: getattr(line, name) for name in ("action", "resolution")}
    details = {f"x_{name.title()}": word for name, word in words.items() if word is not None}
    sku = f"{line.provider_name}/{line.model or 'unnamed'}"
    price = [sku, line.action or "-", line.resolution or "-", _SOUND[line.sound], line.unit]
    return {
        "ResourceId": line.reservation_id,
        "ResourceName": line.reservation_id,
        "ResourceType": "Video clip",
        **sku_of(sku, "/".join(price), _METERS[measure(line)], details),
    }


def measure(line: Line) -> str:
    """Return the unit of usage: seconds, or clips if their length is unknown."""
    return "Seconds" if line.billed_seconds else "Clips"


def unit_prices(money: Fraction, credits_each: Fraction) -> dict[str, Any]:
    """Return the unit price in money and in credits: the list price is the contracted one."""
    each, in_credits = rounded(money), rounded(credits_each)
    return {
        "ListUnitPrice": each,
        "ContractedUnitPrice": each,
        "PricingCurrencyListUnitPrice": in_credits,
        "PricingCurrencyContractedUnitPrice": in_credits,
        "PricingCategory": "Standard",
    }


def seller(line: Line) -> str:
    """Return who sold credits, as far as the unit's name says; money has no seller."""
    return "prepaid" if is_currency(line.unit) else line.unit.removesuffix("-credit")


def pricing_unit(line: Line) -> str:
    """Return the unit of credits."""
    return line.unit if is_currency(line.unit) else "Credits"


def names(provider: str, service: str) -> dict[str, Any]:
    """Return who sold a service, and which one."""
    return {
        "ProviderName": provider,
        "PublisherName": provider,
        "InvoiceIssuerName": provider,
        "ServiceName": service,
    }


def sku_of(sku: str, price: str, meter: str, details: Mapping[str, str]) -> dict[str, Any]:
    """Return the product, with its price."""
    return {
        "SkuId": sku,
        "SkuPriceId": price,
        "SkuMeter": meter,
        "SkuPriceDetails": as_json(details),
    }


def owner(line: Line) -> dict[str, Any]:
    """Return whom a clip was for: its project, and its labels as tags."""
    tags = {f"label:{name}": value for name, value in labels.from_text(line.labels).items()}
    if line.project is None:
        return {"Tags": as_json(tags)}
    return {
        "SubAccountId": line.project,
        "SubAccountName": line.project,
        "SubAccountType": "Project",
        "Tags": as_json({"project": line.project, **tags}),
    }


def month(period: str) -> tuple[datetime, datetime]:
    """Return the first instant of a month, and of the next."""
    starts_at = datetime.fromisoformat(f"{period}-01").replace(tzinfo=UTC)
    return starts_at, (starts_at + timedelta(days=31)).replace(day=1)


def as_json(words: Mapping[str, str]) -> str:
    """Return words as a compact JSON object."""
    return json.dumps(words, ensure_ascii=False, separators=(",", ":"))


def _same_prices(each: Fraction) -> dict[str, Any]:
    return unit_prices(each, each)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
