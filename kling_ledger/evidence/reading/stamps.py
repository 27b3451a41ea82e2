"""Stamps: a day and a time in one cell, in any usual format, before its zone is known."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, Literal

from kling_ledger.evidence.reading.numbers import unguarded
from kling_ledger.evidence.reading.zones import read_zone

Order = Literal["ymd", "dmy", "mdy"]

DAY_FIRST: Final = "dmy"
MONTH_FIRST: Final = "mdy"

_SECONDS_BY_DIGITS: Final = {10: 1, 13: 1_000, 16: 1_000_000, 19: 1_000_000_000}
"""How many of its units make a second, by the digits of a Unix time: ten digits last until 2286."""
_SERIALS: Final = range(20_000, 80_000)
"""Days since 1899, as spreadsheets count them: from 1954 to 2119."""
_DAY_ZERO: Final = datetime(1899, 12, 30)  # noqa: DTZ001 - a spreadsheet knows no zones
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_NUMBER: Final = re.compile(r"(\d+)(?:[.,](\d+))?")
_TIME: Final = re.compile(
    r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s*([AaPp])\.?\s?[Mm](?:\.|\b))?"
)
_YEAR_FIRST: Final = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})")
_YEAR_LAST: Final = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})")
_COMPACT: Final = re.compile(r"((?:19|20)\d{2})(\d{2})(\d{2})")
_COMPACT_TIME: Final = re.compile(r"((?:19|20)\d{2}\d{4})T?(\d{2})(\d{2})(\d{2})(Z?)")
_BRACKETS: Final = re.compile(r"\s*(?:\([^)]*\)|\[[^\]]*\])\s*$")
_CHINESE: Final = str.maketrans({"年": "-", "月": "-", "日": " ", "时": ":", "分": ":", "秒": " "})
_HALVES: Final = {"上午": "AM", "下午": "PM"}
_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_AND_TIME: Final = re.compile(r"(?<=\d)\s*T$|\s+at$")
_ORDINAL: Final = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b")


@dataclass(frozen=True, slots=True)
class Stamp:
    """A day, and with `is_instant` a time on that day.

    `at` is the day, read with the day first where the order is open; `by_month` and `by_year` are
    the readings with the month or the year first. Each is None if that reading is impossible. With
    `is_open` the order decides; with dots the day comes first, unless another stamp of the column
    rules that out.
    """

    at: datetime | None
    by_month: datetime | None = None
    by_year: datetime | None = None
    is_open: bool = False
    is_dotted: bool = False
    is_instant: bool = True
    zone: tzinfo | None = None
    has_strange_zone: bool = False

    def in_order(self, order: Order | None) -> datetime | None:
        """Return the stamp with its day and month in this order; None if the order is unknown."""
        if not self.is_open:
            return self.at
        if order is None and self.is_dotted:
            return self.at
        if order is None:
            possible = {self.at, self.by_month, self.by_year or self.at}
            return self.at if len(possible) == 1 else None
        return {DAY_FIRST: self.at, MONTH_FIRST: self.by_month, "ymd": self.by_year}[order]

    @property
    def proof(self) -> Order | None:
        """The order that this stamp proves, day or month first; None if it proves neither."""
        if not self.is_open or self.by_year is not None:
            return None
        if self.by_month is None:
            return DAY_FIRST
        return MONTH_FIRST if self.at is None else None


@lru_cache(maxsize=1 << 16)
def read_stamp(text: str) -> Stamp | None:
    """Read a stamp; None if the text is not one."""
    text = unicodedata.normalize("NFKC", unguarded(text)).strip()
    try:
        number = _NUMBER.fullmatch(text)
        if number is not None and (found := _of_number(number)) is not None:
            return found
        return _of_text(text)
    except (ValueError, OverflowError):
        return None


def _of_number(number: re.Match[str]) -> Stamp | None:
    """Read a Unix time, or a spreadsheet's days since 1899."""
    digits, rest = number[1], number[2] or ""
    if len(digits) in _SECONDS_BY_DIGITS:
        per_second = _SECONDS_BY_DIGITS[len(digits)]
        micro = int(digits) * 1_000_000 // per_second
        if per_second == 1:
            micro += int(f"{rest:0<6}"[:6] or "0")
        return Stamp(_naive(_EPOCH + timedelta(microseconds=micro)), zone=UTC)
    if int(digits) in _SERIALS and len(digits) == 5:
        share = float(f"0.{rest or 0}")
        at = _DAY_ZERO + timedelta(days=int(digits), milliseconds=round(share * 86_400_000))
        return Stamp(at, is_instant=bool(rest))
    return None


def _naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)


def _of_text(text: str) -> Stamp | None:
    if (compact := _COMPACT_TIME.fullmatch(text)) is not None:
        text = f"{compact[1]} {compact[2]}:{compact[3]}:{compact[4]}{compact[5]}"
    text = _BRACKETS.sub("", text).translate(_CHINESE).strip().rstrip(":")
    for half, marks in _HALVES.items():
        if half in text:
            text = f"{text.replace(half, ' ')} {marks}"
    found = _TIME.search(text)
    if found is None:
        day = _day(text.removesuffix("Z").removesuffix("UTC"))
        return None if day is None else _stamp(day, None, "")
    before = _AND_TIME.sub("", text[: found.start()].strip(" ,"))
    after = text[found.end() :].strip(" ,")
    if not before:
        before, _, after = after.partition(" ")
    elif (year := re.search(r"(?<![-+:\d])\d{4}$", after)) and _day(before) is None:
        before, after = f"{before} {year[0]}", after[: year.start()].strip()
    day = _day(before)
    return None if day is None else _stamp(day, found, after)


def _stamp(day: Stamp, time: re.Match[str] | None, after: str) -> Stamp:
    """Add a time and a zone to a day."""
    passed = timedelta(0) if time is None else _passed(time)
    zone = read_zone(after) if after else None
    if after and zone is None and not re.fullmatch(r"[A-Za-z]{2,5}", after):
        raise ValueError(after)

    def moved(at: datetime | None) -> datetime | None:
        return None if at is None else at + passed

    return Stamp(
        moved(day.at),
        moved(day.by_month),
        moved(day.by_year),
        is_open=day.is_open,
        is_dotted=day.is_dotted,
        is_instant=time is not None,
        zone=zone,
        has_strange_zone=bool(after) and zone is None,
    )


def _passed(time: re.Match[str]) -> timedelta:
    """Return the time since midnight; ValueError for a time that no clock shows."""
    hour, minute, second = int(time[1]), int(time[2]), int(time[3] or 0)
    if time[5]:
        if not 1 <= hour <= 12:
            raise ValueError(time[0])
        hour = hour % 12 + (12 if time[5].lower() == "p" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(time[0])
    micro = int(f"{time[4] or '':0<6}"[:6])
    return timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micro)


def _day(text: str) -> Stamp | None:
    text = text.strip(" ,")
    found = _YEAR_FIRST.fullmatch(text)
    if found is not None:
        return Stamp(_date(found[1], found[3], found[4]))
    if (found := _COMPACT.fullmatch(text)) is not None:
        return Stamp(_date(*found.groups()))
    if (found := _YEAR_LAST.fullmatch(text)) is not None:
        return _year_last(found)
    return _named_month(text)


def _year_last(found: re.Match[str]) -> Stamp | None:
    """Read 26/11/2026 or 11/26/2026, or 26/11/26, whose year may come first."""
    first, mark, second, last = found.groups()
    is_short = len(last) == 2
    by_day, by_month = _tried(last, second, first), _tried(last, first, second)
    by_year = _tried(first, second, last) if is_short else None
    if by_day is by_month is by_year is None:
        return None
    return Stamp(by_day, by_month, by_year, is_open=True, is_dotted=mark == "." and by_year is None)


def _named_month(text: str) -> Stamp | None:
    """Read 26 Nov 2026, Nov 26, 2026 or 26-Nov-26, with the day of the week or without."""
    words = [word for word in re.split(r"[\s,./-]+", _ORDINAL.sub("", text.lower())) if word]
    numbers = [word for word in words if word.isdecimal()]
    names = [word for word in words if not word.isdecimal() and word[:3] not in _DAYS]
    if len(numbers) != 2 or len(names) != 1 or names[0][:3] not in _MONTHS:
        return None
    day, year = numbers if len(numbers[0]) <= 2 else reversed(numbers)
    return Stamp(_date(year, str(_MONTHS.index(names[0][:3]) + 1), day))


def _tried(year: str, month: str, day: str) -> datetime | None:
    try:
        return _date(year, month, day)
    except ValueError:
        return None


def _date(year: str, month: str, day: str) -> datetime:
    """Return a day; a year of two digits is of this century."""
    whole = int(year) + 2000 if len(year) <= 2 else int(year)
    return datetime(whole, int(month), int(day))  # noqa: DTZ001 - its zone is not known yet
