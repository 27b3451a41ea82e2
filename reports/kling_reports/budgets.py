"""Where each budget stands: what is left, how fast it goes, when it runs out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.ids import to_us
from kling_reports import overruns
from kling_reports.division import share_ppm
from kling_reports.doors import over
from kling_reports.doors.budgets import standing
from kling_reports.frames import series_of
from kling_reports.query import Query
from kling_reports.report import UNIT, Column, Picture, Report, Table, typed

_COLUMNS: Final = (
    Column("budget", "budget", "text"),
    Column("covers", "covers", "text", "what counts in it"),
    Column("mode", "mode", "text", "whether it refuses or only warns"),
    Column(UNIT, "unit", "text"),
    Column("limit_micro", "limit", "money", "with the raises that are in force"),
    Column("spent_micro", "spent", "money", "committed less refunded, in this window"),
    Column("reserved_micro", "reserved", "money", "still set aside, in this window"),
    Column("left_micro", "left", "money", "limit less spent and reserved; below zero is beyond it"),
    Column("used_ppm", "used", "percent", "spent and reserved, as a share of the limit"),
    Column("daily_micro", "per day", "money", "spent a day since the window began, rounded"),
    Column("runs_out_at", "runs out", "instant", "when nothing is left, going on like this"),
    Column("forecast_micro", "forecast", "money", "used at the window's end, going on like this"),
    Column("forecast_share_ppm", "of limit", "percent", "the forecast as a share of the limit"),
    Column("window", "window", "text", "how often it begins anew"),
    Column("begins_at", "since", "instant", "when the window began"),
    Column("ends_at", "until", "instant", "when it ends: the first instant that is outside"),
)
_GIVES_WAY: Final = (
    "begins_at",
    "mode",
    "forecast_share_ppm",
    "covers",
    "ends_at",
    "window",
    "daily_micro",
    "used_ppm",
)
_DAY_US: Final = 86_400_000_000
_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)
_NOTES: Final = (
    "Going on like this: at what was spent a day since the window began.",
    "A budget that never begins anew is counted from the first job that it covers.",
    "A forecast counts what is reserved as spent; a budget that lasts its window has no run-out.",
)


def report(database: Database, query: Query) -> Report:
    """Answer where each budget stands now."""
    return query.answer(
        "budgets",
        "Budgets",
        question="How much of each budget is left, and will it last?",
        tables=[
            overruns.told(
                budgets(standing(database, at=query.now), query.now),
                over.since(database, at=query.now),
            )
        ],
        notes=_NOTES,
    )


def budgets(known: pd.DataFrame, now: datetime) -> Table:
    """Work out what is left of each budget (see doors.budgets), and how long it lasts."""
    used = known["spent_micro"] + known["reserved_micro"]
    outlooks = pd.DataFrame(
        [_outlook(row, to_us(now)) for row in known.to_dict("records")],
        columns=["daily_micro", "runs_out_at", "forecast_micro"],
        dtype="object",
    )
    told = known.assign(
        left_micro=known["limit_micro"] - used,
        used_ppm=share_ppm(used, known["limit_micro"]),
        **{name: series_of(outlooks[name], "money") for name in ("daily_micro", "forecast_micro")},
        runs_out_at=series_of(outlooks["runs_out_at"], "instant"),
    )
    told["forecast_share_ppm"] = share_ppm(told["forecast_micro"], told["limit_micro"])
    return Table(
        "budgets",
        "Budgets",
        _COLUMNS,
        typed(told, _COLUMNS),
        empty='there is no budget: kling-ledger budget set film --limit "50 USD"',
        gives_way=_GIVES_WAY,
        picture=Picture(
            "bullet", x="budget", value="spent_micro", series="reserved_micro", limit="limit_micro"
        ),
    )


def _outlook(row: dict[Any, Any], now_us: int) -> tuple[int | None, int | None, int | None]:
    """Return what is spent a day, when it runs out, and the forecast; None where nobody knows."""
    if pd.isna(row["begins_at"]):
        return None, None, None
    spent, used = int(row["spent_micro"]), int(row["spent_micro"] + row["reserved_micro"])
    elapsed = max(now_us - to_us(row["begins_at"].to_pydatetime()), 1)
    ends = None if pd.isna(row["ends_at"]) else to_us(row["ends_at"].to_pydatetime())
    forecast = None
    if ends is not None:
        forecast = used + _nearest(spent * max(ends - now_us, 0), elapsed)
    out = _runs_out(int(row["limit_micro"]) - used, spent, elapsed, now_us)
    lasts = out is None or (ends is not None and out >= ends)
    return _nearest(spent * _DAY_US, elapsed), None if lasts else out, forecast


def _runs_out(left: int, spent: int, elapsed: int, now_us: int) -> int | None:
    """Return when nothing is left; now where nothing is, None for never."""
    if left <= 0:
        return now_us
    if spent <= 0:
        return None
    out = now_us + left * elapsed // spent
    return out if out < to_us(_LAST) else None


def _nearest(part: int, by: int) -> int:
    return (2 * part + by) // (2 * by)
