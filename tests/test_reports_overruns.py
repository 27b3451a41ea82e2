"""Overruns: since when a budget is over its limit, and what is said in place of a run-out."""

from __future__ import annotations

from datetime import timedelta

from kling_ledger.ledger.scopes import Scope
from kling_pricing.money import Money
from kling_reports import budgets
from tests.reports_ledger import START, Made, ledger_of, query, rows

NOW = START + timedelta(days=2)
JOBS = [Made(minute=60 * at) for at in range(4)]
"""Four jobs of 0.675 USD, one an hour."""


def test_a_budget_is_over_since_the_job_that_passed_its_limit(database_url: str):
    with ledger_of(database_url, JOBS) as ledger:
        for name, limit in (("exact", "1.35 USD"), ("less", "1.349999 USD"), ("all", "2.7 USD")):
            ledger.budgets.set(name, Money.parse(limit))
        ledger.budgets.set("other", Money.parse("0.1 USD"), scope=Scope(project="nobody"))
        table = budgets.report(ledger.database, query(now=NOW)).main
    # 1.35 is passed by the third job; a millionth less by the second; 2.7 is used up exactly.
    assert rows(table, "budget", "over_since_at", "runs_out_at") == [
        ("all", None, NOW),
        ("exact", START + timedelta(hours=2), None),
        ("less", START + timedelta(hours=1), None),
        ("other", None, None),
    ]


def test_only_what_the_window_and_the_scope_cover_counts(database_url: str):
    jobs = [
        Made(project="film/teaser"),
        Made(minute=60 * 24 * 20, project="ads"),
        Made(minute=60 * 24 * 21, project="film/teaser"),
        Made(minute=60 * 24 * 22, project="film/spot", end="in_doubt"),
    ]
    now = START + timedelta(days=25)
    with ledger_of(database_url, jobs) as ledger:
        scope = Scope(project="film/")
        ledger.budgets.set("film", Money.parse("1 USD"), scope=scope, window="month")
        ledger.budgets.set("crun", Money.parse("1 crun-credit"), scope=scope, window="month")
        table = budgets.report(ledger.database, query(now=now)).main
    # April: 0.675 on the 10th, 0.675 more set aside on the 11th. March does not count.
    assert rows(table, "budget", "over_since_at") == [
        ("crun", None),
        ("film", START + timedelta(days=22)),
    ]


def test_a_limit_of_nothing_never_runs_out(database_url: str):
    with ledger_of(database_url, JOBS) as ledger:
        ledger.budgets.set("none", Money.parse("0 USD"), scope=Scope(project="nobody"))
        ledger.budgets.set("late", Money.parse("0 USD"))
        table = budgets.report(ledger.database, query(now=NOW)).main
    assert rows(table, "budget", "over_since_at", "runs_out_at") == [
        ("late", START, None),
        ("none", None, None),
    ]
