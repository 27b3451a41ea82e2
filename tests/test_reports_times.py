"""Stretches of time: every job counts in the day, week and month that its zone's calendar has."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from kling_ledger.ledger import Ledger
from kling_ledger.ledger.ids import to_us
from kling_reports import spend, variance
from kling_reports.doors.times import posted_within, starts
from kling_reports.report import Span
from tests.ledgers import Chance, Clock, usd
from tests.reports_ledger import query, rows

MOMENT = timedelta(microseconds=1)
FIRSTS = [datetime(2026, month, 1, 12, tzinfo=UTC) for month in range(1, 6)]
EDGES = {
    "a year with a leap day begins": "UTC 2024-01-01",
    "a leap day begins": "UTC 2024-02-29",
    "a leap day is over": "UTC 2024-03-01",
    "a February of 28 days is over": "UTC 2026-03-01",
    "a year ends": "Europe/Berlin 2026-01-01",
    "a week ends with a year": "UTC 2024-01-01",
    "a week goes over the end of a year": "Asia/Kolkata 2025-12-29",
    "the clocks go forward": "Europe/Berlin 2026-03-29",
    "they have gone forward": "Europe/Berlin 2026-03-30",
    "they go back": "America/New_York 2026-11-01",
    "they have gone back": "America/New_York 2026-11-02",
    "they go back by half an hour": "Australia/Lord_Howe 2026-04-06",
    "they go forward by half an hour": "Australia/Lord_Howe 2026-10-05",
    "midnight is left out": "Asia/Beirut 2022-03-27",
    "a whole day is left out": "Pacific/Apia 2011-12-31",
}
"""Midnights of zones, each the beginning of a day, and some of a week or a month."""
ZONES = sorted({edge.split()[0] for edge in EDGES.values()} | {"Asia/Kolkata", "America/Santiago"})


def stretch(bucket: str, day: date) -> date:
    """The first day of the stretch that a day lies in, by the calendar alone."""
    if bucket == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if bucket == "month" else day


@contextmanager
def clips_at(url: str, instants: Sequence[datetime]) -> Iterator[Ledger]:
    """A ledger with one clip at each instant."""
    clock = Clock(min(instants))
    with Ledger(url, clock=clock, chance=Chance()) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("1000"))
        for clock.now in sorted(instants):
            ledger.commit(ledger.reserve("team", usd("1")).id, usd("1"))
        yield ledger


def counted(ledger: Ledger, bucket: str, zone: str) -> dict[date, int]:
    """How many clips the reports have in each stretch."""
    asked = query(bucket, zone=zone)
    spent, compared = (
        dict(rows(module.report(ledger.database, asked).main, bucket, "clips"))
        for module in (spend, variance)
    )
    assert spent == compared
    return spent


def test_clips_on_the_first_of_five_months_are_one_in_each(url: str):
    with clips_at(url, FIRSTS) as ledger:
        found = counted(ledger, "month", "UTC")
    assert found == {date(2026, month, 1): 1 for month in range(1, 6)}


def test_a_clip_a_moment_before_midnight_is_of_the_day_before(tmp_path: Path):
    instants = [moment for edge in EDGES.values() for moment in around(edge)]
    with clips_at(str(tmp_path / "ledger"), instants) as ledger:
        for zone, bucket in product(ZONES, ("day", "week", "month")):
            days = [at.astimezone(ZoneInfo(zone)).date() for at in instants]
            expected = Counter(stretch(bucket, day) for day in days)
            assert counted(ledger, bucket, zone) == expected, (zone, bucket)


def test_a_transfer_is_in_a_span_from_its_first_instant_up_to_its_end(url: str):
    begin, end = FIRSTS[0], FIRSTS[1]
    instants = [begin - MOMENT, begin, begin + MOMENT, end - MOMENT, end, end + MOMENT]
    with clips_at(url, instants) as ledger, ledger.database.read() as transaction:
        for starts_at, ends_at in product((None, begin), (None, end)):
            condition = posted_within(Span(starts_at, ends_at), "moved")
            found = transaction.rows(
                "SELECT moved.created_at AS at FROM transfer AS moved"
                f" WHERE moved.kind = 'commit' AND {condition} ORDER BY moved.id"
            )
            assert [row["at"] for row in found] == [
                to_us(at)
                for at in instants
                if (starts_at or at) <= at and (ends_at is None or at < ends_at)
            ]


def test_the_midnights_of_these_tests_are_midnights():
    for edge in EDGES.values():
        zone, day = edge.split()
        before, at = (moment.astimezone(ZoneInfo(zone)).date() for moment in around(edge))
        assert before < at == date.fromisoformat(day)


def around(edge: str) -> tuple[datetime, datetime]:
    """A moment before the beginning of a day in a zone, and that beginning itself."""
    zone, day = edge.split()
    at = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return at - MOMENT, at


@given(
    first=st.datetimes(datetime(2011, 12, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    hours=st.integers(0, 24 * 430),
    zone=st.sampled_from(ZONES),
    bucket=st.sampled_from(["day", "week", "month"]),
)
def test_every_instant_lies_in_the_stretch_that_the_calendar_says(
    first: datetime, hours: int, zone: str, bucket: str
):
    last = first + timedelta(hours=hours)
    begins = list(starts(bucket, zone, first_us=to_us(first), last_us=to_us(last)))
    assert begins == sorted(set(begins))
    assert begins[0] <= to_us(first)
    for part in range(11):
        at = first + (last - first) * part / 10
        begin = begins[bisect_right(begins, to_us(at)) - 1]
        expected = stretch(bucket, at.astimezone(ZoneInfo(zone)).date())
        begun = datetime.fromtimestamp(begin / 10**6, ZoneInfo(zone)).date()
        assert begun == expected
