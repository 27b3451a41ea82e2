"""Before: a period and the one before it, cut so that like is compared with like.

A month that is not over is not compared with a whole one: of a running period, only what has passed
counts, and the same days of the period before. Whole months are compared with as many whole months,
any other span with an equally long one just before it. Days are those of a zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from kling_reports.report import Span

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_SHORT: Final = 3
_INSTANT: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """The part of a period that has passed, and what it is compared with.

    `whole` is the period to its end, `whole_before` the one before it to its end. `name` is for
    people: `November 2026 so far, 26 of 30 days`; `name_before`: `the same days of October 2026`.
    `first_day` is the first day of the period before: a ledger with a job on that day, or earlier,
    covers that whole period.
    """

    this: Span
    before: Span
    whole: Span
    whole_before: Span
    name: str
    name_before: str
    is_running: bool
    first_day: Span


def pair(span: Span, *, now: datetime, zone: str) -> Pair:
    """Return the period of a span and the one before; without a span, the month of `now`.

    A span that begins with a month and has no end runs to the end of the running month; any other
    without an end runs to `now`.
    """
    place = ZoneInfo(zone)
    at = _local(now, place)
    start, end = _edges(span, at, place)
    passed = min(max(at, start), end)
    months = _months(start, end)
    start_before = _months_earlier(start, months) if months else start - (end - start)
    passed_before = start
    if passed < end:
        moved = _months_earlier(passed, months) if months else start_before + (passed - start)
        passed_before = min(moved, start)
    name, name_before = _called(start, end), _called(start_before, start)
    if passed < end:
        name = f"{name} so far, {_days(start, passed)} of {_days(start, end)} days"
        name_before = f"the same days of {name_before}"
    return Pair(
        this=_span(start, passed, place),
        before=_span(start_before, passed_before, place),
        whole=_span(start, end, place),
        whole_before=_span(start_before, start, place),
        name=name,
        name_before=name_before,
        is_running=passed < end,
        first_day=_span(start_before, start_before + _DAY, place),
    )


def _edges(span: Span, at: datetime, place: ZoneInfo) -> tuple[datetime, datetime]:
    end = None if span.ends_at is None else _local(span.ends_at, place)
    if span.starts_at is None:
        start = _month_of(at if end is None else min(at, end - _INSTANT))
    else:
        start = _local(span.starts_at, place)
    if end is not None:
        return start, end
    return start, _next_month(max(at, start)) if start == _month_of(start) else max(at, start)


def _months(start: datetime, end: datetime) -> int:
    """Return how many whole months lie between two times; zero if it is not a whole number."""
    if start != _month_of(start) or end != _month_of(end):
        return 0
    return (end.year - start.year) * 12 + end.month - start.month


def _months_earlier(at: datetime, months: int) -> datetime:
    """Return the same day and time some months earlier, or the next day if there is no such day."""
    year, month = divmod(at.year * 12 + at.month - 1 - months, 12)
    first = at.replace(year=year, month=month + 1, day=1)
    moved = first + timedelta(days=at.day - 1)
    return moved if moved.month == first.month else _month_of(moved)


def _month_of(at: datetime) -> datetime:
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next_month(at: datetime) -> datetime:
    return _month_of(_month_of(at) + timedelta(days=31))


def _days(start: datetime, end: datetime) -> int:
    """Return how many days two times touch, counting the first one as whole."""
    return (end - _INSTANT).toordinal() - start.toordinal() + 1 if end > start else 1


def _called(start: datetime, end: datetime) -> str:
    months = _months(start, end)
    last = max(end - _INSTANT, start)
    if months == 1:
        return month_name(start)
    if months:
        first = _MONTHS[start.month - 1] if start.year == last.year else month_name(start)
        return f"{first} to {month_name(last)}"
    if start.date() == last.date():
        return _day_name(start)
    return f"{_day_name(start)} to {_day_name(last)}"


def month_name(at: datetime) -> str:
    """Return the name of a month: `November 2026`."""
    return f"{_MONTHS[at.month - 1]} {at.year}"


def _day_name(at: datetime) -> str:
    return f"{at.day} {_MONTHS[at.month - 1][:_SHORT]} {at.year}"


def _local(at: datetime, place: ZoneInfo) -> datetime:
    return at.astimezone(place).replace(tzinfo=None)


def _span(start: datetime, end: datetime, place: ZoneInfo) -> Span:
    return Span(*(at.replace(tzinfo=place).astimezone(UTC) for at in (start, end)))
