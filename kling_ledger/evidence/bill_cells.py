"""Bill cells: a state, an amount or an instant as providers write them, or refused with its place.

Nothing is guessed and nothing skipped: an amount that is read wrongly would be booked.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from kling_ledger.errors import ConfigError
from kling_ledger.providers.base import TaskState
from kling_pricing.errors import AmountError
from kling_pricing.money import Money, read_decimal, round_to

GIVEN_BACK: Final = "refunded"
"""The state of a charge that was given back: it cost nothing in the end."""

_STATES: Final = {
    **dict.fromkeys(
        ("completed", "success", "succeeded", "succeed", "done", "charged", "billed", "settled"),
        TaskState.COMPLETED,
    ),
    **dict.fromkeys(("failed", "error", "cancelled", "canceled", GIVEN_BACK), TaskState.FAILED),
    **dict.fromkeys(
        ("pending", "running", "processing", "submitted", "reserved"), TaskState.RUNNING
    ),
}
_DAY_LENGTH: Final = len("2026-11-20")
_SECONDS_LENGTH: Final = 10


def read_state(word: str, where: str) -> TaskState | None:
    """Read a state in lower case; None for an empty cell."""
    if word and word not in _STATES:
        raise ConfigError(
            f"{where}: {word!r} is no state that is known",
            hint=f"known are {', '.join(_STATES)}; rename the column if it is no state",
        )
    return _STATES[word] if word else None


def check_unit(told: str, unit: str, where: str) -> None:
    """Refuse another unit than the provider's; just `credits` are its own credits."""
    short = {"credit", "credits"} if unit.endswith("-credit") else set()
    if told and told.lower() not in {unit.lower(), f"{unit}s".lower(), *short}:
        raise ConfigError(f"{where}: its unit is {told}, the provider charges in {unit}")


def read_amount(text: str, unit: str, where: str) -> Money | None:
    """Read an amount to the millionth, with a dollar sign or not; None for an empty cell."""
    if not text:
        return None
    try:
        return Money(round_to(read_decimal(text.removeprefix("$"))), unit)
    except AmountError as error:
        raise ConfigError(f"{where}: {error}") from None


def read_instant(text: str, where: str) -> datetime | None:
    """Read an instant as ISO 8601, or as seconds or milliseconds since 1970; UTC unless it says.

    A day without a time is no instant to find a job by, and neither is an empty cell: None.
    """
    if not text:
        return None
    try:
        if text.isdecimal():
            # Ten digits of seconds last until the year 2286.
            return datetime.fromtimestamp(
                int(text) / (1000 if len(text) > _SECONDS_LENGTH else 1), UTC
            )
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"{where}: {text!r} is no instant that can be read") from None
    if len(text) == _DAY_LENGTH:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
