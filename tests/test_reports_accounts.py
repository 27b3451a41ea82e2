"""Accounts in reports: whose key a job ran on is a word as the provider is."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from kling_ledger.cli.report import report
from kling_ledger.ledger import Job, Ledger, ProviderRecord
from kling_reports import failures, overview, reconciliation, spend, variance
from tests.ledgers import usd
from tests.reports_ledger import query, rows


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    """Jobs at two accounts of a provider, and one from before accounts were known."""
    with Ledger(empty_url) as made:
        made.wallets.create("team", "USD")
        made.wallets.fund("team", usd("100"))
        records = []
        for account, cost in (("north", "1"), ("south", "2"), ("south", "3"), (None, "4")):
            job = Job(provider="crun", account=account)
            one = made.reserve("team", usd(cost), job=job).id
            made.commit(one, usd(cost), settled_by="provider")
            records.append(record(account or "", one, cost))
        south = made.reserve("team", usd("5"), job=Job(provider="crun", account="south")).id
        made.roll_back(south, "cancelled")
        made.refund(one, usd("0.5"), reason="bad")
        made.evidence.keep_records(records)
        yield made


def record(account: str, reservation_id: str, cost: str) -> ProviderRecord:
    """What a bill of an account said: a tenth more than we charged."""
    return ProviderRecord(
        provider="crun",
        account=account,
        task_id=f"task-{cost}",
        reservation_id=reservation_id,
        verdict="amount_differs",
        state=None,
        billed=usd(f"{cost}.1"),
        source="bill.csv",
    )


def test_spending_is_added_up_by_account(ledger: Ledger):
    table = spend.report(ledger.database, query("provider", "account")).main
    assert rows(table, "provider", "account", "clips", "failed", "spent") == [
        ("crun", "north", 1, 0, Decimal(1)),
        ("crun", "south", 2, 1, Decimal(5)),
        ("crun", None, 1, 0, Decimal("3.5")),
    ]


@pytest.mark.parametrize("module", [variance, failures, overview])
def test_every_question_with_groups_knows_accounts(ledger: Ledger, module):
    assert "account" in [
        column.key for column in module.report(ledger.database, query("account")).main.columns
    ]


def test_a_condition_keeps_the_jobs_of_one_account(ledger: Ledger):
    south = spend.report(ledger.database, query(where=["account=south"])).main
    assert rows(south, "spent") == [(Decimal(5),)]
    unknown = spend.report(ledger.database, query(where=["account=-"])).main
    assert rows(unknown, "spent") == [(Decimal("3.5"),)]


def test_reconciliation_is_of_one_account_where_it_is_asked_for(ledger: Ledger):
    told = reconciliation.report(ledger.database, query(where=["account=north"]))
    assert rows(told.main, "basis", "spent") == [("provider", Decimal(1))]
    assert rows(told.table("corrections"), "kind") == []
    assert rows(told.table("compared"), "tasks", "billed") == [(1, Decimal("1.1"))]
    every = reconciliation.report(ledger.database, query())
    assert rows(every.table("corrections"), "kind") == [("refund",)]
    assert rows(every.table("differences"), "account", "task_id") == [
        (None, "task-4"),
        ("north", "task-1"),
        ("south", "task-2"),
        ("south", "task-3"),
    ]


def test_the_command_takes_the_word(tmp_path: Path):
    db = str(tmp_path / "ledger")
    with Ledger(db) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("1"))
        ledger.reserve("team", usd("1"), job=Job(provider="crun", account="north"))
    asked = ["spend", "--db", db, "--by", "account", "--format", "csv"]
    told = CliRunner().invoke(report, asked)
    assert (told.exit_code, told.stdout.splitlines()[1].split(",")[0]) == (0, "north")
