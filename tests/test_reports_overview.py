"""The overview: the same figures as the questions that it is put together from."""

from __future__ import annotations

from pathlib import Path

from kling_reports import open as open_credits
from kling_reports import overview, spend, variance
from tests.reports_ledger import Made, ledger_of, query, totals

JOBS = [
    Made(usd=675_000),
    Made(minute=60 * 24 * 20, cost=700_000, provider="evolink"),
    Made(minute=60 * 24 * 20, wallet="crun", quoted=135_000_000, cost=135_000_000, provider="crun"),
    Made(minute=60 * 24 * 20, end="in_doubt"),
]


def test_each_part_has_the_totals_of_its_own_question(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger.sqlite"), JOBS) as ledger:
        database = ledger.database
        found = overview.report(database, query("project"))
        for name, key, report in (
            ("spend", "spent", spend.report(database, query("project"))),
            ("per_second", "per_second", spend.report(database, query("provider"))),
            ("variance", "variance", variance.report(database, query("provider"))),
            ("open", "reserved", open_credits.report(database, query())),
        ):
            expected = totals(report.main, "unit", key)
            assert expected
            assert totals(found.table(name), "unit", key) == expected
    assert [table.name for table in found.tables] == [
        "spend",
        "per_second",
        "budgets",
        "variance",
        "open",
    ]


def test_the_spending_is_stacked_by_what_was_asked_for_else_by_provider(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger.sqlite"), JOBS) as ledger:
        asked = overview.report(ledger.database, query("project:1")).main.picture
        plain = overview.report(ledger.database, query()).main.picture
    assert asked is not None
    assert plain is not None
    assert (asked.x, asked.series, plain.series) == ("month", "project:1", "provider")
