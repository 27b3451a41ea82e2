"""Amounts: a transfer's amount in an ERP, and its currency.

The only place where units become currencies. To use the real cost of credits, pass another function
of the same form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from kling_ledger.errors import ConfigError
from kling_pricing.money import from_micro, round_to, to_micro
from kling_reports.erp.mapping import Mapping
from kling_reports.exports.lines import Line

Amounts = Callable[[Line], tuple[int, str]]
"""Returns a transfer's amount: millionths, above zero, and the code of their currency."""

_CURRENCY: Final = re.compile("[A-Z]{3}")


def in_units(mapping: Mapping) -> Amounts:
    """Return a function that converts by unit: a currency unchanged, credits at their rate.

    The rates are those of [currencies]. Each transfer is rounded once, to the millionth, half up.
    """

    def amount(line: Line) -> tuple[int, str]:
        if line.unit not in mapping.currencies:
            return line.amount_micro, line.unit
        currency, rate = mapping.currencies[line.unit]
        return to_micro(round_to(from_micro(line.amount_micro) * rate)), currency

    return amount


def check_units(mapping: Mapping, lines: Iterable[Line]) -> None:
    """Refuse units that are not a currency and have no rate: ConfigError names them all."""
    units = dict.fromkeys(line.unit for line in lines)
    unknown = [
        unit for unit in units if unit not in mapping.currencies and not _CURRENCY.fullmatch(unit)
    ]
    if unknown:
        raise ConfigError(
            f"the mapping does not say what currency these are: {', '.join(unknown)}",
            hint='write [currencies] "crun-credit" = { currency = "USD", rate = "0.005" }',
        )
