"""Facts: the fields of an error as JSON; amounts are strings next to their unit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from kling_pricing.errors import MOST_TOLD, KlingError
from kling_pricing.money import Money, plain


def facts_of(error: KlingError) -> dict[str, Any]:
    """Return the fields of an error for JSON; long lists are cut and counted."""
    return {name: _fact(value) for name, value in vars(error).items() if name[0] != "_"}


def error_dict(error: KlingError, hint: str | None) -> dict[str, Any]:
    """Return an error for JSON: its figures, code, message and hint."""
    return {
        **facts_of(error),
        "code": error.code,
        "message": error.message,
        "hint": hint,
        "retryable": error.retryable,
    }


def told(lines: Sequence[object]) -> list[str]:
    """Return the first of many lines, and the number of the rest."""
    shown = [str(line) for line in lines[:MOST_TOLD]]
    more = len(lines) - len(shown)
    return [*shown, f"and {more:,} more"] if more else shown


def _fact(value: object) -> Any:
    if isinstance(value, Money):
        return {"amount": plain(value.amount), "unit": value.unit}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [*map(_fact, value[:MOST_TOLD]), *told(value)[MOST_TOLD:]]
    if value is None or isinstance(value, (bool, int)):
        return value
    return str(value)
