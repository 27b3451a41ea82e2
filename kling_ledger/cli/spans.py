"""Spans: the parser of `--period`: a day, week, month, quarter or year, by date or by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, TypeVar

import click

from kling_ledger.cli.usage import did_you_mean
from kling_ledger.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])

FORMS: Final = (
    "today, yesterday, last-7-days, this-month, last-month, 2026-10-21, 2026-W43, 2026-10, "
    "2026-Q4, 2026; this- and last- work with week, month, quarter and year"
)
_MONTH: Final = re.compile(r"(19|2[0-9])[0-9]{2}-(0[1-9]|1[0-2])")
_QUARTER: Final = re.compile(r"([12][0-9]{3})-?q([1-4])")
_WEEK: Final = re.compile(r"([12][0-9]{3})-?w([0-9]{2})")
_YEAR: Final = re.compile(r"(19|2[0-9])[0-9]{2}")
_DAY: Final = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}")
_LAST_DAYS: Final = re.compile(r"last-([1-9][0-9]{0,3})-days?")
_MONTHS_OF: Final = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True, slots=True)
class Period:
    """The days from `first` to the day before `end`; `month` is its name if it is a month."""

    first: date
    end: date

    @property
    def begins_at(self) -> datetime:
        """Its first instant, without a zone: it is in the query's zone."""
        return datetime.combine(self.first, time.min)

    @property
    def ends_at(self) -> datetime:
        """Its end (exclusive), in the query's zone."""
        return datetime.combine(self.end, time.min)

    @property
    def month(self) -> str | None:
        """The month, as in 2026-11; None for any other period."""
        is_month = self.first.day == 1 and self.end == _months_on(self.first, 1)
        return f"{self.first:%Y-%m}" if is_month else None


def read_period(written: str, today: date) -> Period:
    """Return the days of a period. ConfigError, listing the forms, for anything else.

    `last-7-days` are seven days and end with today. Weeks begin on Monday.
    """
    word = re.sub(r"[ _]+", "-", written.strip().casefold())
    try:
        found = _named(word, today) or _numbered(word)
    except ValueError:
        found = None  # a day or a week that does not exist
    if found is None:
        raise ConfigError(f"not a period: {written}", hint=_near(word) or f"use one of {FORMS}")
    return found


def read_month(written: str, now: datetime) -> str:
    """Return a month of the journal (UTC), as in 2026-11. ConfigError for anything else."""
    try:
        found = read_period(written, now.astimezone(UTC).date()).month
    except ConfigError as error:
        raise ConfigError(f"not a month: {written}", hint=error.hint) from None
    if found is None:
        raise ConfigError(f"not a month: {written}", hint="write it as 2026-10, or last-month")
    return found


class Month(click.ParamType[str]):
    """A month of the journal: 2026-10, or last-month."""

    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the month as in 2026-10; a usage error for anything else."""
        try:
            return read_month(str(value), datetime.now(UTC))
        except ConfigError as error:
            hint = error.hint or ""
            said = hint if hint.startswith("did you mean") else "write it as 2026-10"
            self.fail(f"{error}: {said}", param, ctx)


def period_option(said: str = "") -> Callable[[Command], Command]:
    """Return the decorator for `--period`, which sets both ends; `said` is appended to its help."""
    return click.option(
        "--period",
        metavar="WHEN",
        help="This period, instead of its two ends: last-month, last-7-days, 2026-11, 2026-Q4, ..."
        + said,
    )


def ends_of(
    period: str | None, since: datetime | None, until: datetime | None, *, names: str
) -> tuple[datetime | None, datetime | None]:
    """Return both ends in UTC: those of --period, if given, else as they are.

    ConfigError if both are given; `names` are the options of the ends.
    """
    if period is None:
        return since, until
    if since is not None or until is not None:
        raise ConfigError(f"--period replaces {names}: give one or the other")
    found = read_period(period, datetime.now(UTC).date())
    return found.begins_at.replace(tzinfo=UTC), found.ends_at.replace(tzinfo=UTC)


def _named(word: str, today: date) -> Period | None:
    """Parse a name relative to today; `last` alone is the last month."""
    name, _, unit = word.partition("-")
    days = _LAST_DAYS.fullmatch(word)
    if days is not None:
        return Period(today - timedelta(days=int(days[1]) - 1), today + timedelta(days=1))
    if word in {"today", "yesterday"}:
        first = today - timedelta(days=word == "yesterday")
        return Period(first, first + timedelta(days=1))
    if name not in {"this", "last"} or (not unit and name == "this"):
        return None
    steps = -1 if name == "last" else 0
    if unit == "week":
        monday = today - timedelta(days=today.weekday()) + timedelta(weeks=steps)
        return Period(monday, monday + timedelta(weeks=1))
    months = _MONTHS_OF.get(unit or "month")
    if months is None:
        return None
    begun = date(today.year, (today.month - 1) // months * months + 1, 1)
    first = _months_on(begun, steps * months)
    return Period(first, _months_on(first, months))


def _numbered(word: str) -> Period | None:
    """Parse a day, week, month, quarter or year. ValueError for one that does not exist."""
    quarter, week = _QUARTER.fullmatch(word), _WEEK.fullmatch(word)
    if quarter is not None:
        first = date(int(quarter[1]), int(quarter[2]) * 3 - 2, 1)
        return Period(first, _months_on(first, 3))
    if week is not None:
        monday = date.fromisocalendar(int(week[1]), int(week[2]), 1)
        return Period(monday, monday + timedelta(weeks=1))
    if _DAY.fullmatch(word):
        day = date.fromisoformat(word)
        return Period(day, day + timedelta(days=1))
    if _MONTH.fullmatch(word):
        first = date.fromisoformat(f"{word}-01")
        return Period(first, _months_on(first, 1))
    if _YEAR.fullmatch(word):
        return Period(date(int(word), 1, 1), date(int(word) + 1, 1, 1))
    return None


def _months_on(first: date, months: int) -> date:
    count = first.year * 12 + first.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


def _near(word: str) -> str | None:
    from kling_ledger.cli.known_words import alike

    units = ("week", *_MONTHS_OF)
    names = [f"{when}-{unit}" for when in ("this", "last") for unit in units]
    likely = alike(word, ["today", "yesterday", "last-7-days", *names])
    return did_you_mean(likely) if word[:1].isalpha() else None
