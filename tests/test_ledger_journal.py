"""The journal: what was written stays, whoever asks, and holds whole numbers only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kling_ledger.ledger import Job, Ledger
from kling_ledger.ledger.ids import new_id, to_us
from kling_pricing.money import MAX_MICRO, Money

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_457, tzinfo=UTC)
INTEGERS = [
    ("wallet", "funded_micro"),
    ("wallet", "posted_micro"),
    ("wallet", "reserved_micro"),
    ("wallet", "created_at"),
    ("reservation", "reserved_micro"),
    ("reservation", "committed_micro"),
    ("reservation", "usd_micro"),
    ("reservation", "billed_seconds"),
    ("reservation", "created_at"),
    ("reservation", "updated_at"),
    ("transfer", "amount_micro"),
    ("transfer", "created_at"),
    ("job_event", "step"),
    ("job_event", "created_at"),
    ("idempotency", "created_at"),
]


def usd(text: str) -> Money:
    return Money.parse(text, default_unit="USD")


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A bare connection to a ledger in which one job of 0.3 USD was committed at 0.1."""
    path = tmp_path / "ledger.sqlite"
    with Ledger(str(path), clock=lambda: NOON, actor="ada") as ledger:
        ledger.create_wallet("team", "USD")
        ledger.fund_wallet("team", usd("9.7"), key="invoice 7", reason="paid by card")
        job = Job(provider="crun", billed_seconds=5, usd=usd("0.3"))
        reservation_id = ledger.reserve("team", usd("0.3"), job=job).id
        ledger.mark_submitting(reservation_id)
        ledger.mark_submitted(reservation_id, "task-1")
        ledger.commit(reservation_id, usd("0.1"), reason="as billed")
    with closing(sqlite3.connect(path)) as connection:
        yield connection


@pytest.mark.parametrize("table", ["transfer", "job_event"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET actor = 'nobody'",
        "UPDATE {} SET reason = NULL WHERE actor = 'ada'",
        "UPDATE {} SET created_at = created_at",
        "DELETE FROM {}",
        "DELETE FROM {} WHERE actor = 'ada'",
    ],
)
def test_the_database_refuses_to_change_history(raw, table, statement):
    before = list(raw.iterdump())
    with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
        raw.execute(statement.format(table))
    raw.rollback()
    assert list(raw.iterdump()) == before


@pytest.mark.parametrize(("table", "column"), INTEGERS)
def test_a_stored_number_is_an_integer(raw, table, column):
    found = raw.execute(f"SELECT DISTINCT typeof({column}) FROM {table}").fetchall()
    assert found == [("integer",)]


def test_an_amount_is_stored_in_millionths(raw):
    found = raw.execute("SELECT kind, amount_micro FROM transfer ORDER BY rowid").fetchall()
    assert found == [
        ("fund", 9_700_000),
        ("reserve", 300_000),
        ("commit", 100_000),
        ("return", 200_000),
    ]


def test_an_instant_is_stored_in_microseconds(raw):
    assert raw.execute("SELECT DISTINCT created_at FROM transfer").fetchall() == [(to_us(NOON),)]
    assert to_us(NOON) == 1_772_366_400_123_457


def test_each_transfer_leads_from_one_account_to_another(raw):
    wallet = raw.execute("SELECT id FROM wallet").fetchone()[0]
    free, aside = f"wallet/{wallet}/available", f"wallet/{wallet}/reserved"
    query = "SELECT debit_account, credit_account FROM transfer ORDER BY rowid"
    assert raw.execute(query).fetchall() == [
        ("funding", free),
        (free, aside),
        (aside, "provider/crun"),
        (aside, free),
    ]


def test_each_event_says_from_where_to_where(raw):
    query = "SELECT step, from_state, to_state, actor, reason FROM job_event ORDER BY step"
    assert raw.execute(query).fetchall() == [
        (1, None, "reserved", "ada", None),
        (2, "reserved", "submitting", "ada", None),
        (3, "submitting", "submitted", "ada", None),
        (4, "submitted", "committed", "ada", "as billed"),
    ]


def test_a_transfer_says_who_and_why(raw):
    query = "SELECT actor, reason FROM transfer WHERE kind = 'fund'"
    assert raw.execute(query).fetchone() == ("ada", "paid by card")


@pytest.mark.parametrize("amount", [0, -1, MAX_MICRO + 1])
def test_the_database_refuses_a_transfer_of_nothing_or_of_too_much(raw, amount):
    with pytest.raises(sqlite3.IntegrityError, match="transfer_moves_something"):
        raw.execute(
            "INSERT INTO transfer SELECT 'txf_new', kind, debit_account, credit_account, ?, unit,"
            " wallet_id, reservation_id, actor, reason, created_at FROM transfer LIMIT 1",
            (amount,),
        )


def test_the_database_refuses_a_transfer_from_an_account_to_itself(raw):
    with pytest.raises(sqlite3.IntegrityError, match="transfer_has_two_sides"):
        raw.execute(
            "INSERT INTO transfer SELECT 'txf_new', kind, debit_account, debit_account, 1, unit,"
            " wallet_id, reservation_id, actor, reason, created_at FROM transfer LIMIT 1"
        )


@pytest.mark.parametrize(
    ("statement", "law"),
    [
        ("UPDATE wallet SET reserved_micro = -1", "wallet_reserved_is_not_negative"),
        (f"UPDATE wallet SET posted_micro = {MAX_MICRO + 1}", "wallet_posted_is_exact"),
        (f"UPDATE wallet SET posted_micro = -{MAX_MICRO + 1}", "wallet_posted_is_exact"),
        ("UPDATE reservation SET state = 'lost'", "reservation_state_is_known"),
        ("UPDATE reservation SET reserved_micro = 0", "reservation_is_of_something"),
        ("UPDATE reservation SET committed_micro = NULL", "reservation_has_an_amount"),
        ("UPDATE reservation SET committed_micro = -1", "reservation_commits_no_less"),
    ],
)
def test_the_database_refuses_what_no_ledger_can_hold(raw, statement, law):
    with pytest.raises(sqlite3.IntegrityError, match=law):
        raw.execute(statement)


def test_ids_sort_by_the_instant_at_which_they_were_made():
    instants = [datetime(year, 1, 1, tzinfo=UTC) for year in range(1990, 2300, 10)]
    ids = [new_id("txf", at) for at in instants]
    assert ids == sorted(ids)


def test_ids_of_one_instant_differ():
    assert len({new_id("res", NOON) for _ in range(1000)}) == 1000
