"""Windows: they begin where people expect it, whatever the clocks do, and leave nothing out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_ledger.errors import ConfigError
from kling_ledger.ledger.ids import from_us, to_us
from kling_ledger.ledger.windows import FOREVER_US, REPEATS, read_zone, window_at

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
REPEATING = [repeats for repeats in REPEATS if repeats != "none"]
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/Havana",
    "Africa/Cairo",
    "Asia/Beirut",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Australia/Lord_Howe",
    "America/Nuuk",
    "Africa/Casablanca",
)


def utc(written: str) -> int:
    """An instant in UTC, in microseconds."""
    return to_us(datetime.fromisoformat(written).replace(tzinfo=UTC))


def window(repeats: str, zone: str, at: str) -> tuple[str, str]:
    """The window that holds an instant in UTC, written in UTC too."""
    start, end = window_at(repeats, zone, utc(at))
    return f"{from_us(start):%Y-%m-%d %H:%M}", f"{from_us(end):%Y-%m-%d %H:%M}"


def hours(repeats: str, zone: str, at: str) -> float:
    start, end = window_at(repeats, zone, utc(at))
    return (end - start) / HOUR_US


@pytest.mark.parametrize(
    ("repeats", "start", "end"),
    [
        ("hour", "2026-03-18 12:00", "2026-03-18 13:00"),
        ("day", "2026-03-18 00:00", "2026-03-19 00:00"),
        ("week", "2026-03-16 00:00", "2026-03-23 00:00"),
        ("month", "2026-03-01 00:00", "2026-04-01 00:00"),
    ],
)
def test_a_window_begins_at_its_hour_day_monday_or_first(repeats, start, end):
    assert window(repeats, "UTC", "2026-03-18 12:34:56") == (start, end)


def test_a_window_that_never_repeats_never_ends():
    assert window_at("none", "UTC", utc("2026-03-18")) == (-FOREVER_US, FOREVER_US)
    assert window_at("none", "Europe/Berlin", 0) == (-FOREVER_US, FOREVER_US)


@pytest.mark.parametrize("repeats", REPEATING)
def test_a_window_holds_its_start_and_its_end_is_the_next_ones_start(repeats):
    start, end = window_at(repeats, "Europe/Berlin", utc("2026-03-18 12:34:56"))
    assert window_at(repeats, "Europe/Berlin", start) == (start, end)
    assert window_at(repeats, "Europe/Berlin", end - 1) == (start, end)
    assert window_at(repeats, "Europe/Berlin", end)[0] == end
    assert window_at(repeats, "Europe/Berlin", start - 1)[1] == start


@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        ("2026-01-31 23:59", "2026-01-01 00:00", "2026-02-01 00:00"),
        ("2026-02-28 23:59", "2026-02-01 00:00", "2026-03-01 00:00"),
        ("2028-02-29 12:00", "2028-02-01 00:00", "2028-03-01 00:00"),
        ("2100-02-28 23:59", "2100-02-01 00:00", "2100-03-01 00:00"),
        ("2026-04-30 23:59", "2026-04-01 00:00", "2026-05-01 00:00"),
        ("2026-12-31 23:59", "2026-12-01 00:00", "2027-01-01 00:00"),
    ],
)
def test_a_month_is_as_long_as_the_calendar_says(at, start, end):
    assert window("month", "UTC", at) == (start, end)


def test_a_leap_day_is_a_day():
    assert window("day", "UTC", "2028-02-29 12:00") == ("2028-02-29 00:00", "2028-03-01 00:00")
    assert window("day", "UTC", "2028-02-28 12:00")[1] == "2028-02-29 00:00"


def test_a_week_may_reach_from_one_year_into_the_next():
    assert window("week", "UTC", "2027-01-01 12:00") == ("2026-12-28 00:00", "2027-01-04 00:00")


@pytest.mark.parametrize(
    ("zone", "day", "start", "length"),
    [
        ("Europe/Berlin", "2026-03-29 12:00", "2026-03-28 23:00", 23),
        ("Europe/Berlin", "2026-10-25 12:00", "2026-10-24 22:00", 25),
        ("Europe/Berlin", "2026-03-18 12:00", "2026-03-17 23:00", 24),
        ("America/New_York", "2026-03-08 17:00", "2026-03-08 05:00", 23),
        ("America/New_York", "2026-11-01 17:00", "2026-11-01 04:00", 25),
        ("Asia/Kolkata", "2026-03-29 12:00", "2026-03-28 18:30", 24),
        ("Asia/Kathmandu", "2026-03-29 12:00", "2026-03-28 18:15", 24),
        ("Australia/Lord_Howe", "2026-04-04 18:00", "2026-04-04 13:00", 24.5),
        ("Australia/Lord_Howe", "2026-10-04 00:00", "2026-10-03 13:30", 23.5),
        # Midnight is skipped: the clocks go from 00:00 to 01:00.
        ("America/Havana", "2026-03-08 17:00", "2026-03-08 05:00", 23),
        ("Asia/Beirut", "2026-03-29 12:00", "2026-03-28 22:00", 23),
        # Midnight comes twice: from 01:00 they go back to 00:00.
        ("America/Havana", "2026-11-01 17:00", "2026-11-01 04:00", 25),
        # They go back from midnight to 23:00: the day that ends is longer.
        ("Asia/Beirut", "2026-10-24 12:00", "2026-10-23 21:00", 25),
    ],
)
def test_a_day_is_as_long_as_the_zone_makes_it(zone, day, start, length):
    assert window("day", zone, day)[0] == start
    assert hours("day", zone, day) == length


def test_a_day_that_a_zone_left_out_has_no_window():
    before = window("day", "Pacific/Apia", "2011-12-30 09:59")
    after = window("day", "Pacific/Apia", "2011-12-30 10:00")
    assert before == ("2011-12-29 10:00", "2011-12-30 10:00")
    assert after == ("2011-12-30 10:00", "2011-12-31 10:00")


@pytest.mark.parametrize(("at", "length"), [("2026-03-15 12:00", 743), ("2026-10-15 12:00", 745)])
def test_a_month_in_which_the_clocks_change_is_an_hour_shorter_or_longer(at, length):
    assert hours("month", "Europe/Berlin", at) == length


@pytest.mark.parametrize(("at", "length"), [("2026-03-25 12:00", 167), ("2026-10-21 12:00", 169)])
def test_a_week_in_which_the_clocks_change_is_an_hour_shorter_or_longer(at, length):
    assert hours("week", "Europe/Berlin", at) == length


def test_the_hour_that_comes_twice_is_two_windows():
    first = window("hour", "Europe/Berlin", "2026-10-25 00:30")
    second = window("hour", "Europe/Berlin", "2026-10-25 01:30")
    assert first == ("2026-10-25 00:00", "2026-10-25 01:00")
    assert second == ("2026-10-25 01:00", "2026-10-25 02:00")


def test_the_hour_that_is_skipped_is_no_window():
    assert window("hour", "Europe/Berlin", "2026-03-29 00:59")[1] == "2026-03-29 01:00"
    assert window("hour", "Europe/Berlin", "2026-03-29 01:00")[0] == "2026-03-29 01:00"


def test_an_hour_begins_at_the_zones_own_hour():
    assert window("hour", "Asia/Kolkata", "2026-03-18 12:00") == (
        "2026-03-18 11:30",
        "2026-03-18 12:30",
    )


@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        # The clocks go back by half an hour at 15:00 UTC: the hours go on as they were counted.
        ("2026-04-04 14:59", "2026-04-04 14:00", "2026-04-04 15:00"),
        ("2026-04-04 15:00", "2026-04-04 15:00", "2026-04-04 16:00"),
        ("2026-04-04 15:29", "2026-04-04 15:00", "2026-04-04 16:00"),
        # That day has 24 hours and a half: its last window is cut where the next day begins.
        ("2026-04-05 12:59", "2026-04-05 12:00", "2026-04-05 13:00"),
        ("2026-04-05 13:00", "2026-04-05 13:00", "2026-04-05 13:30"),
        ("2026-04-05 13:29", "2026-04-05 13:00", "2026-04-05 13:30"),
        ("2026-04-05 13:30", "2026-04-05 13:30", "2026-04-05 14:30"),
        # They go forward by half an hour at 15:30 UTC: that day has 23 hours and a half.
        ("2026-10-03 15:29", "2026-10-03 14:30", "2026-10-03 15:30"),
        ("2026-10-03 15:30", "2026-10-03 15:30", "2026-10-03 16:30"),
        ("2026-10-04 12:59", "2026-10-04 12:30", "2026-10-04 13:00"),
        ("2026-10-04 13:00", "2026-10-04 13:00", "2026-10-04 14:00"),
    ],
)
def test_an_hour_is_cut_at_midnight_where_the_clocks_change_by_half_an_hour(at, start, end):
    assert window("hour", "Australia/Lord_Howe", at) == (start, end)


INSTANTS = st.integers(utc("2012-01-01"), utc("2099-12-31"))


@given(st.sampled_from(REPEATING), st.sampled_from(ZONES), INSTANTS)
@settings(max_examples=400)
def test_every_instant_lies_in_exactly_one_window_and_they_follow_one_another(repeats, zone, at):
    start, end = window_at(repeats, zone, at)
    assert start <= at < end
    assert window_at(repeats, zone, start) == (start, end)
    assert window_at(repeats, zone, end - 1) == (start, end)
    assert window_at(repeats, zone, end)[0] == end
    assert window_at(repeats, zone, start - 1)[1] == start


@given(st.sampled_from(sorted(available_timezones())), INSTANTS)
@settings(max_examples=200)
def test_windows_hold_their_instant_in_every_zone_there_is(zone, at):
    for repeats in REPEATING:
        start, end = window_at(repeats, zone, at)
        assert start <= at < end


@given(st.sampled_from(ZONES), INSTANTS)
@settings(max_examples=200)
def test_a_day_begins_on_its_date_and_ends_on_a_later_one(zone, at):
    start, end = (from_us(us).astimezone(ZoneInfo(zone)) for us in window_at("day", zone, at))
    assert start.date() == from_us(at).astimezone(ZoneInfo(zone)).date()
    assert end.date() > start.date()
    assert end - start <= timedelta(hours=26)


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Apia"])
@pytest.mark.parametrize("repeats", REPEATING)
def test_a_years_windows_tile_it(repeats, zone):
    at, end = utc("2026-01-01"), utc("2027-01-01") if repeats != "hour" else utc("2026-01-15")
    at = window_at(repeats, zone, at)[0]
    while at < end:
        start, after = window_at(repeats, zone, at)
        assert start == at < after
        at = after


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "/etc/passwd", "a\0b", "Eu"])
def test_an_unknown_zone_is_refused(name):
    with pytest.raises(ConfigError, match="no such time zone"):
        read_zone(name)


def test_a_known_zone_is_read():
    assert read_zone("Europe/Berlin").key == "Europe/Berlin"
