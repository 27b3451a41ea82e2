"""Forecasts: none too early, each graded by what the same one would have said before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from kling_ledger.ledger import Job, Ledger, Scope
from kling_reports import budgets
from kling_reports.doors.budgets import BUDGET_KINDS
from kling_reports.forecasts import at_end, grade, is_early, runs_out_at
from kling_reports.frames import frame_of
from kling_reports.render import terminal
from tests.ledgers import Clock, money, usd
from tests.reports_ledger import query, rows

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
HALF_OF_APRIL = APRIL + 15 * DAY
US = 1_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock(JANUARY)


@pytest.fixture
def ledger(url: str, clock: Clock) -> Any:
    with Ledger(url, clock=clock, actor="ann") as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("1000"))
        yield opened


@pytest.fixture
def make(ledger: Ledger, clock: Clock) -> Callable[..., None]:
    """Make jobs of 1 USD, a minute apart."""

    def make(count: int, at: datetime, cost: str = "1", **reserved: Any) -> None:
        for number in range(count):
            clock.now = at + number * MINUTE
            one = ledger.reserve("team", usd("1"), **reserved)
            ledger.commit(one.id, usd(cost))

    return make


def asked(ledger: Ledger, now: datetime, *keys: str) -> list[tuple[Any, ...]]:
    return rows(budgets.report(ledger.database, query(now=now)).main, *keys)


@pytest.mark.parametrize(
    ("whole_us", "least_us"),
    [
        (None, 3 * 86_400 * US),
        (31 * 86_400 * US, 3 * 86_400 * US + 8_640 * US),
        (28 * 86_400 * US, 2 * 86_400 * US + 69_120 * US),
        (7 * 86_400 * US, 86_400 * US),
        (48 * 3_600 * US, 86_400 * US),
        (60 * 3_600 * US, 86_400 * US),
        (25 * 3_600 * US, 9_000 * US),
        (86_400 * US, 8_640 * US),
        (3_600 * US, 360 * US),
    ],
    ids=[
        "endless",
        "month",
        "february",
        "week",
        "two-days",
        "sixty-hours",
        "long-day",
        "day",
        "hour",
    ],
)
def test_a_forecast_waits_for_a_part_of_its_window_and_for_ten_jobs(
    whole_us: int | None, least_us: int
):
    assert not is_early(jobs=10, elapsed_us=least_us, whole_us=whole_us)
    assert is_early(jobs=10, elapsed_us=least_us - 1, whole_us=whole_us)
    assert is_early(jobs=9, elapsed_us=least_us, whole_us=whole_us)


def test_half_a_minute_of_a_month_is_no_forecast(ledger: Ledger, make: Callable[..., None]):
    ledger.budgets.set("month", usd("100"), window="month")
    make(2, APRIL)
    now = APRIL + timedelta(seconds=90)
    answered = budgets.report(ledger.database, query(now=now))
    keys = ("spent", "daily", "runs_out_at", "forecast", "forecast_error", "graded_on")
    assert rows(answered.main, *keys) == [(Decimal(2), None, None, None, None, None)]
    assert answered.notes[-1] == "It is too early for a forecast of month."


def test_jobs_that_came_to_nothing_are_no_ground_for_a_forecast(
    ledger: Ledger, clock: Clock, make: Callable[..., None]
):
    ledger.budgets.set("month", usd("100"), window="month")
    make(9, APRIL)
    failed = ledger.reserve("team", usd("1"))
    ledger.mark_submitting(failed.id)
    ledger.roll_back(failed.id, "it failed")
    assert asked(ledger, HALF_OF_APRIL, "jobs", "forecast") == [(9, None)]
    make(1, APRIL + DAY)
    assert asked(ledger, HALF_OF_APRIL, "jobs", "forecast") == [(10, Decimal(20))]


def test_a_forecast_is_graded_on_earlier_windows(ledger: Ledger, make: Callable[..., None]):
    film = Scope(project="film/")
    # At the half of each month ten, ten and twelve were spent; in the end 20, 40 and 12.
    for month, early, late in ((1, 10, 10), (2, 10, 30), (3, 12, 0)):
        begins = datetime(2026, month, 1, tzinfo=UTC)
        make(early, begins + DAY, project="film/teaser")
        make(late, begins + 20 * DAY, project="film/teaser")
        make(early, begins + DAY, project="ads")
    make(10, APRIL, project="film/teaser")
    ledger.budgets.set("film", usd("100"), scope=film, window="month")
    ledger.budgets.set("ads", usd("100"), scope=Scope(project="ads"), window="month")
    # Forecasts of 20, 20 and 24 were off by nothing, by half of 40 and by all of 12.
    keys = ("budget", "forecast", "forecast_error", "graded_on")
    assert asked(ledger, HALF_OF_APRIL, *keys) == [
        ("ads", None, None, None),
        ("film", Decimal(20), Decimal("0.5"), "3 earlier windows"),
    ]


@pytest.mark.parametrize(
    ("errors", "median"),
    [([3], 3), ([1, 9], 5), ([1, 2], 2), ([9, 1, 4], 4), ([1, 2, 4, 9], 3), ([2, 2, 3, 3], 3)],
)
def test_the_error_is_the_middle_one_or_half_way_between_two(errors: list[int], median: int):
    def past(error: int) -> dict[str, Any]:
        # Half of a million was spent in the half of it, and a million in the end.
        names = ("begins_at", "cut_at", "seen_at", "ends_at")
        days = [pd.Timestamp(APRIL + count * DAY) for count in (0, 5, 10, 10)]
        figures = {"spent_micro": US // 2, "reserved_micro": error, "jobs": 10, "used_micro": US}
        return {**dict(zip(names, days, strict=True)), **figures}

    assert grade([past(error) for error in errors])[0] == median


def past_of(days: tuple[float, float, float, float], spent: int, used: int) -> dict[str, Any]:
    """A window of ten jobs: when it began, was cut, was seen and ended, in days of April."""
    names = ("begins_at", "cut_at", "seen_at", "ends_at")
    instants = [pd.Timestamp(APRIL + count * DAY) for count in days]
    figures = {"spent_micro": spent, "reserved_micro": 0, "jobs": 10, "used_micro": used}
    return {**dict(zip(names, instants, strict=True)), **figures}


def test_a_window_is_graded_as_soon_as_its_own_length_allows_a_forecast():
    # A day is enough in a week; without an end it would be three.
    assert grade([past_of((0, 1, 7, 7), US, 7 * US)]) == (0, "1 earlier window")
    assert grade([past_of((0, 0.9, 7, 7), US, 7 * US)]) == (None, "not graded yet")


@pytest.mark.parametrize(("used", "error_ppm"), [(0, None), (1, 1_000_000)])
def test_an_error_is_a_share_of_what_was_used_if_anything_was(used: int, error_ppm: int | None):
    # One was spent in the half: two were forecast.
    assert grade([past_of((0, 5, 10, 10), 1, used)])[0] == error_ppm


def test_windows_that_graded_a_forecast_are_counted():
    pasts = [past_of((0, 5, 10, 10), US, 2 * US)] * 2
    assert grade(pasts) == (0, "2 earlier windows")


def test_at_the_end_of_its_window_a_budget_has_used_what_it_has_used():
    for rest_us in (0, -1):
        assert at_end(spent=10**13, reserved=1, elapsed_us=US, rest_us=rest_us) == 10**13 + 1


def test_what_would_last_beyond_every_calendar_never_runs_out():
    year_us = 365 * 86_400 * US
    spending = {"spent": 1, "elapsed_us": year_us, "now_us": 56 * year_us}
    assert runs_out_at(left=100, **spending) == 156 * year_us
    assert runs_out_at(left=8_000, **spending) is None
    # To the microsecond: no float holds all these digits.
    assert runs_out_at(left=3, spent=7, elapsed_us=10**16 + 1, now_us=1) == 4_285_714_285_714_287
    assert runs_out_at(left=0, **spending) is None


def test_windows_in_which_it_was_too_early_grade_nothing(ledger: Ledger, make: Callable[..., None]):
    ledger.budgets.set("month", usd("100"), window="month")
    make(9, datetime(2026, 2, 1, tzinfo=UTC))
    make(10, datetime(2026, 3, 1, tzinfo=UTC))
    make(10, APRIL)
    # Of ten in the first half 20 were forecast, and 10 were used.
    assert asked(ledger, HALF_OF_APRIL, "forecast_error", "graded_on") == [
        (Decimal(1), "1 earlier window")
    ]


def test_the_first_window_is_graded_on_its_own_days_once_they_allow_it(
    ledger: Ledger, make: Callable[..., None]
):
    ledger.budgets.set("month", usd("100"), window="month")
    make(10, APRIL)
    # After a tenth and a little its own past is shorter than what a forecast needs.
    assert asked(ledger, APRIL + 3 * DAY, "forecast", "graded_on") == [
        (Decimal(100), "not graded yet")
    ]
    # At the half it is cut after a quarter: 10 in 7.5 days make 20 in 15, and 10 there were.
    assert asked(ledger, HALF_OF_APRIL, "forecast_error", "graded_on") == [
        (Decimal(1), "this window so far")
    ]


def test_what_jobs_hold_counts_once_and_is_not_carried_on(
    ledger: Ledger, clock: Clock, make: Callable[..., None]
):
    ledger.budgets.set("month", usd("100"), window="month")
    make(10, APRIL)
    ledger.reserve("team", usd("5"))
    assert asked(ledger, HALF_OF_APRIL, "forecast") == [(Decimal(25),)]


# --- since when nothing is left ---------------------------------------------------------------


def test_a_budget_beyond_its_limit_says_since_when_and_not_when_it_will_be(
    ledger: Ledger, clock: Clock
):
    clock.now = APRIL
    ledger.budgets.set("month", usd("10"), window="month")
    first = ledger.reserve("team", usd("6"))
    clock.now = APRIL + DAY
    second = ledger.reserve("team", usd("4"))
    clock.now = APRIL + 2 * DAY
    # Nothing is left, then something is again, and at last more was charged than there was.
    ledger.commit(second.id, usd("1"))
    assert asked(ledger, APRIL + 3 * DAY, "left", "out_since") == [(Decimal(3), None)]
    clock.now = APRIL + 4 * DAY
    ledger.commit(first.id, usd("12"))
    assert asked(ledger, APRIL + 9 * DAY, "left", "out_since", "runs_out_at") == [
        (Decimal(-3), APRIL + 4 * DAY, None)
    ]
    clock.now = APRIL + 5 * DAY
    ledger.budgets.set("month", usd("20"), window="month")
    assert asked(ledger, APRIL + 9 * DAY, "left", "out_since") == [(Decimal(7), None)]
    clock.now = APRIL + 6 * DAY
    ledger.budgets.set("month", usd("13"), window="month")
    assert asked(ledger, APRIL + 9 * DAY, "left", "out_since") == [(Decimal(0), APRIL + 6 * DAY)]


def test_a_raise_that_ended_leaves_nothing_from_then_on(ledger: Ledger, clock: Clock):
    clock.now = APRIL
    ledger.budgets.set("month", usd("2"), window="month")
    until = APRIL + 3 * DAY
    ledger.budgets.raise_limit("month", usd("5"), until=until, reason="a retake")
    ledger.commit(ledger.reserve("team", usd("4")).id, usd("4"))
    now = until - timedelta(microseconds=1)
    assert asked(ledger, now, "left", "out_since") == [(Decimal(3), None)]
    assert asked(ledger, until, "left", "out_since") == [(Decimal(-2), until)]


def test_a_limit_of_nothing_is_out_since_the_window_began(ledger: Ledger, clock: Clock):
    clock.now = APRIL - DAY
    ledger.budgets.set("none", usd("0"), window="month")
    assert asked(ledger, APRIL + DAY, "left", "out_since") == [(Decimal(0), APRIL)]


def test_what_the_journal_cannot_tell_is_left_blank(ledger: Ledger, clock: Clock):
    ledger.wallets.create("crun", "crun-credit")
    ledger.wallets.fund("crun", money("1000 crun-credit"))
    clock.now = APRIL
    ledger.budgets.set("usd", usd("1"), window="month", mode="warn")
    one = ledger.reserve("crun", money("400 crun-credit"), job=Job(usd=usd("2")))
    ledger.commit(one.id, money("400 crun-credit"))
    assert asked(ledger, APRIL + DAY, "left", "out_since") == [(Decimal(-1), None)]


# --- who changed it last ----------------------------------------------------------------------


def test_the_last_change_of_a_budget_stands_beside_it(ledger: Ledger, clock: Clock):
    clock.now = APRIL
    ledger.budgets.set("film", usd("10"), window="month")
    ledger.budgets.set("ads", usd("10"), reason="the plan")
    clock.now = APRIL + DAY
    ledger.budgets.raise_limit("film", usd("5"), until=APRIL + 9 * DAY, reason="a retake")
    keys = ("budget", "change", "changed_at", "changed_by", "change_reason")
    until = "2026-04-10T00:00:00+00:00"
    assert asked(ledger, APRIL + 2 * DAY, *keys) == [
        ("ads", "set", APRIL, "ann", "the plan"),
        ("film", f"raise until {until}: 10 USD -> 15 USD", APRIL + DAY, "ann", "a retake"),
    ]


def test_without_a_past_no_forecast_is_graded():
    known = dict.fromkeys(BUDGET_KINDS) | {
        "budget": "month",
        "unit": "USD",
        "limit_micro": 200,
        "spent_micro": 10,
        "reserved_micro": 0,
        "jobs": 10,
        "begins_at": round(APRIL.timestamp()) * US,
        "ends_at": round((APRIL + 30 * DAY).timestamp()) * US,
    }
    table = budgets.budgets(frame_of([known], BUDGET_KINDS), HALF_OF_APRIL)
    assert rows(table, "forecast_error", "graded_on") == [(None, "not graded yet")]


def test_without_a_budget_nothing_is_said_of_forecasts(ledger: Ledger):
    assert budgets.report(ledger.database, query(now=APRIL)).notes == ()


def test_a_budget_is_not_out_before_it_was_set(ledger: Ledger, clock: Clock):
    clock.now = APRIL
    ledger.budgets.set("ever", usd("0"))
    assert asked(ledger, APRIL + DAY, "left", "out_since") == [(Decimal(0), APRIL)]


def test_a_terminal_of_any_width_leaves_the_workings_of_a_forecast_to_files(
    ledger: Ledger, clock: Clock
):
    clock.now = APRIL
    ledger.budgets.set("month", usd("10"), window="month")
    answered = budgets.report(ledger.database, query(now=APRIL))
    for width in (400, 20):
        told = terminal.render(answered, width=width)
        assert "Not shown: base limit, jobs, of limit, off by, graded on" in " ".join(told.split())
