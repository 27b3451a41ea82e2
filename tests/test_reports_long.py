"""Long tables: read batch by batch from one state, the same whatever the size of a batch."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import product
from typing import IO

import pytest

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.engines.database import Database
from kling_pricing.money import Money, from_micro
from kling_reports import failures, reconciliation, statement
from kling_reports import open as open_credits
from kling_reports.query import Query
from kling_reports.render import csv, json, parquet, xlsx
from kling_reports.report import Report, Span
from tests.ledgers import found
from tests.reports_ledger import START, Made, ledger_of, query, rows
from tests.sweeps import sampled

WRITERS: dict[str, Callable[[Report, IO[bytes]], None]] = {
    "json": json.write,
    "csv": csv.write,
    "parquet": parquet.write,
    "xlsx": xlsx.write,
}
REPORTS: dict[str, Callable[[Database, Query], Report]] = {
    "statement": statement.report,
    "failures": failures.report,
    "open": open_credits.report,
    "reconciliation": reconciliation.report,
}
WALLETS = ("team", "crun", "shop")
ENDS = ("committed", "rolled_back", "in_doubt", "late", "part", "reserved")


def jobs() -> list[Made]:
    """Jobs of every end, in turn in each wallet, some of them with hostile names."""
    return [
        Made(
            wallet=WALLETS[at % 3],
            minute=at,
            end=ENDS[at % len(ENDS)],
            cost=675_000 - at,
            refund=at * 1000 if at % 5 == 0 else 0,
            project=("film/teaser", "=1+1", None)[at % 3],
        )
        for at in range(40)
    ]


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with ledger_of(database_url, jobs()) as opened:
        yield opened


def written(answered: Report, form: str) -> bytes:
    """What a form writes of every table, one after another."""
    to = io.BytesIO()
    if form in {"json", "xlsx"}:
        WRITERS[form](answered, to)
    else:
        for table in answered.tables:
            WRITERS[form](answered.only(table.name), to)
    return to.getvalue()


def balances(ledger: Ledger) -> list[tuple[str, str, Decimal, Decimal]]:
    """Each line by wallet and time, with the balance after it: by plain SQL and addition."""
    lines = found(
        ledger,
        "SELECT wallet.name, transfer.id, kind, amount_micro, transfer.created_at FROM transfer"
        " JOIN wallet ON wallet.id = transfer.wallet_id",
    )
    up, down = ("fund", "adjust", "refund"), ("adjust_down", "commit", "overrun", "late_commit")
    signs = {**dict.fromkeys(up, 1), **dict.fromkeys(down, -1)}
    moved = [line for line in lines if line["kind"] in signs]
    held = dict.fromkeys(WALLETS, 0)
    told = []
    for line in sorted(moved, key=lambda line: (line["name"], line["created_at"], line["id"])):
        amount = signs[line["kind"]] * line["amount_micro"]
        held[line["name"]] += amount
        told.append((line["name"], line["id"], from_micro(amount), from_micro(held[line["name"]])))
    return told


@pytest.mark.parametrize("batch", [1, 2, 7, 1000])
def test_each_line_of_a_statement_has_the_balance_after_it_whatever_is_read_at_a_time(
    ledger: Ledger, batch: int
):
    with ledger.database.snapshot() as database:
        one = statement.report(database, replace(query(), batch=batch)).table("lines")
        told = rows(one, "wallet", "id", "amount", "balance")
    assert told == balances(ledger)
    assert one.count == len(told)
    assert (one.stream is None) == (batch > one.count)
    assert len(one.frame) == min(batch, one.count)


@pytest.mark.parametrize("batch", sampled([3, 1, 1000], every=3))
@pytest.mark.parametrize(("question", "form"), sampled(product(REPORTS, WRITERS), every=3))
def test_every_form_has_the_same_bytes_whatever_is_read_at_a_time(
    ledger: Ledger, question: str, form: str, batch: int
):
    ask = REPORTS[question]
    at_once = written(ask(ledger.database, query(now=START + timedelta(days=3))), form)
    asked = replace(query(now=START + timedelta(days=3)), batch=batch)
    with ledger.database.snapshot() as database:
        answered = ask(database, asked)
        assert written(answered, form) == at_once
        # Each writing reads the rows once more.
        assert written(answered, form) == at_once


def test_a_report_is_of_one_state_whatever_is_written_meanwhile(ledger: Ledger):
    with ledger.database.snapshot() as database:
        answered = statement.report(database, replace(query(), batch=2))
        before = [(row[0], row[5]) for row in answered.table("lines").rows()]
        ledger.wallets.fund("team", Money.parse("7 USD"))
        again = [(row[0], row[5]) for row in answered.table("lines").rows()]
        summary = rows(statement.report(database, query()).main, "wallet", "closing")
    assert again == before
    assert summary == rows(answered.main, "wallet", "closing")
    closing = dict(before)
    assert {name: closing[name] for name in WALLETS} == dict(summary)
    now = dict(rows(statement.report(ledger.database, query()).main, "wallet", "closing"))
    assert now["team"] == Decimal(str(closing["team"])) + 7


def test_one_snapshot_answers_several_questions(ledger: Ledger):
    with ledger.database.snapshot() as database:
        for ask in (*REPORTS.values(), *REPORTS.values()):
            assert ask(database, query()).tables


def test_a_stretch_of_time_has_its_own_lines_alone(ledger: Ledger):
    span = Span(START + timedelta(minutes=10), START + timedelta(minutes=20))
    with ledger.database.snapshot() as database:
        one = statement.report(database, replace(query(span=span), batch=2)).table("lines")
        told = rows(one, "id", "created_at", "balance")
    expected = [
        (name, balance)
        for (_, name, _, balance) in balances(ledger)
        if any(name == found_id for found_id, *_ in told)
    ]
    assert [(name, balance) for name, _, balance in told] == expected
    assert told
    assert all(span.starts_at <= at < span.ends_at for _, at, _ in told)
    assert one.count == len(told)


def test_where_a_filter_keeps_few_of_a_batch_the_first_rows_are_as_many(ledger: Ledger):
    asked = replace(query(where=["wallet=team"]), batch=4)
    with ledger.database.snapshot() as database:
        one = statement.report(database, asked).table("lines")
        told = rows(one, "wallet", "id", "amount", "balance")
    assert told == [line for line in balances(ledger) if line[0] == "team"]
    assert (len(one.frame), one.count) == (4, len(told))


def test_what_goes_wrong_while_a_snapshot_is_read_is_not_told_of_the_database(ledger: Ledger):
    with pytest.raises(OSError, match="no room") as raised, ledger.database.snapshot():
        raise OSError(28, "no room")
    assert not isinstance(raised.value, DatabaseError)
    with ledger.database.snapshot() as database, database.read() as transaction:
        assert transaction.row("SELECT 1 AS one") == {"one": 1}


def test_rows_are_given_some_at_a_time(ledger: Ledger):
    asked = "SELECT id, kind FROM transfer WHERE kind <> :kind ORDER BY id"
    with ledger.database.read() as transaction:
        whole = [tuple(row.values()) for row in transaction.rows(asked, kind="fund")]
        parts = list(transaction.batches(asked, 7, kind="fund"))
        both = zip(
            transaction.batches(asked, 3, kind="fund"),
            transaction.batches(asked, 3, kind="fund"),
            strict=True,
        )
        assert all(one == other for one, other in both)
    assert [len(part) for part in parts[:-1]] == [7] * (len(parts) - 1)
    assert [row for part in parts for row in part] == whole


def test_an_empty_answer_has_no_batch(ledger: Ledger):
    with ledger.database.read() as transaction:
        assert list(transaction.batches("SELECT id FROM transfer WHERE 1 = 0", 5)) == []
