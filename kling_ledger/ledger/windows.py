"""Windows: the stretches of time that a budget counts in. Pure calendar, no clock, no database.

A day begins at midnight in the budget's zone, however long it is: 23 hours when the clocks go
forward, 25 when they go back. Weeks begin on Monday, months on the first. Hours are counted from
midnight. The windows of one budget follow one another without gap or overlap.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, get_args

from kling_ledger.errors import ConfigError
from kling_ledger.ledger.ids import from_us, to_us

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

Repeats = Literal["none", "hour", "day", "week", "month"]
"""How often a budget's window resets."""

REPEATS: Final[tuple[str, ...]] = get_args(Repeats)

FOREVER_US: Final = 2**62
"""The end of a window that never ends, in microseconds."""

LONGEST_US: Final = {
    "none": FOREVER_US + FOREVER_US // 2,
    "hour": 2 * 3_600_000_000,
    "day": 2 * 86_400_000_000,
    "week": 8 * 86_400_000_000,
    "month": 32 * 86_400_000_000,
}
"""The longest possible window, in microseconds, however the clocks change."""

_HOUR_US: Final = 3_600_000_000
MINUTE_US: Final = 60_000_000


def window_at(repeats: str, zone: str, at_us: int) -> tuple[int, int]:
    """Return the start (inclusive) and end (exclusive) of the window that holds an instant.

    All in microseconds since 1970, UTC.
    """
    if repeats == "none":
        return -FOREVER_US, FOREVER_US
    # Windows begin on whole minutes: within one, the answer is the same.
    return _window_of_minute(repeats, zone, at_us // MINUTE_US)


def read_zone(name: str) -> ZoneInfo:
    """Return a time zone by its name, such as `Europe/Berlin`; ConfigError for an unknown one."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"no such time zone: {name!r}", hint="use a name such as UTC or Europe/Berlin"
        ) from None


@lru_cache(maxsize=4096)
def _window_of_minute(repeats: str, zone_name: str, minute: int) -> tuple[int, int]:
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(zone_name)
    at_us = minute * MINUTE_US
    today = from_us(at_us).astimezone(zone).date()
    if repeats == "hour":
        return _hour(today, zone, at_us)
    first, after = _days(repeats, today)
    return _midnight(first, zone), _midnight(after, zone)


def _days(repeats: str, today: date) -> tuple[date, date]:
    """Return the first day of a window and the first day after it."""
    if repeats == "day":
        return today, today + timedelta(days=1)
    if repeats == "week":
        monday = today - timedelta(days=today.weekday())
        return monday, monday + timedelta(days=7)
    first = today.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def _hour(today: date, zone: ZoneInfo, at_us: int) -> tuple[int, int]:
    midnight, next_midnight = _midnight(today, zone), _midnight(today + timedelta(days=1), zone)
    start = midnight + (at_us - midnight) // _HOUR_US * _HOUR_US
    return start, min(start + _HOUR_US, next_midnight)


def _midnight(day: date, zone: ZoneInfo) -> int:
    """Return the start of a day: after the gap, if the clocks skip its midnight."""
    return to_us(datetime.combine(day, time(), zone).astimezone(UTC))
