"""Rules on what was spent: a change on the period before, an unusual day, one that takes most."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, Final

import pandas as pd

from kling_reports.amounts import in_unit
from kling_reports.findings.finding import Finding, named, whole_percent

LEAST_CHANGE_PERCENT: Final = 20
LEAST_JOBS_COMPARED: Final = 10
LEAST_TIMES: Final = 4
LEAST_JOBS_OF_A_DAY: Final = 10
LEAST_DAYS: Final = 5
MOST_SHARE_PERCENT: Final = 60
LEAST_SHARING: Final = 3


def changed(compared: pd.DataFrame, name: str, name_before: str) -> Iterator[Finding]:
    """Spending rose or fell by LEAST_CHANGE_PERCENT (20 %) or more on the period before.

    Both have LEAST_JOBS_COMPARED (10) clips at least, and the one before cost something: a change
    of nothing has no percentage. `compared` has one row a unit: `unit`, `clips`, `clips_before`,
    `spent_micro`, `spent_before_micro`, missing where the period before is not known whole.
    """
    for row in compared.dropna(subset=["spent_before_micro"]).to_dict("records"):
        now, then = int(row["spent_micro"]), int(row["spent_before_micro"])
        is_enough = min(int(row["clips"]), int(row["clips_before"])) >= LEAST_JOBS_COMPARED
        if not is_enough or then <= 0 or abs(now - then) * 100 < then * LEAST_CHANGE_PERCENT:
            continue
        way = "up" if now > then else "down"
        yield Finding(
            "change",
            f"Spending is {way} {whole_percent(abs(now - then), then)} on {name_before}:"
            f" {in_unit(now, row['unit'])} after {in_unit(then, row['unit'])} ({name}).",
            now - then,
            row["unit"],
            "comparison",
            {"unit": row["unit"]},
        )


def with_usual(days: pd.DataFrame) -> pd.DataFrame:
    """Add to each day of a project and user what such a day usually costs.

    `days` has one row for each `day`, `project`, `actor` and `unit`, with `cost_micro`: spent and
    still set aside. `usual_micro` is the median of its other active days (the mean of the middle
    two, rounded down); where it has fewer than LEAST_DAYS (5) of them, the median of all other
    rows of the unit; missing where there are too few of these as well.
    """
    usual: dict[Any, int | None] = {}
    for _, of_unit in days.groupby("unit", sort=False):
        all_costs = of_unit["cost_micro"].tolist()
        for _, own in of_unit.groupby(["project", "actor"], dropna=False, sort=False):
            costs = own["cost_micro"].tolist()
            known = costs if len(costs) > LEAST_DAYS else all_costs
            usual |= {
                at: _median_without(known, cost) for at, cost in zip(own.index, costs, strict=True)
            }
    found = pd.array([usual[at] for at in days.index], dtype="Int64")
    return days.assign(usual_micro=pd.Series(found, days.index))


def unusual_days(days: pd.DataFrame) -> Iterator[Finding]:
    """A project's and user's day cost LEAST_TIMES (4) times its usual day or more: a runaway.

    It has LEAST_JOBS_OF_A_DAY (10) jobs at least: one dear clip is no runaway. `days` is what
    `with_usual` gives, of the days that are judged.
    """
    for row in days.dropna(subset=["usual_micro"]).to_dict("records"):
        cost, usual = int(row["cost_micro"]), int(row["usual_micro"])
        if row["jobs"] < LEAST_JOBS_OF_A_DAY or usual <= 0 or cost < usual * LEAST_TIMES:
            continue
        jobs = f"{row['jobs']:,} jobs of {named(row['project'], 'project')}"
        by = "" if pd.isna(row["actor"]) else f" by {row['actor']}"
        yield Finding(
            "unusual day",
            f"{jobs}{by} on {day_name(row['day'].date())} cost {in_unit(cost, row['unit'])},"
            f" {cost // usual:,} times a usual day ({in_unit(usual, row['unit'])}).",
            cost,
            row["unit"],
            "days",
            {name: row[name] for name in ("day", "project", "actor", "unit")},
        )


def takes_most(ranked: pd.DataFrame, word: str, table: str) -> Iterator[Finding]:
    """One of LEAST_SHARING (3) or more takes MOST_SHARE_PERCENT (60 %) or more of a unit.

    `ranked` has one row for each name (column `word`) and `unit`, with `spent_micro`.
    """
    for unit, rows in ranked.groupby("unit", sort=False):
        spent = int(rows["spent_micro"].sum())
        largest = rows.sort_values("spent_micro", kind="stable").iloc[-1]
        most = int(largest["spent_micro"])
        if len(rows) < LEAST_SHARING or spent <= 0 or most * 100 < spent * MOST_SHARE_PERCENT:
            continue
        yield Finding(
            "concentration",
            f"{named(largest[word], word)} takes {whole_percent(most, spent)} of what was spent:"
            f" {in_unit(most, str(unit))} of {in_unit(spent, str(unit))}, among {len(rows):,}"
            f" {_PLURALS[word]}.",
            most,
            str(unit),
            table,
            {word: largest[word], "unit": unit},
        )


_PLURALS: Final = {"project": "projects", "user": "users"}
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


def day_name(day: date) -> str:
    """Return a day as written in a sentence: `17 Oct`."""
    return f"{day.day} {_MONTHS[day.month - 1]}"


def _median_without(costs: list[int], left_out: int) -> int | None:
    """Return the median of costs without one of them; None if too few are left."""
    if len(costs) <= LEAST_DAYS:
        return None
    others = sorted(costs)
    others.remove(left_out)
    return (others[(len(others) - 1) // 2] + others[len(others) // 2]) // 2
