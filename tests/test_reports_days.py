"""Days: each beside an earlier one, who spent on which, and the calendar of a zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from kling_reports import days
from kling_reports.frames import frame_of
from kling_reports.report import Kind, Table
from tests.reports_ledger import rows, totals

KINDS: dict[str, Kind] = {
    "day": "date",
    "unit": "text",
    "outcome": "text",
    "jobs": "integer",
    "spent_micro": "money",
    "held_micro": "money",
    "seconds": "seconds",
    "known": "integer",
    "priced_micro": "money",
}


def spending(*told: tuple[int, str, int, int]) -> pd.DataFrame:
    """Spending by day of April: the day, the unit, how many clips, and millionths spent."""
    return frame_of(
        [
            {
                **dict.fromkeys(KINDS),
                "day": date(2026, 4, day),
                "unit": unit,
                "outcome": "accepted",
                "jobs": clips,
                "spent_micro": micro,
                "held_micro": 0,
                "seconds": 5 * clips,
            }
            for day, unit, clips, micro in told
        ],
        KINDS,
    )


def april(*numbers: int) -> list[pd.Timestamp]:
    return [pd.Timestamp(2026, 4, number) for number in numbers]


def test_each_day_lies_beside_an_earlier_one_in_every_unit_and_has_its_totals():
    this = spending((28, "USD", 2, 3_000_000), (29, "USD", 1, 500_000), (29, "crun-credit", 4, 8))
    that = spending((21, "USD", 7, 1_000_000), (22, "crun-credit", 1, 2), (20, "USD", 1, 9))
    table = days.daily(this, that, april(28, 29, 30), 7)

    told = rows(table, "day", "unit", "spent", "clips", "day_before", "before")
    assert [(row[0].day, *row[1:4], row[4].day, row[5]) for row in told] == [
        (28, "USD", Decimal(3), 2, 21, Decimal(1)),
        (28, "crun-credit", None, None, 21, None),
        (29, "USD", Decimal("0.5"), 1, 22, None),
        (29, "crun-credit", Decimal("0.000008"), 4, 22, Decimal("0.000002")),
        (30, "USD", None, None, 23, None),
        (30, "crun-credit", None, None, 23, None),
    ]
    assert totals(table, "unit", "spent", "clips") == [
        ("USD", Decimal("3.5"), 3),
        ("crun-credit", Decimal("0.000008"), 4),
    ]
    assert table.picture is not None
    assert (table.picture.kind, table.picture.limit) == ("over_time", "before_micro")
    assert told_of(table) == ("daily", "Day by day", "nothing was reserved")


def told_of(table: Table) -> tuple[str, str, str]:
    assert set(table.gives_way) < {column.name for column in table.columns}
    return table.name, table.title, table.empty


def day_of(number: int, cost: int, usual: int | None, **more: Any) -> dict[str, Any]:
    given = {"project": "film", "actor": "ann", "unit": "USD", "jobs": 3, "failed": 1, **more}
    figures = {"cost_micro": cost, "usual_micro": usual}
    return {"day": date(2026, 4, number), **given, **figures}


def test_the_dearest_days_come_first_and_of_the_same_cost_the_latest():
    kinds: dict[str, Kind] = {"day": "date", "project": "text", "actor": "text", "unit": "text"}
    kinds |= {"jobs": "integer", "failed": "integer", "cost_micro": "money", "usual_micro": "money"}
    given = [
        day_of(3, 2_000_000, 1_000_000),
        day_of(5, 9_000_000, None, unit="crun-credit"),
        day_of(4, 2_000_000, 4_000_000, jobs=7),
        day_of(1, 3_000_000, 0),
    ]
    table = days.by_project(frame_of(given, kinds))
    told = rows(table, "day", "cost", "usual", "of_usual", "jobs")
    assert [(row[0].day, *row[1:]) for row in told] == [
        (5, Decimal(9), None, None, 3),
        (1, Decimal(3), Decimal(0), None, 3),
        (4, Decimal(2), Decimal(4), Decimal("0.5"), 7),
        (3, Decimal(2), Decimal(1), Decimal(2), 3),
    ]
    assert totals(table, "unit", "jobs", "failed", "cost") == [
        ("USD", 13, 3, Decimal(7)),
        ("crun-credit", 3, 1, Decimal(9)),
    ]
    assert told_of(table) == ("days", "Days by project and user", "nothing was reserved")


@pytest.mark.parametrize(
    ("starts", "ends", "zone", "first", "last"),
    [
        # Midnight itself belongs to the day that it begins, and an end is no longer in it.
        ("2026-03-31T22:00", "2026-04-02T22:00", "Europe/Berlin", "2026-04-01", "2026-04-02"),
        (
            "2026-03-31T22",
            "2026-04-02T22:00:00.000001",
            "Europe/Berlin",
            "2026-04-01",
            "2026-04-03",
        ),
        ("2026-04-01T00:00", "2026-04-03T00:00", "UTC", "2026-04-01", "2026-04-02"),
        ("2026-04-01T00:00", "2026-04-03T00:00", "America/New_York", "2026-03-31", "2026-04-02"),
        # The clocks go forward.
        ("2026-03-28T23:00", "2026-03-30T22:00", "Europe/Berlin", "2026-03-29", "2026-03-30"),
        ("2026-04-05T09:00", "2026-04-05T09:00", "UTC", "2026-04-05", "2026-04-05"),
    ],
)
def test_the_days_of_a_span_are_those_of_its_zone(
    starts: str, ends: str, zone: str, first: str, last: str
):
    begin, end = (datetime.fromisoformat(one).replace(tzinfo=UTC) for one in (starts, ends))
    found = days.calendar(begin, end, zone)
    assert found == pd.date_range(first, last).tolist()
    assert {one.unit for one in found} == {"s"}
