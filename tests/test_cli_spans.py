"""`--period`: one reader of a day, week, month, quarter or year, wherever a time is asked for."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from kling_ledger import Ledger
from kling_ledger.cli.spans import Period, read_month, read_period
from kling_ledger.errors import ConfigError
from tests.cli import Cli
from tests.ledgers import Clock, money

SATURDAY = date(2026, 11, 28)
NEW_YEAR = date(2026, 1, 1)


def days(first: str, end: str) -> Period:
    return Period(date.fromisoformat(first), date.fromisoformat(end))


@pytest.mark.parametrize(
    ("written", "first", "end"),
    [
        ("today", "2026-11-28", "2026-11-29"),
        ("yesterday", "2026-11-27", "2026-11-28"),
        ("last-1-day", "2026-11-28", "2026-11-29"),
        ("last-7-days", "2026-11-22", "2026-11-29"),
        ("this-week", "2026-11-23", "2026-11-30"),
        ("last-week", "2026-11-16", "2026-11-23"),
        ("this-month", "2026-11-01", "2026-12-01"),
        ("last-month", "2026-10-01", "2026-11-01"),
        ("last", "2026-10-01", "2026-11-01"),
        ("this-quarter", "2026-10-01", "2027-01-01"),
        ("last-quarter", "2026-07-01", "2026-10-01"),
        ("this-year", "2026-01-01", "2027-01-01"),
        ("last-year", "2025-01-01", "2026-01-01"),
        ("2026-11-21", "2026-11-21", "2026-11-22"),
        ("2024-02-29", "2024-02-29", "2024-03-01"),
        ("2026-W53", "2026-12-28", "2027-01-04"),
        ("2026-12", "2026-12-01", "2027-01-01"),
        ("2026-Q4", "2026-10-01", "2027-01-01"),
        ("2026q1", "2026-01-01", "2026-04-01"),
        ("2026", "2026-01-01", "2027-01-01"),
        (" Last Month ", "2026-10-01", "2026-11-01"),
        ("LAST_7_DAYS", "2026-11-22", "2026-11-29"),
    ],
)
def test_a_period_is_the_days_that_are_meant(written: str, first: str, end: str):
    assert read_period(written, SATURDAY) == days(first, end)


@pytest.mark.parametrize(
    ("written", "first", "end"),
    [
        ("yesterday", "2025-12-31", "2026-01-01"),
        ("last-month", "2025-12-01", "2026-01-01"),
        ("last-quarter", "2025-10-01", "2026-01-01"),
        ("this-week", "2025-12-29", "2026-01-05"),
    ],
)
def test_a_period_may_begin_in_the_year_before(written: str, first: str, end: str):
    assert read_period(written, NEW_YEAR) == days(first, end)


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("lst-month", "did you mean last-month"),
        ("yesterda", "did you mean yesterday?"),
        ("2026-13", "use one of today, "),
        ("2026-W54", "use one of today, "),
        ("2026-02-30", "use one of today, "),
        ("2026-Q5", "use one of today, "),
        ("last-0-days", "did you mean last-7-days"),
        ("this", "did you mean"),
        ("", "use one of today, "),
        ("a" * 5000, "use one of today, "),
    ],
)
def test_what_is_no_period_is_refused_with_what_may_be_meant(written: str, hint: str):
    with pytest.raises(ConfigError, match="not a period") as caught:
        read_period(written, SATURDAY)
    assert (caught.value.hint or "").startswith(hint)


def test_a_month_of_the_journal_is_one_in_utc():
    late = datetime.fromisoformat("2026-11-30T23:30-01:00")
    assert [read_month(word, late) for word in ("this-month", "last", "2026-05")] == [
        *("2026-12", "2026-11", "2026-05")
    ]
    with pytest.raises(ConfigError, match="not a month: 2026-Q4"):
        read_month("2026-Q4", late)


REPORTS = ("overview", "spend", "limits", "variance", "open", "statement", "failures")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A ledger with a job of this moment and one of forty days ago."""
    cli = Cli(tmp_path)
    clock = Clock(datetime.now(UTC) - timedelta(days=40))
    with Ledger(str(cli.database), clock=clock) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", money("5 USD"))
        for name, days_on in (("old", 0), ("new", 40)):
            clock.forward(days=days_on)
            made = ledger.reserve("team", money("1 USD"), project=name)
            ledger.commit(made.id, money("1 USD"))
    return cli


@pytest.mark.parametrize("name", [*REPORTS, "reconciliation"])
def test_every_report_about_a_time_takes_a_period(cli: Cli, name: str):
    told = cli.json("report", name, "--period", "last-7-days")
    today = datetime.now(UTC).date()
    first, end = today - timedelta(days=6), today + timedelta(days=1)
    assert (told["from"][:10], told["to"][:10]) == (str(first), str(end))
    both = cli("report", name, "--period", "today", "--from", "2026-10")
    assert both.code == 2
    assert "give one or the other" in both.err
    wrong = cli("report", name, "--period", "lastmonth")
    assert (wrong.code, "did you mean last-month" in wrong.err) == (2, True)


def test_days_of_a_period_begin_where_days_begin(cli: Cli):
    words = ("report", "spend", "--period", "2026-03", "--timezone", "Europe/Berlin")
    told = cli.json(*words)
    at = [datetime.fromisoformat(told[end]).isoformat() for end in ("from", "to")]
    assert at == ["2026-02-28T23:00:00+00:00", "2026-03-31T22:00:00+00:00"]


@pytest.mark.parametrize("words", [("statement",), ("spend", "--basis", "posted")])
def test_a_month_of_what_was_posted_is_the_journals_own(cli: Cli, words: tuple[str, ...]):
    now = datetime.now(UTC)
    assert cli.json("report", *words, "--period", "this-month")["period"] == f"{now:%Y-%m}"
    assert cli.json("report", *words, "--period", "last-7-days")["period"] is None


@pytest.mark.parametrize(
    "words",
    [
        ("report", "purchases", "--period"),
        ("report", "accruals", "--period"),
        ("report", "focus", "--period"),
        ("report", "beancount", "--through"),
        ("close",),
    ],
)
def test_what_is_about_a_month_takes_its_name_and_nothing_longer(cli: Cli, words: tuple[str, ...]):
    assert cli(*words, "last-month").code == 0
    refused = cli(*words, "2026-Q3")
    assert refused.code == 2
    assert re.search("not a month: 2026-Q3", refused.err)


def test_a_list_of_reservations_takes_a_period(cli: Cli):
    assert [one["project"] for one in cli.json("reservation", "list", "--period", "today")] == [
        "new"
    ]
    assert len(cli.json("reservation", "list", "--period", "last-60-days")) == 2
    refused = cli("reservation", "list", "--period", "today", "--from", "2026-10-01")
    assert (refused.code, "--period replaces --since and --until" in refused.err) == (2, True)


def test_a_comparison_takes_a_period(cli: Cli):
    words = ("reconcile", "--provider", "crun", "--api-key", "k", "--no-balance")
    assert cli(*words, "--period", "last-month").code == 0
    refused = cli(*words, "--period", "last-moon")
    assert (refused.code, "did you mean last-month" in refused.err) == (2, True)
