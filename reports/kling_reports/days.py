"""Days: each day of a period beside the same day of the one before, and who spent on which day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pandas as pd

from kling_reports.comparison import added
from kling_reports.division import share_ppm
from kling_reports.merging import merged
from kling_reports.report import UNIT, Column, Picture, Table, typed, typed_totals

_DAILY: Final = (
    Column("day", "day", "date"),
    Column(UNIT, "unit", "text"),
    Column("spent_micro", "spent", "money", "committed less refunded", adds_up=True),
    Column("clips", "clips", "integer", "jobs that ended and were charged", adds_up=True),
    Column("day_before", "day before", "date", "the same day of the period before"),
    Column("before_micro", "period before", "money", "spent on the day before"),
)
_DAYS: Final = (
    Column("day", "day", "date"),
    Column("project", "project", "text"),
    Column("actor", "user", "text"),
    Column(UNIT, "unit", "text"),
    Column("jobs", "jobs", "integer", "reserved on this day", adds_up=True),
    Column("failed", "failed", "integer", "of these, nothing was made", adds_up=True),
    Column("cost_micro", "cost", "money", "spent and still set aside", adds_up=True),
    Column("usual_micro", "usual day", "money", "the median of its other active days"),
    Column("of_usual_ppm", "of usual", "percent", "the cost as a share of a usual day"),
)


def daily(this: pd.DataFrame, that: pd.DataFrame, days: list[pd.Timestamp], back: int) -> Table:
    """Put each of some days beside the day that is `back` days earlier, in every unit.

    `this` and `that` are spendings by day. Future days have no figures yet.
    """
    units = sorted({*this[UNIT].dropna(), *that[UNIT].dropna()})
    places = pd.DataFrame(
        [(day, unit) for day in days for unit in units], columns=["day", UNIT]
    ).astype({"day": "datetime64[s]", UNIT: "string"})
    places["day_before"] = places["day"] - timedelta(days=back)
    then = added(that, ["day"]).rename(columns={"day": "day_before", "spent_micro": "before_micro"})
    rows = merged(places, added(this, ["day"]), ["day", UNIT], "left")
    rows = merged(rows, then[["day_before", UNIT, "before_micro"]], ["day_before", UNIT], "left")
    totals = rows.groupby(UNIT, as_index=False)[["spent_micro", "clips"]].sum()
    return Table(
        "daily",
        "Day by day",
        _DAILY,
        typed(rows, _DAILY),
        totals=typed_totals(totals, _DAILY),
        empty="nothing was reserved",
        gives_way=("day_before", "clips"),
        picture=Picture("over_time", x="day", value="spent_micro", limit="before_micro"),
    )


def by_project(rows: pd.DataFrame) -> Table:
    """List the result of findings.spending.with_usual for a period's days, highest cost first."""
    told = rows.assign(of_usual_ppm=share_ppm(rows["cost_micro"], rows["usual_micro"]))
    told = told.sort_values(["cost_micro", "day"], ascending=[False, False], ignore_index=True)
    totals = told.groupby(UNIT, as_index=False)[["jobs", "failed", "cost_micro"]].sum()
    return Table(
        "days",
        "Days by project and user",
        _DAYS,
        typed(told, _DAYS),
        totals=typed_totals(totals, _DAYS),
        empty="nothing was reserved",
        gives_way=("failed", "usual_micro", "actor", "jobs"),
    )


def calendar(starts: Any, ends: Any, zone: str) -> list[pd.Timestamp]:
    """Return the days of a zone from one instant up to another, as dates of a frame."""
    first, last = (pd.Timestamp(one).tz_convert(zone).tz_localize(None) for one in (starts, ends))
    last = max(last - pd.Timedelta(1, "us"), first)
    return list(pd.date_range(first.normalize(), last.normalize(), freq="D", unit="s"))
