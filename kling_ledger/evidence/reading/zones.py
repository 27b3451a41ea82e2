"""Zones: the time zones that a bill or a person names."""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kling_ledger.errors import ConfigError

_OFFSET: Final = re.compile(
    r"(?P<utc>Z|UTC|GMT|UT)?\s*(?:(?P<sign>[-+])(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2}))?)?",
    re.IGNORECASE,
)
_IN_NAME: Final = re.compile(
    r"(?<![A-Za-z])(?:UTC|GMT)(?:\s*[-+]\d{1,2}(?::?\d{2})?)?(?![A-Za-z\d])"
    r"|(?<=[(\[])\s*[-+]\d{1,2}:?\d{2}(?=\s*[)\]])"
    r"|[A-Z][A-Za-z]+/[A-Z][A-Za-z_]+",
    re.IGNORECASE,
)
_CHINA: Final = "北京时间"


@lru_cache(maxsize=256)
def read_zone(text: str) -> tzinfo | None:
    """Read `UTC`, `GMT`, `Z`, `+08:00`, `UTC+8`, `Asia/Shanghai`; None for anything else.

    Short names such as CST stand for several zones, so they are not read.
    """
    text = text.strip().strip("[]()")
    if text == _CHINA:
        return timezone(timedelta(hours=8))
    found = _OFFSET.fullmatch(text)
    if text and found is not None:
        return _offset(found)
    try:
        return ZoneInfo(text) if "/" in text else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _offset(found: re.Match[str]) -> tzinfo | None:
    if found["sign"] is None:
        return UTC
    minutes = int(found["hours"]) * 60 + int(found["minutes"] or 0)
    if minutes >= 24 * 60:
        return None
    return timezone(timedelta(minutes=-minutes if found["sign"] == "-" else minutes))


def zone_named(name: str) -> tzinfo:
    """Return the zone that a person named. Raises ConfigError for anything else."""
    zone = read_zone(name)
    if zone is None:
        raise ConfigError(
            f"{name!r} is not a time zone", hint="write a name such as Asia/Shanghai, or +08:00"
        )
    return zone


def zone_in(column: str) -> tzinfo | None:
    """Return the zone in the name of a column: `created_at (UTC)`, `time_utc`; None without one."""
    if _CHINA in column:
        return read_zone(_CHINA)
    found = _IN_NAME.search(column)
    return None if found is None else read_zone(found[0])
