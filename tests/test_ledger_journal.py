"""The journal: what was written stays, whoever asks, and holds whole numbers only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice

import psycopg
import pytest

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger import Asked, Change, Job, Ledger, Scope, State
from kling_ledger.ledger.ids import from_us, new_id, numbers, to_us
from kling_pricing.errors import KlingError
from kling_pricing.money import MAX_MICRO
from tests.ledgers import (
    Chance,
    Clock,
    found,
    money,
    plain_url,
    seal_as_before,
    tables,
    unchanged,
    usd,
    write,
)

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_457, tzinfo=UTC)
REFUSED = {
    "transfer": "transfer is append-only",
    "job_event": "job_event is append-only",
    "budget_event": "budget_event is append-only",
    "budget_raise": "budget_raise is append-only",
    "sealed_transfer": "sealed_transfer is append-only",
    "period": "a period that is closed hard stays as it is",
}
KEPT = ("wallet", "reservation", "idempotency", "budget", "budget_window")
IN_ORDER = "ORDER BY id"


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    """A ledger in which one job of 0.3 USD was committed at 0.1, and February was sealed."""
    clock = Clock(NOON - timedelta(days=2))
    with Ledger(empty_url, clock=clock, chance=Chance(), actor="ada") as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("9.7"), key="invoice 7", reason="paid by card")
        clock.now = NOON
        seal_as_before(opened, "2026-02")
        opened.budgets.set("month", usd("5"), window="month")
        opened.budgets.raise_limit(
            "month", usd("1"), until=NOON + timedelta(days=1), reason="the premiere"
        )
        job = Job(provider="crun", billed_seconds=5, usd=usd("0.3"))
        reservation_id = opened.reserve("team", usd("0.3"), job=job).id
        opened.mark_submitting(reservation_id)
        opened.mark_submitted(reservation_id, "task-1")
        opened.commit(reservation_id, usd("0.1"), reason="as billed")
        yield opened
        assert opened.verify().is_clean


@pytest.mark.parametrize("table", REFUSED)
@pytest.mark.parametrize("statement", ["UPDATE {} SET actor = actor", "DELETE FROM {}"])
def test_the_database_refuses_to_change_history(ledger, table, statement):
    if table == "sealed_transfer":
        statement = statement.replace("actor", "digest")
    with unchanged(ledger), pytest.raises(DatabaseError, match=REFUSED[table]):
        write(ledger, statement.format(table))


@pytest.mark.parametrize("table", KEPT)
def test_the_database_refuses_to_delete_what_history_is_about(ledger, table):
    with unchanged(ledger), pytest.raises(DatabaseError, match=f"a {table} is never deleted"):
        write(ledger, f"DELETE FROM {table}")


@pytest.mark.parametrize("table", [*REFUSED, *KEPT])
def test_a_server_refuses_to_empty_what_is_history(postgres_ledger, table):
    with (
        psycopg.connect(plain_url(postgres_ledger)) as server,
        pytest.raises(psycopg.Error, match=r"append-only|never deleted|stays as it is"),
    ):
        server.execute(f"TRUNCATE {table} CASCADE")


def test_every_number_in_a_file_is_an_integer(ledger):
    if ledger.database.url.startswith("postgresql"):
        return
    with closing(sqlite3.connect(ledger.database.url.removeprefix("sqlite:///"))) as file:
        for table in tables():
            for _, column, kind, *_ in file.execute(f"PRAGMA table_info({table})").fetchall():
                if kind in {"BIGINT", "INTEGER", "BOOLEAN"}:
                    query = f"SELECT DISTINCT typeof({column}) FROM {table}"
                    assert {row[0] for row in file.execute(query)} <= {"integer", "null"}


def test_every_number_on_a_server_is_an_integer(postgres_ledger):
    with psycopg.connect(plain_url(postgres_ledger)) as server:
        kinds = server.execute(
            "SELECT DISTINCT data_type FROM information_schema.columns"
            # The public views tell amounts as decimals besides.
            " WHERE table_schema = 'public' AND table_name NOT LIKE 'v1@_%' ESCAPE '@'"
        ).fetchall()
    assert {kind for (kind,) in kinds} == {
        "bigint",
        "integer",
        "boolean",
        "character varying",
    }


def test_an_amount_is_stored_in_millionths(ledger):
    rows = found(ledger, f"SELECT kind, amount_micro FROM transfer {IN_ORDER}")
    assert [tuple(row.values()) for row in rows] == [
        ("fund", 9_700_000),
        ("reserve", 300_000),
        ("commit", 100_000),
        ("return", 200_000),
    ]


def test_an_instant_is_stored_in_microseconds(ledger):
    rows = found(ledger, "SELECT DISTINCT created_at FROM transfer WHERE kind <> 'fund'")
    assert rows == [{"created_at": to_us(NOON)}]
    assert to_us(NOON) == 1_772_366_400_123_457


def test_each_transfer_leads_from_one_account_to_another(ledger):
    wallet = ledger.wallets.get("team").id
    free, aside = f"wallet/{wallet}/available", f"wallet/{wallet}/reserved"
    rows = found(ledger, f"SELECT debit_account, credit_account FROM transfer {IN_ORDER}")
    assert [tuple(row.values()) for row in rows] == [
        ("funding", free),
        (free, aside),
        (aside, "provider/crun"),
        (aside, free),
    ]


def test_each_event_says_from_where_to_where(ledger):
    query = "SELECT step, from_state, to_state, actor, reason FROM job_event ORDER BY step"
    assert [tuple(row.values()) for row in found(ledger, query)] == [
        (1, None, "reserved", "ada", None),
        (2, "reserved", "submitting", "ada", None),
        (3, "submitting", "submitted", "ada", None),
        (4, "submitted", "committed", "ada", "as billed"),
    ]


def test_a_transfer_says_who_and_why(ledger):
    query = "SELECT actor, reason FROM transfer WHERE kind = 'fund'"
    assert found(ledger, query) == [{"actor": "ada", "reason": "paid by card"}]


COPY = (
    "INSERT INTO transfer SELECT 'txf_new', kind, debit_account, {}, {}, unit, wallet_id,"
    " reservation_id, period, corrects, actor, reason, created_at FROM transfer LIMIT 1"
)


@pytest.mark.parametrize(
    ("statement", "law"),
    [
        (COPY.format("credit_account", 0), "transfer_moves_something"),
        (COPY.format("credit_account", -1), "transfer_moves_something"),
        (COPY.format("credit_account", MAX_MICRO + 1), "transfer_moves_something"),
        (COPY.format("debit_account", 1), "transfer_has_two_sides"),
        ("UPDATE wallet SET reserved_micro = -1", "wallet_reserved_is_not_negative"),
        (f"UPDATE wallet SET posted_micro = {MAX_MICRO + 1}", "wallet_posted_is_exact"),
        (
            f"UPDATE wallet SET posted_micro = -{MAX_MICRO + 1}",
            "wallet_posted_is_exact|wallet_covers_its_slots",
        ),
        ("UPDATE reservation SET state = 'lost'", "reservation_state_is_known"),
        ("UPDATE reservation SET reserved_micro = 0", "reservation_is_of_something"),
        ("UPDATE reservation SET state = 'reserved', held_micro = -1", "holds_what_it_set_aside"),
        ("UPDATE reservation SET held_micro = 1", "reservation_holds_nothing_once_ended"),
        ("UPDATE reservation SET committed_micro = NULL", "reservation_has_an_amount"),
        ("UPDATE reservation SET committed_micro = -1", "refunds_what_was_committed"),
        ("UPDATE reservation SET refunded_micro = 100001", "refunds_what_was_committed"),
        ("UPDATE reservation SET refunded_micro = -1", "refunds_what_was_committed"),
        ("UPDATE budget SET limit_micro = -1", "budget_limit_is_not_negative"),
        ("UPDATE budget SET mode = 'soft'", "budget_mode_is_known"),
        ("UPDATE budget_window SET held_micro = -1", "budget_window_held_is_not_negative"),
    ],
)
def test_the_database_refuses_what_no_ledger_can_hold(ledger, statement, law):
    with unchanged(ledger), pytest.raises(DatabaseError, match=law):
        write(ledger, statement)


def test_ids_sort_by_the_instant_at_which_they_were_made():
    instants = [datetime(year, 1, 1, tzinfo=UTC) for year in range(1990, 2300, 10)]
    ids = [new_id("txf", next(numbers(to_us(at), 2**48 - 1))) for at in instants]
    assert ids == sorted(ids)


def test_ids_of_one_operation_differ_and_sort_in_their_order():
    ids = [new_id("res", number) for number in islice(numbers(to_us(NOON), 7), 65_536)]
    assert ids == sorted(set(ids))


def test_ids_of_one_instant_differ_by_chance():
    first, second = (list(islice(numbers(to_us(NOON), chance), 65_536)) for chance in (7, 8))
    assert not {*first} & {*second}


@pytest.mark.parametrize("us", [0, 1, -1, to_us(NOON), 2**53])
def test_an_instant_is_kept_to_the_microsecond(us):
    assert to_us(from_us(us)) == us


# --- the same history on both engines --------------------------------------------------------


def live(ledger: Ledger, clock: Clock) -> list[str]:
    """Live through a bit of everything, and return the codes of what was refused."""
    refused: list[str] = []

    def attempt(call: object, *values: object, **given: object) -> object:
        clock.forward(seconds=1)
        try:
            return call(*values, **given)  # type: ignore[operator]
        except KlingError as error:
            refused.append(error.code)
            return None

    attempt(ledger.wallets.create, "team", "USD")
    attempt(ledger.wallets.create, "credits", "crun-credit")
    attempt(ledger.wallets.fund, "team", usd("100"), key="invoice", reason="paid")
    attempt(ledger.wallets.fund, "team", usd("100"), key="invoice")
    attempt(ledger.wallets.fund, "team", usd("99"), key="invoice")
    attempt(ledger.wallets.fund, "credits", money("500 crun-credit"))
    attempt(ledger.budgets.set, "film", usd("10"), scope=Scope(project="film/"), window="day")
    attempt(ledger.budgets.set, "all", usd("40"), window="month", mode="warn")
    held = [ledger.reserve("team", usd(f"{n}.5"), project="film/a", key=f"k{n}") for n in range(3)]
    attempt(ledger.reserve, "team", usd("9"), project="film")
    attempt(ledger.reserve, "credits", money("5 crun-credit"))
    attempt(ledger.reserve, "credits", money("5 crun-credit"), job=Job("crun", usd=usd("0.1")))
    attempt(ledger.commit, held[0].id, usd("0.2"), is_part=True, key="part")
    attempt(ledger.commit, held[0].id, usd("0.2"), is_part=True, key="part")
    attempt(ledger.roll_back, held[0].id, "not wanted")
    attempt(ledger.mark_submitting, held[1].id)
    attempt(ledger.mark_submitting, held[1].id)
    attempt(ledger.mark_submitted, held[1].id, "task-1")
    attempt(ledger.commit, held[1].id, usd("7"))
    attempt(ledger.refund, held[1].id, usd("2"), reason="a black clip", key="back")
    attempt(
        ledger.budgets.raise_limit,
        "film",
        usd("5"),
        until=clock.now + timedelta(hours=1),
        reason="x",
    )
    soon = clock.now + timedelta(minutes=1)
    attempt(ledger.reserve, "team", usd("3"), project="film/b", expires_at=soon)
    clock.now = soon
    attempt(ledger.expire)
    clock.forward(days=31)
    attempt(ledger.periods.close, "2026-03", hard=True, reason="the books")
    attempt(ledger.commit, held[0].id, usd("0.3"))
    attempt(ledger.wallets.adjust, "team", usd("-1"), reason="a fee", corrects="2026-03")
    attempt(ledger.correct, held[1].id, usd("6"), reason="the bill says so")
    attempt(ledger.reserve_many, [Asked("team", usd("1"), labels={"b": "2", "a": "1"})] * 3)
    attempt(ledger.reserve_many, [Asked("team", usd("90")), Asked("team", usd("1"))])
    attempt(ledger.budgets.remove, "film", reason="it is over")
    attempt(ledger.settle, [Change(held[2].id, State.COMMITTED, usd("1"))])
    return refused


def journal_of(url: str) -> tuple[list[str], list[str], list[object]]:
    clock = Clock(NOON)
    with Ledger(url, clock=clock, chance=Chance(), actor="ada") as ledger:
        refused = live(ledger, clock)
        assert ledger.verify().is_clean
        return (
            list(ledger.canonical_journal()),
            refused,
            [*ledger.wallets.all(), *ledger.periods.all()],
        )


def test_the_same_history_gives_the_same_journal_on_both_engines(tmp_path, postgres):
    file, server = (
        journal_of(url) for url in (str(tmp_path / "a.sqlite"), postgres.new_database())
    )
    assert file == server
    # The budget that only warns lets in what it does not know the worth of.
    assert file[1] == ["conflict", "budget", "state", "insufficient_credits"]
    assert len(file[0]) > 30


def test_the_canonical_journal_is_plain_json_lines_in_order(ledger):
    lines = list(ledger.canonical_journal())
    assert len(lines) == 8
    assert all(line.isascii() and line.startswith("[") for line in lines)
    assert lines[:4] == sorted(lines[:4])
    assert '"team"' not in "".join(lines)
