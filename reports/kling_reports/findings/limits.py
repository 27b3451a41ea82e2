"""Rules on budgets: one that is over its limit, and one that reaches it soon."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd

from kling_reports.amounts import in_unit
from kling_reports.findings.finding import Finding, whole_percent
from kling_reports.findings.spending import day_name

SOON: Final = timedelta(days=14)
_A_WEEK: Final = 7
_WEEKDAYS: Final = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
)  # fmt: skip


def over(budgets: pd.DataFrame, zone: str) -> Iterator[Finding]:
    """More than a budget's limit is spent and reserved: beyond it by a millionth or more.

    `budgets` has the columns of the budgets report, and `out_since`, missing where not known.
    """
    for row in budgets.to_dict("records"):
        limit = int(row["limit_micro"])
        used = int(row["spent_micro"]) + int(row["reserved_micro"])
        if used <= limit:
            continue
        unit, since = row["unit"], row["out_since"]
        share = f" ({whole_percent(used, limit)})" if limit > 0 else ""
        stands = "is" if pd.isna(since) else "has been"
        when = "" if pd.isna(since) else f" since {day_name(_day(since, zone))}"
        yield Finding(
            "over budget",
            f"Budget {row['budget']} {stands} over its limit{when}: {in_unit(used, unit)} used of"
            f" {in_unit(limit, unit)}{share}.",
            used - limit,
            unit,
            "budgets",
            {"budget": row["budget"]},
        )


def runs_out(budgets: pd.DataFrame, *, now: datetime, zone: str) -> Iterator[Finding]:
    """A budget that has something left reaches its limit within SOON (14 days).

    Its `runs_out_at` is the report's own forecast; blank means unknown, or that the budget lasts.
    """
    for row in budgets.dropna(subset=["runs_out_at"]).to_dict("records"):
        at, left = row["runs_out_at"], int(row["left_micro"])
        if left <= 0 or not now < at <= now + SOON:
            continue
        limit = in_unit(int(row["limit_micro"]), row["unit"])
        yield Finding(
            "budget runs out",
            f"Budget {row['budget']} reaches its limit on {_when(at, now, zone)}, at this rate:"
            f" {in_unit(left, row['unit'])} of {limit} is left.",
            left,
            row["unit"],
            "budgets",
            {"budget": row["budget"]},
        )


def _when(at: Any, now: datetime, zone: str) -> str:
    """Return the day; within a week with its weekday, which is then unambiguous."""
    day = _day(at, zone)
    is_near = (day - _day(now, zone)).days < _A_WEEK
    return f"{_WEEKDAYS[day.weekday()]}, {day_name(day)}" if is_near else day_name(day)


def _day(at: Any, zone: str) -> date:
    found: date = at.astimezone(ZoneInfo(zone)).date()
    return found
