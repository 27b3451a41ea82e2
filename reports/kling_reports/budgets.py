"""The state of each budget: what is left, how fast it is used, when it runs out, who changed it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.ids import to_us
from kling_reports.division import share_ppm
from kling_reports.doors import windows
from kling_reports.doors.budgets import standing
from kling_reports.forecasts import (
    FEWEST_JOBS,
    NOT_GRADED,
    at_end,
    daily,
    grade,
    is_early,
    runs_out_at,
)
from kling_reports.frames import series_of
from kling_reports.query import Query
from kling_reports.report import UNIT, Column, Kind, Picture, Report, Table, typed

_COLUMNS: Final = (
    Column("budget", "budget", "text"),
    Column("covers", "covers", "text", "what counts in it"),
    Column("mode", "mode", "text", "whether it refuses or only warns"),
    Column(UNIT, "unit", "text"),
    Column("limit_micro", "limit", "money", "with the raises that are in force"),
    Column("base_limit_micro", "base limit", "money", "without raises"),
    Column("spent_micro", "spent", "money", "committed less refunded, in this window"),
    Column("reserved_micro", "reserved", "money", "still set aside, in this window"),
    Column("left_micro", "left", "money", "limit less spent and reserved; below zero is beyond it"),
    Column("used_ppm", "used", "percent", "spent and reserved, as a share of the limit"),
    Column("out_since", "out since", "instant", "since when nothing is left, if known"),
    Column("jobs", "jobs", "integer", "jobs of this window that cost or hold something"),
    Column("daily_micro", "per day", "money", "spent per day since the window began, rounded"),
    Column("runs_out_at", "runs out", "instant", "when nothing will be left at this rate"),
    Column("forecast_micro", "forecast", "money", "used at the window's end at this rate"),
    Column("forecast_share_ppm", "of limit", "percent", "the forecast as a share of the limit"),
    Column("forecast_error_ppm", "off by", "percent", "the median error of such forecasts before"),
    Column("graded_on", "graded on", "text", "what that error was found on"),
    Column("window", "window", "text", "how often it resets"),
    Column("begins_at", "since", "instant", "when the window began"),
    Column("ends_at", "until", "instant", "when it ends: the first instant that is outside"),
    Column("change", "last change", "text", "what was set or changed last"),
    Column("changed_at", "changed", "instant", "when that was"),
    Column("changed_by", "by", "text", "who changed it"),
    Column("change_reason", "reason", "text", "why"),
)
_OUTLOOK: Final[Mapping[str, Kind]] = {
    "daily_micro": "money",
    "runs_out_at": "instant",
    "forecast_micro": "money",
    "forecast_error_ppm": "percent",
    "graded_on": "text",
}
_GIVES_WAY: Final = (
    "change_reason",
    "changed_at",
    "changed_by",
    "change",
    "begins_at",
    "base_limit_micro",
    "jobs",
    "mode",
    "forecast_share_ppm",
    "covers",
    "ends_at",
    "window",
    "out_since",
    "graded_on",
    "forecast_error_ppm",
    "daily_micro",
    "used_ppm",
)
_ASIDE: Final = (
    *("base_limit_micro", "jobs", "forecast_share_ppm", "forecast_error_ppm", "graded_on"),
    *("window", "begins_at", "changed_at"),
)
"""Columns only in files, for recomputing the figures: too many to read side by side."""

_NOTES: Final = (
    "Run-outs and forecasts assume the average daily spending since the window began.",
    "A forecast counts reserved credits as spent; a budget that lasts its window has no run-out.",
    f"A forecast needs {FEWEST_JOBS} jobs, and a tenth of its window, or a day of a longer one.",
    "A budget without a window counts from its first job, and needs three days.",
    "Off by: the median error of the same forecast at the same point of earlier windows.",
)


def report(database: Database, query: Query) -> Report:
    """Report the current state of each budget."""
    known = standing(database, at=query.now)
    early = {
        str(row["budget"])
        for row in known.to_dict("records")
        if pd.notna(row["begins_at"]) and _is_early(row, to_us(query.now))
    }
    graded = [name for name in known["budget"] if name not in early]
    table = budgets(known, query.now, pasts=windows.pasts(database, graded, at=query.now))
    return query.answer(
        "budgets",
        "Budgets",
        question="How much of each budget is left, and will it last?",
        tables=[table],
        notes=[] if known.empty else [*_NOTES, *_too_early(sorted(early))],
    )


def budgets(known: pd.DataFrame, now: datetime, *, pasts: pd.DataFrame | None = None) -> Table:
    """Compute what is left of each budget (see doors.budgets), and how long it lasts.

    `pasts` (see doors.windows) are the windows that each forecast is tested on; without them none
    is graded.
    """
    used = known["spent_micro"] + known["reserved_micro"]
    by_budget = {} if pasts is None else dict(iter(pasts.groupby("budget")))
    outlooks = [
        _outlook(row, to_us(now), by_budget.get(row["budget"])) for row in known.to_dict("records")
    ]
    told = known.assign(
        left_micro=known["limit_micro"] - used,
        used_ppm=share_ppm(used, known["limit_micro"]),
        **{
            name: series_of((one.get(name) for one in outlooks), kind)
            for name, kind in _OUTLOOK.items()
        },
    )
    told["forecast_share_ppm"] = share_ppm(told["forecast_micro"], told["limit_micro"])
    return Table(
        "budgets",
        "Budgets",
        _COLUMNS,
        typed(told, _COLUMNS),
        empty='no budgets yet: kling-ledger budget set film --limit "50 USD"',
        gives_way=_GIVES_WAY,
        aside=_ASIDE,
        picture=Picture(
            "bullet", x="budget", value="spent_micro", series="reserved_micro", limit="limit_micro"
        ),
    )


def _outlook(row: dict[Any, Any], now_us: int, past: pd.DataFrame | None) -> dict[str, Any]:
    """Return the forecast with the columns of _OUTLOOK, or nothing if none can be made."""
    if pd.isna(row["begins_at"]) or _is_early(row, now_us):
        return {}
    spent, reserved = int(row["spent_micro"]), int(row["reserved_micro"])
    elapsed, ends = _elapsed_us(row, now_us), _ends_us(row)
    out = runs_out_at(
        left=int(row["limit_micro"]) - spent - reserved,
        spent=spent,
        elapsed_us=elapsed,
        now_us=now_us,
    )
    told: dict[str, Any] = {"daily_micro": daily(spent, elapsed), "runs_out_at": out}
    if ends is None:
        # Without windows there are no earlier ones, so the run-out date cannot be graded.
        return told if out is None else {**told, "graded_on": NOT_GRADED}
    if out is not None and out >= ends:
        told["runs_out_at"] = None
    told["forecast_micro"] = at_end(
        spent=spent, reserved=reserved, elapsed_us=elapsed, rest_us=ends - now_us
    )
    told["forecast_error_ppm"], told["graded_on"] = grade(
        [] if past is None else past.to_dict("records")
    )
    return told


def _is_early(row: dict[Any, Any], now_us: int) -> bool:
    ends = _ends_us(row)
    return is_early(
        jobs=0 if pd.isna(row["jobs"]) else int(row["jobs"]),
        elapsed_us=_elapsed_us(row, now_us),
        whole_us=None if ends is None else ends - _begins_us(row),
    )


def _too_early(names: list[str]) -> list[str]:
    return [f"It is too early for a forecast of {', '.join(names)}."] if names else []


def _elapsed_us(row: dict[Any, Any], now_us: int) -> int:
    return max(now_us - _begins_us(row), 1)


def _begins_us(row: dict[Any, Any]) -> int:
    return to_us(row["begins_at"].to_pydatetime())


def _ends_us(row: dict[Any, Any]) -> int | None:
    return None if pd.isna(row["ends_at"]) else to_us(row["ends_at"].to_pydatetime())
