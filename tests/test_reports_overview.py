"""The overview: the same figures as the questions behind it, the two periods, and the tops."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.ledger.scopes import Scope
from kling_pricing.money import Money
from kling_reports import open as open_credits
from kling_reports import overview, spend, variance
from kling_reports.render import html
from kling_reports.report import Report, Span
from tests.reports_ledger import START, Made, ledger_of, query, rows, totals

DAY = 60 * 24
NOW = START + timedelta(days=41)
"""30 April, noon: the jobs begin on 20 March, noon."""

JOBS = [
    Made(usd=675_000),
    Made(minute=DAY * 20, cost=700_000, provider="evolink"),
    Made(minute=DAY * 20, wallet="crun", quoted=135_000_000, cost=135_000_000, provider="crun"),
    Made(minute=DAY * 20, end="in_doubt"),
]


def answered(url: str, jobs: Sequence[Made], now: datetime = NOW, **asked: Any) -> Report:
    with ledger_of(url, jobs) as ledger:
        return overview.report(ledger.database, query(now=now, **asked))


def test_each_part_has_the_totals_of_its_own_question(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger.sqlite"), JOBS) as ledger:
        database = ledger.database
        found = overview.report(database, query("project", now=NOW))
        asked = query("project", now=NOW, currency="USD")
        for name, key, report in (
            ("spend", "spent", spend.report(database, asked)),
            ("variance", "variance", variance.report(database, query("provider"))),
            ("open", "reserved", open_credits.report(database, asked)),
        ):
            expected = totals(report.main, "unit", key)
            assert expected
            assert totals(found.table(name), "unit", key) == expected
    assert [table.name for table in found.tables] == [
        "spend",
        "findings",
        "comparison",
        "daily",
        "budgets",
        "projects",
        "users",
        "models",
        "providers",
        "basis",
        "per_second",
        "project_models",
        "days",
        "variance",
        "open",
        "jobs",
    ]


def test_the_spending_is_stacked_by_what_was_asked_for_else_by_provider(tmp_path: Path):
    asked = answered(str(tmp_path / "one"), JOBS).main.picture
    with ledger_of(str(tmp_path / "ledger.sqlite"), JOBS) as ledger:
        by_project = overview.report(ledger.database, query("project:1")).main.picture
    assert asked is not None
    assert by_project is not None
    assert (by_project.x, by_project.series, asked.series) == ("month", "project:1", "provider")


MONTHS = [
    # From 1 March, noon, on.
    Made(minute=-19 * DAY, cost=1_000_000, quoted=1_000_000),
    Made(minute=10 * DAY - 1, cost=2_000_000, quoted=2_000_000),
    Made(minute=10 * DAY, cost=4_000_000, quoted=4_000_000),
    Made(minute=20 * DAY, cost=3_000_000, quoted=3_000_000, project="ads"),
    Made(minute=21 * DAY, end="rolled_back", project=None),
]


def test_the_running_month_is_compared_with_the_same_days_alone(database_url: str):
    found = answered(database_url, MONTHS)
    # March until the 30th, noon: 1, and 2 a minute before; the 4 at noon is no longer among them.
    keys = ("unit", "spent", "spent_before", "spent_change", "clips", "clips_before", "failed")
    assert rows(found.table("comparison"), *keys) == [
        ("USD", Decimal(3), Decimal(3), Decimal(0), 1, 2, 1)
    ]
    assert found.table("comparison").title == (
        "April 2026 so far, 30 of 30 days, beside the same days of March 2026"
    )
    assert any("is compared with the same days of March 2026 alone" in one for one in found.notes)


def test_a_month_that_is_over_is_compared_whole(database_url: str):
    now = datetime(2026, 5, 2, tzinfo=UTC)
    span = Span(datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))
    found = answered(database_url, MONTHS, now, span=span)
    # 3 after 7: 4 less, which is 57.142857 % of 7.
    assert rows(found.table("comparison"), "spent", "spent_before", "spent_change") == [
        (Decimal(3), Decimal(7), Decimal("-0.571429"))
    ]
    assert rows(found.table("comparison"), "failed_share", "failed_share_before") == [
        (Decimal("0.5"), Decimal(0))
    ]


def test_where_the_ledger_began_later_nothing_is_compared(database_url: str):
    found = answered(database_url, MONTHS[1:])
    assert rows(found.table("comparison"), "spent", "spent_before", "spent_change") == [
        (Decimal(3), None, None)
    ]
    assert rows(found.table("projects"), "before")[0] == (None,)
    assert any("does not cover all of the same days of March 2026" in one for one in found.notes)


def test_each_day_lies_beside_the_same_day_of_the_month_before(database_url: str):
    table = answered(database_url, MONTHS).table("daily")
    told = {row[0].day: row[1:] for row in rows(table, "day", "spent", "before")}
    assert len(told) == 30
    assert told[30] == (None, Decimal(6))
    assert told[9] == (Decimal(3), None)
    assert told[1] == (None, Decimal(1))


MANY = [
    Made(minute=20 * DAY + at, project=f"p{at:02}", cost=at * 1_000_000, quoted=at * 1_000_000)
    for at in range(1, 15)
]


def test_the_ten_largest_have_rows_and_the_rest_is_one_that_adds_up(tmp_path: Path):
    table = answered(str(tmp_path / "l"), MANY).table("projects")
    told = rows(table, "project", "spent", "share", "clips")
    assert [name for name, *_ in told] == [
        *(f"p{at:02}" for at in range(14, 4, -1)),
        "(4 others)",
    ]
    # 1 + 2 + 3 + 4 of 105.
    assert told[-1][1:] == (Decimal(10), Decimal("0.095238"), 4)
    assert sum(row[1] for row in told) == Decimal(105)
    assert totals(table, "unit", "spent", "clips") == [("USD", Decimal(105), 14)]


def test_eleven_have_rows_of_their_own(tmp_path: Path):
    table = answered(str(tmp_path / "l"), MANY[:11]).table("projects")
    assert len(rows(table, "project")) == 11


def test_units_without_a_rate_stay_apart_and_it_is_said(tmp_path: Path):
    found = answered(str(tmp_path / "l"), JOBS)
    assert rows(found.table("comparison"), "unit", "spent") == [
        ("USD", Decimal("0.7")),
        ("crun-credit", Decimal(135)),
    ]
    assert any("1 job of the period has no known rate" in one for one in found.notes)
    assert found.currency == "USD"


def runaway() -> list[Made]:
    """One job a day for ten days of April, and twelve on one more."""
    usual = [Made(minute=(13 + at) * DAY) for at in range(10)]
    return [Made(minute=-19 * DAY), *usual, *[Made(minute=28 * DAY + at) for at in range(12)]]


OVER = "Budget film has been over its limit since 17 Apr: 15.53 USD used of 10.00 USD (155 %)."
UNUSUAL = "12 jobs of film/teaser by ann on 17 Apr cost 8.10 USD, 12 times a usual day (0.68 USD)."


def test_findings_lead_to_the_rows_that_prove_them(database_url: str):
    with ledger_of(database_url, runaway()) as ledger:
        ledger.budgets.set("spare", Money.parse("9 USD"), scope=Scope(project="nobody"))
        ledger.budgets.set("film", Money.parse("10 USD"), scope=Scope(project="film/"))
        found = overview.report(ledger.database, query(now=NOW))
    # 23 jobs of 0.675; the fifteenth passes 10 USD, which is the fourth of the twelve.
    assert rows(found.table("findings"), "rule", "finding", "amount", "table", "row") == [
        (
            "over budget",
            OVER,
            Decimal("5.525"),
            "budgets",
            1,
        ),
        (
            "unusual day",
            UNUSUAL,
            Decimal("8.1"),
            "days",
            1,
        ),
    ]
    assert rows(found.table("days"), "jobs", "cost", "usual", "of_usual")[0] == (
        12,
        Decimal("8.1"),
        Decimal("0.675"),
        Decimal(12),
    )


def test_an_empty_ledger_has_an_overview(database_url: str):
    found = answered(database_url, [])
    assert all(table.frame.empty for table in found.tables if table.name != "daily")
    assert b"Nothing unusual" in html.render(found)


def test_where_nothing_is_unusual_it_says_so(tmp_path: Path):
    table = answered(str(tmp_path / "l"), [Made(minute=20 * DAY)]).table("findings")
    assert rows(table, "finding") == []
    assert table.empty.startswith("Nothing unusual")


def test_the_latest_jobs_come_first_in_the_currency_of_the_page(tmp_path: Path):
    jobs = [
        Made(minute=20 * DAY, project="old"),
        Made(minute=21 * DAY, wallet="crun", quoted=10**8, cost=10**8, usd=500_000),
        Made(minute=22 * DAY, end="in_doubt", project=None),
    ]
    table = answered(str(tmp_path / "l"), jobs).table("jobs")
    assert rows(table, "project", "unit", "spent", "reserved") == [
        (None, "USD", Decimal(0), Decimal("0.675")),
        ("film/teaser", "USD", Decimal("0.5"), Decimal(0)),
        ("old", "USD", Decimal("0.675"), Decimal(0)),
    ]


@pytest.mark.parametrize("where", [["project=film/"], ["model=kling-3.0", "provider=evolink"]])
def test_conditions_hold_in_every_part(tmp_path: Path, where: list[str]):
    found = answered(
        str(tmp_path / "l"), [*JOBS, Made(minute=20 * DAY, project="ads")], where=where
    )
    for name in ("projects", "project_models", "days", "jobs"):
        assert {row[0] for row in rows(found.table(name), "project")} == {"film/teaser"}
