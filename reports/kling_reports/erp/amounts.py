"""Amounts: what a transfer comes to in an ERP, and in which currency.

The one place where units become currencies. Whoever knows what credits really cost gives another
function of the same form.
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
"""What a transfer comes to: millionths, above zero, and the code of their currency."""

_CURRENCY: Final = re.compile("[A-Z]{3}")


def in_units(mapping: Mapping) -> Amounts:
    """Return what takes each unit as it is counted: a currency as it is, credits at their rate.

    A rate is that of [currencies]. Rounded once a transfer, to the millionth, half up.
    """

    def amount(line: Line) -> tuple[int, str]:
        if line.unit not in mapping.currencies:
            return line.amount_micro, line.unit
        currency, rate = mapping.currencies[line.unit]
        return to_micro(round_to(from_micro(line.amount_micro) * rate)), currency

    return amount


def check_units(mapping: Mapping, lines: Iterable[Line]) -> None:
    """Refuse units that are no currency and have no rate: ConfigError names them all."""
    units = dict.fromkeys(line.unit for line in lines)
    unknown = [
        unit for unit in units if unit not in mapping.currencies and not _CURRENCY.fullmatch(unit)
    ]
    if unknown:
        raise ConfigError(
            f"the mapping does not say what currency these are: {', '.join(unknown)}",
            hint='write [currencies] "crun-credit" = { currency = "USD", rate = "0.005" }',
        )
