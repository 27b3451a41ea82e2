"""Charges: what a FOCUS file says of one transfer, column by column.

A purchase is cash that was paid for credits: billed, with no effective cost yet; its tax is a row
of its own. Usage of what was bought is not billed any more: its effective cost is what its credits
cost. Usage of an allowance, or on credit, is billed as it is used, at what the job was worth. A
charge that came from several lots has a row for each; a refund is usage below zero. What somebody
took out by hand costs what it cost: a loss. What was used on credit and bought later is taken back
as it was billed, and costs what it cost, in the month of the purchase.
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
    """What some units of a charge are in money: exact, below zero where they came back.

    `units` are millionths, above zero where they left the wallet; `basis` is the source of that
    value.
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
    """Return the rows of one transfer; columns that one does not have are empty.

    `lot` is the purchase that a funding was, `codes` the three letters that each unit goes by. An
    allowance has none: it permits, and costs nothing until it is used.
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
    """Return what a part of a charge, or of a refund, is worth."""
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
    """Return what is put in or taken out by hand, without any cash of a purchase."""
    currency = line.unit if is_currency(line.unit) else "USD"
    return Value(units, Fraction(0), Fraction(0), currency, None)


def _bought_later(
    funding: Line, filled: Filled, rate_of: RateOf, codes: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Take back what was billed for units on credit, and say what they cost, with the purchase."""
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
    """Return whose charge it is, and of what kind of service."""
    return {
        "BillingAccountId": line.wallet_id,
        "BillingAccountName": line.wallet,
        "BillingAccountType": "Wallet",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
    }


def when(line: Line) -> dict[str, Any]:
    """Return the month that a transfer counts in, and its second."""
    starts_at, ends_at = month(line.period)
    second = line.created_at.replace(microsecond=0)
    return {
        "BillingPeriodStart": starts_at,
        "BillingPeriodEnd": ends_at,
        # Within the month that it corrects, it is a charge like any other.
        "ChargeClass": "Correction" if line.corrects not in {None, line.period} else None,
        # A charge period has a length: a transfer, which has none, is given its second.
        "ChargePeriodStart": second,
        "ChargePeriodEnd": second + timedelta(seconds=1),
    }


def own(line: Line, into_wallet: int) -> dict[str, Any]:
    """Return our own columns, in which the journal itself can be read back.

    `into_wallet` is in millionths, below zero what went out.
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
    """Return how long a lot can be used: the day of its purchase, or up to its expiry."""
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
        # It was sold at no price: without one it has no quantity. `x_Amount` has its credits.
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
    """Return what was done, in words."""
    if line.kind in _ADJUSTMENTS:
        return f"wallet {line.wallet} adjusted by hand"
    return f"{_DONE[line.kind]} {line.provider_name} {line.model or ''}".strip()


def quantity(line: Line, cost: Fraction, units: int) -> dict[str, Any]:
    """Return how much was used, such that a second costs as many credits as were quoted.

    A clip charged at its quote has its own seconds; at half of it, half of them. `cost` is what
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
    """Return which clip it was: what it is sold as, and at which price."""
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
    """Return what usage is counted in: seconds, or clips if their length is unknown."""
    return "Seconds" if line.billed_seconds else "Clips"


def unit_prices(money: Fraction, credits_each: Fraction) -> dict[str, Any]:
    """Return the price of one in money and in credits: what is listed is what was agreed."""
    each, in_credits = rounded(money), rounded(credits_each)
    return {
        "ListUnitPrice": each,
        "ContractedUnitPrice": each,
        "PricingCurrencyListUnitPrice": in_credits,
        "PricingCurrencyContractedUnitPrice": in_credits,
        "PricingCategory": "Standard",
    }


def seller(line: Line) -> str:
    """Return who sold credits, as far as their name says it; money has no seller."""
    return "prepaid" if is_currency(line.unit) else line.unit.removesuffix("-credit")


def pricing_unit(line: Line) -> str:
    """Return what credits are counted in."""
    return line.unit if is_currency(line.unit) else "Credits"


def names(provider: str, service: str) -> dict[str, Any]:
    """Return who sold a service, and which."""
    return {
        "ProviderName": provider,
        "PublisherName": provider,
        "InvoiceIssuerName": provider,
        "ServiceName": service,
    }


def sku_of(sku: str, price: str, meter: str, details: Mapping[str, str]) -> dict[str, Any]:
    """Return what is sold, at which price."""
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
    """Return the first instant of a month, and the first after it."""
    starts_at = datetime.fromisoformat(f"{period}-01").replace(tzinfo=UTC)
    return starts_at, (starts_at + timedelta(days=31)).replace(day=1)


def as_json(words: Mapping[str, str]) -> str:
    """Return words as a JSON object without spaces."""
    return json.dumps(words, ensure_ascii=False, separators=(",", ":"))


def _same_prices(each: Fraction) -> dict[str, Any]:
    return unit_prices(each, each)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
