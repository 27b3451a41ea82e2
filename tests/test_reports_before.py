"""Before: a period and the one before it, like with like, in any zone and at the ends of months."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kling_reports.before import Pair, pair
from kling_reports.report import EVER, Span

NOW = datetime(2026, 11, 26, 10, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def span(starts: str | None, ends: str | None) -> Span:
    return Span(*(None if one is None else at(f"{one}T00:00+00:00") for one in (starts, ends)))


def edges(found: Pair) -> tuple[str, ...]:
    """The two stretches that are compared, in UTC to the minute."""
    instants = (
        found.this.starts_at,
        found.this.ends_at,
        found.before.starts_at,
        found.before.ends_at,
    )
    return tuple("" if one is None else f"{one:%m-%d %H:%M}" for one in instants)


def test_the_running_month_is_compared_with_the_same_days_of_the_month_before():
    found = pair(EVER, now=NOW, zone="UTC")
    assert edges(found) == ("11-01 00:00", "11-26 10:00", "10-01 00:00", "10-26 10:00")
    assert found.is_running
    assert found.name == "November 2026 so far, 26 of 30 days"
    assert found.name_before == "the same days of October 2026"


def test_a_month_that_is_over_is_compared_whole():
    found = pair(span("2026-10-01", "2026-11-01"), now=NOW, zone="UTC")
    assert edges(found) == ("10-01 00:00", "11-01 00:00", "09-01 00:00", "10-01 00:00")
    assert not found.is_running
    assert (found.name, found.name_before) == ("October 2026", "September 2026")


def test_a_day_that_the_month_before_does_not_have_ends_with_that_month():
    found = pair(EVER, now=datetime(2026, 3, 31, 9, tzinfo=UTC), zone="UTC")
    assert edges(found) == ("03-01 00:00", "03-31 09:00", "02-01 00:00", "03-01 00:00")


def test_days_are_those_of_the_zone_whatever_its_clocks_did_in_between():
    # Berlin is at +1 in November and at +2 for most of October.
    found = pair(EVER, now=NOW, zone="Europe/Berlin")
    assert edges(found) == ("10-31 23:00", "11-26 10:00", "09-30 22:00", "10-26 10:00")
    early = pair(EVER, now=datetime(2026, 11, 20, 10, tzinfo=UTC), zone="Europe/Berlin")
    assert edges(early)[3] == "10-20 09:00"


def test_the_first_second_of_a_month_is_its_first_day():
    found = pair(EVER, now=datetime(2026, 11, 1, 0, 0, 1, tzinfo=UTC), zone="UTC")
    assert found.name == "November 2026 so far, 1 of 30 days"
    assert edges(found) == ("11-01 00:00", "11-01 00:00", "10-01 00:00", "10-01 00:00")


def test_months_from_a_beginning_run_to_the_end_of_the_running_one():
    found = pair(span("2026-09-01", None), now=NOW, zone="UTC")
    assert edges(found) == ("09-01 00:00", "11-26 10:00", "06-01 00:00", "08-26 10:00")
    assert found.name == "September to November 2026 so far, 87 of 91 days"
    assert found.name_before == "the same days of June to August 2026"


@pytest.mark.parametrize(
    ("starts", "ends", "expected", "name"),
    [
        (
            "2026-11-09",
            "2026-11-16",
            ("11-09 00:00", "11-16 00:00", "11-02 00:00", "11-09 00:00"),
            "9 Nov 2026 to 15 Nov 2026",
        ),
        (
            "2026-11-23",
            "2026-11-30",
            ("11-23 00:00", "11-26 10:00", "11-16 00:00", "11-19 10:00"),
            "23 Nov 2026 to 29 Nov 2026 so far, 4 of 7 days",
        ),
        (
            "2026-11-16",
            None,
            ("11-16 00:00", "11-26 10:00", "11-05 14:00", "11-16 00:00"),
            "16 Nov 2026 to 26 Nov 2026",
        ),
        (
            None,
            "2026-10-01",
            ("09-01 00:00", "10-01 00:00", "08-01 00:00", "09-01 00:00"),
            "September 2026",
        ),
    ],
)
def test_any_other_time_is_compared_with_as_long_a_time_before(
    starts: str | None, ends: str | None, expected: tuple[str, ...], name: str
):
    found = pair(span(starts, ends), now=NOW, zone="UTC")
    assert edges(found) == expected
    assert found.name == name
