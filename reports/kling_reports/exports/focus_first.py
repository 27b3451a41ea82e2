"""FOCUS in its first form: every funding is a purchase, at the value of its unit.

Months that were sealed before allowances and purchases were distinguished keep their file, to the
byte. Nothing else uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import pandas as pd

from kling_pricing.money import from_micro
from kling_reports.exports import focus_charges as parts
from kling_reports.exports.focus_cells import rounded, written
from kling_reports.exports.focus_columns import headings
from kling_reports.exports.lines import Line, lines
from kling_reports.exports.worth import Rate, Rates, currency_codes
from kling_reports.moves import MOVES

_HEADINGS: Final = {column: name for column, name in headings("1.2").items() if column != "x_LotId"}


def export(
    journal: pd.DataFrame,
    worths: pd.DataFrame,
    *,
    units: Sequence[str],
    rates: Mapping[str, Decimal],
) -> bytes:
    """Return the file of a month's journal; the arguments are those of focus.export."""
    charges = [line for line in lines(journal) if line.kind in MOVES]
    known = Rates(rates, worths)
    codes = currency_codes([*units, *sorted({line.unit for line in charges})])
    rows = (_charge(line, known.of(line), codes[line.unit]) for line in charges)
    return written(rows, _HEADINGS, guarded=frozenset(_HEADINGS))


def _charge(line: Line, rate: Rate, code: str) -> dict[str, Any]:
    make: Callable[[Line, Rate], dict[str, Any]] = _usage
    if line.kind == "fund":
        make = _purchase
    elif line.kind in {"adjust", "adjust_down"}:
        make = _adjustment
    return {
        **parts.account(line),
        **parts.when(line),
        **parts.own(line, MOVES[line.kind][1] * line.amount_micro),
        "BillingCurrency": rate.currency,
        "PricingCurrency": code,
        "x_RateBasis": rate.basis,
        **make(line, rate),
    }


def _purchase(line: Line, rate: Rate) -> dict[str, Any]:
    sku = f"prepaid/{line.unit}"
    return {
        "ChargeCategory": "Purchase",
        "ChargeDescription": f"{line.unit} paid into wallet {line.wallet}",
        "ChargeFrequency": "One-Time",
        **dict.fromkeys(parts.COSTS, _cost(line.amount_micro, rate)),
        "EffectiveCost": parts.ZERO,
        "PricingCurrencyEffectiveCost": parts.ZERO,
        **parts.unit_prices(rate.worth, Fraction(1)),
        "PricingQuantity": from_micro(line.amount_micro),
        "PricingUnit": parts.pricing_unit(line),
        **parts.names(parts.seller(line), "Prepaid credits"),
        **parts.sku_of(sku, sku, "Credits", {"x_Unit": line.unit}),
    }


def _adjustment(line: Line, _: Rate) -> dict[str, Any]:
    return {
        "ChargeCategory": "Adjustment",
        "ChargeDescription": f"wallet {line.wallet} adjusted by hand",
        "ChargeFrequency": "One-Time",
        **dict.fromkeys(parts.COSTS, parts.ZERO),
        "PricingCurrencyEffectiveCost": parts.ZERO,
        "PricingQuantity": from_micro(MOVES[line.kind][1] * line.amount_micro),
        "PricingUnit": parts.pricing_unit(line),
        **parts.names(parts.seller(line), "Prepaid credits"),
    }


def _usage(line: Line, rate: Rate) -> dict[str, Any]:
    signed = -MOVES[line.kind][1] * line.amount_micro
    return {
        "ChargeCategory": "Usage",
        "ChargeDescription": parts.description(line),
        "ChargeFrequency": "Usage-Based",
        **dict.fromkeys(parts.COSTS, _cost(signed, rate)),
        "BilledCost": parts.ZERO,
        "PricingCurrencyEffectiveCost": from_micro(signed),
        **parts.quantity(line, Fraction(signed, 1_000_000) * rate.worth, signed),
        **parts.names(line.provider_name, "Kling video"),
        **parts.clip(line),
        **parts.owner(line),
    }


def _cost(micro: int, rate: Rate) -> Decimal:
    return rounded(Fraction(micro, 1_000_000) * rate.worth)
