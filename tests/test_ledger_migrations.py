"""Migrations: how a ledger of an earlier release is carried over, on both engines."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event, text

from kling_ledger.config import database_url as address_of
from kling_ledger.errors import ConflictError, NewerSchemaError, NoLedgerError, OlderSchemaError
from kling_ledger.jobs.quoting import job_of
from kling_ledger.ledger import Ledger, Scope, State, views
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.migrations import upgrade
from kling_ledger.ledger.schema import SCHEMA_VERSION, VERSION_TABLE
from kling_pricing.gateways import read_request
from kling_pricing.money import Money
from tests.first_release import HISTORY, first_release, make_first_release, opened
from tests.ledgers import plain_url, tamper, usd
from tests.postgres import PostgresServer
from tests.sweeps import sampled

DURING = datetime(2026, 10, 1, tzinfo=UTC)

KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from kling_ledger.ledger.engines.database import Database

database = Database(sys.argv[1], create=False, any_version=True)
left = int(sys.argv[2])

@event.listens_for(Engine, "before_cursor_execute")
def count(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

@event.listens_for(Engine, "commit")
def die(_):
    os.kill(os.getpid(), signal.SIGKILL)

database.upgrade()
"""
"""An upgrade that is killed at a statement, at the latest just before it commits."""


@pytest.fixture
def old_url(database_url: str) -> str:
    """A ledger of the first release with a history, on each engine in turn."""
    url = address_of(database_url)
    make_first_release(url)
    return url


def upgraded(url: str) -> str:
    """Upgrade a database and return the version that it had."""
    with closing(Database(url, create=False, any_version=True)) as database:
        return database.upgrade()


def rows(url: str, query: str) -> list[dict[str, Any]]:
    with opened(url) as connection:
        return [dict(row) for row in connection.execute(text(query)).mappings()]


def everything(url: str) -> dict[str, list[str]]:
    """The schema, and every row of every table."""
    found = {"schema": schema(url)}
    for table in tables(url):
        found[table] = sorted(map(repr, rows(url, f"SELECT * FROM {table}")))
    return found


def tables(url: str) -> list[str]:
    if url.startswith("sqlite"):
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    else:
        query = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    return sorted(row["name"] for row in rows(url, query))


def schema(url: str) -> list[str]:
    """Every column, check, key, index, trigger and function, each as its engine writes it."""
    if url.startswith("sqlite"):
        file = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(file)) as opened_file:
            return written_in(opened_file)
    with psycopg.connect(plain_url(url)) as server:
        found = [row for query in CATALOGUE for row in server.execute(query)]
    return [plain(" ".join(map(str, row))) for row in found]


def unnumbered(lines: list[str]) -> list[str]:
    """A server counts columns on past those that were dropped."""
    return [re.sub(r"^(\S+) \d+ ", r"\1 ", line) for line in lines]


def written_in(file: sqlite3.Connection) -> list[str]:
    found = file.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
    return [f"{kind} {name} {unordered(plain(written or ''))}" for kind, name, written in found]


def unordered(written: str) -> str:
    """A table with its parts in one order: a column that is added later comes after the checks."""
    head, opened, parts = written.partition("(")
    if not head.startswith("CREATE TABLE"):
        return written
    depth, part = 0, ""
    found: list[str] = []
    for character in parts:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            found, part = [*found, part.strip()], ""
        elif depth < 0:
            break
        else:
            part += character
    return f"{head}{opened}{', '.join(sorted([*found, part.strip()]))}"


def plain(written: str) -> str:
    """A statement without what does not matter in it: quotes, line breaks, spaces."""
    words = " ".join(written.replace('"', "").split())
    return re.sub(r" ?([(),]) ?", r"\1", words)


CATALOGUE = (
    """
    SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default,
           collation_name
    FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
    """,
    """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
    """,
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    """
    SELECT pg_get_functiondef(oid)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1
    """,
    "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
)
"""All that PostgreSQL knows of a schema."""


def test_the_first_migration_makes_what_the_first_release_made(tmp_path):
    with closing(first_release(tmp_path / "first.sqlite")) as file:
        made = written_in(file)
    url = f"sqlite:///{tmp_path}/migrated.sqlite"
    with opened(url) as connection:
        upgrade(connection, to="0001")
    ours = [line for line in schema(url) if VERSION_TABLE not in line]
    assert ours == made


def test_a_new_ledger_has_the_schema_that_the_migrations_lead_to(old_url, request, tmp_path):
    upgraded(old_url)
    if old_url.startswith("sqlite"):
        new_url = f"sqlite:///{tmp_path}/new.sqlite"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        new_url = server.new_database()
    Ledger(new_url).close()
    assert schema(old_url) == schema(new_url)
    for table in ("rules", VERSION_TABLE):
        query = f"SELECT * FROM {table}"
        assert rows(old_url, query) == rows(new_url, query)


def test_after_an_upgrade_the_ledger_is_clean_and_its_money_the_same(old_url):
    columns = "name, unit, funded_micro, posted_micro, reserved_micro, created_at"
    query = f"SELECT {columns} FROM wallet ORDER BY name"
    before = rows(old_url, query)
    assert upgraded(old_url) == "0001"
    assert rows(old_url, query) == before
    with Ledger(old_url, create=False) as ledger:
        found = ledger.verify()
        wallet = ledger.wallets.get("team")
    assert found.findings == ()
    assert (found.wallets, found.reservations, found.transfers) == (4, 20, 47)
    assert (wallet.funded, wallet.spent) == (usd("20.000001"), usd("3.55"))
    assert (wallet.posted, wallet.reserved) == (usd("16.450001"), usd("3.525"))


@pytest.mark.parametrize("table", HISTORY)
def test_an_upgrade_keeps_everything_that_was_written(old_url, table):
    query = f"SELECT * FROM {table}"
    before = rows(old_url, query)
    upgraded(old_url)
    after = rows(old_url, query)
    kept = [{name: row[name] for name in before[0]} for row in after]
    for row in (*kept, *before) if table == "reservation" else ():
        # The first release left out what a job is worth in USD where it was in USD anyway.
        row["usd_micro"] = None if row["unit"] == "USD" else row["usd_micro"]
    assert sorted(map(repr, kept)) == sorted(map(repr, before))
    assert len(before) > 3


def test_every_state_comes_through_with_what_it_holds(old_url):
    upgraded(old_url)
    with Ledger(old_url, create=False) as ledger:
        found = ledger.reservations.latest(limit=100)
    assert {one.state for one in found} == set(State)
    for one in found:
        assert one.held == (one.amount if one.is_open else Money.zero(one.amount.unit))
        assert one.refunded == Money.zero(one.amount.unit)


def test_a_cost_in_another_unit_counts_in_dollars_at_the_rate_of_its_quote(old_url):
    upgraded(old_url)
    found = rows(
        old_url,
        "SELECT usd_micro, usd_held_micro, usd_spent_micro, committed_micro FROM reservation"
        " WHERE unit = 'evolink-credit' AND created_at < 1793000000000000 ORDER BY id",
    )
    assert [tuple(row.values()) for row in found] == [
        (333_333, 0, 220_000, 33_000_000),
        (500_000, 0, 500_000, 50_000_000),
        (100_000, 0, 14_000, 7_000_000),
        (100_000, 100_000, 0, None),
        (200_000, 0, 320_000, 80_000_000),
    ]


def test_each_transfer_counts_in_the_month_in_which_it_was_made(old_url):
    upgraded(old_url)
    with Ledger(old_url, create=False) as ledger:
        ledger.periods.close("2026-09", hard=True)
        assert ledger.verify().is_clean
    found = rows(old_url, "SELECT period, COUNT(*) AS n FROM transfer GROUP BY period ORDER BY 1")
    assert found == [
        {"period": "2026-09", "n": 3},
        {"period": "2026-10", "n": 37},
        {"period": "2026-11", "n": 7},
    ]


def test_after_an_upgrade_every_key_still_stands_for_what_it_did(old_url):
    body = json.loads(
        rows(old_url, "SELECT request FROM reservation WHERE request IS NOT NULL")[0]["request"]
    )
    request = read_request("runapi", body)
    quoted = request.quote(at=DURING)
    stands_for = {
        row["key"]: row["result_id"] for row in rows(old_url, "SELECT * FROM idempotency")
    }
    upgraded(old_url)
    with Ledger(old_url, create=False) as ledger:
        before = ledger.wallets.get("team")
        again = ledger.reserve(
            "team",
            quoted.amount,
            job=job_of(request, quoted),
            project="film/teaser",
            key="job-1",
        )
        by_hand = ledger.reserve("team", usd("1.5"), key="by-hand")
        assert (again.id, by_hand.id) == (stands_for["job-1"], stands_for["by-hand"])
        assert again.state is State.COMMITTED
        assert ledger.wallets.fund("team", usd("20"), key="invoice-7") == before
        with pytest.raises(ConflictError, match=r"amount 1\.5 USD; 2 USD differs"):
            ledger.reserve("team", usd("2"), key="by-hand")


def test_after_an_upgrade_open_reservations_go_on(old_url):
    upgraded(old_url)
    with Ledger(old_url, create=False) as ledger:
        for one in ledger.reservations.open():
            if one.state is State.RESERVED:
                ledger.roll_back(one.id, "not wanted")
            else:
                ledger.commit(one.id, one.amount)
        assert ledger.wallets.get("team").reserved == usd("0")
        assert ledger.verify().findings == ()


def test_a_budget_set_after_an_upgrade_counts_what_was_before(old_url):
    upgraded(old_url)
    with Ledger(old_url, create=False) as ledger:
        budget = ledger.budgets.set("film", usd("50"), scope=Scope(project="film/"))
        assert (budget.spent, budget.reserved) == (usd("2.329"), usd("0.775"))


def test_an_older_ledger_is_refused_until_it_is_upgraded(old_url):
    before = everything(old_url)
    with pytest.raises(OlderSchemaError, match="has schema 0001") as caught:
        Ledger(old_url)
    assert "upgrade it" in (caught.value.hint or "")
    assert everything(old_url) == before
    upgraded(old_url)
    Ledger(old_url).close()


def test_an_upgrade_of_what_is_current_changes_nothing(old_url):
    upgraded(old_url)
    before = everything(old_url)
    assert upgraded(old_url) == SCHEMA_VERSION
    assert everything(old_url) == before


def test_a_newer_ledger_is_not_upgraded(empty_url):
    Ledger(empty_url).close()
    tamper(empty_url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    try:
        with pytest.raises(NewerSchemaError, match="has schema 9999"):
            upgraded(address_of(empty_url))
    finally:
        tamper(empty_url, f"UPDATE {VERSION_TABLE} SET version_num = '{SCHEMA_VERSION}'")


def test_where_there_is_no_ledger_there_is_nothing_to_upgrade(database_url, tmp_path):
    (tmp_path / "ledger.sqlite").touch()
    with pytest.raises(NoLedgerError):
        upgraded(address_of(database_url))
    assert tables(address_of(database_url)) == []


class InterruptedUpgradeError(Exception):
    """Raised in the middle of an upgrade."""


@contextmanager
def interrupted_at(place: int) -> Iterator[list[str]]:
    """Let the database fail at a statement; what is given back are the statements until then."""
    seen: list[str] = []

    def count(_: object, __: object, statement: str, *___: object) -> None:
        seen.append(statement)
        if len(seen) > place:
            raise InterruptedUpgradeError

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", count)


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_an_upgrade_that_fails_at_any_statement_leaves_the_older_ledger(old_url, step):
    before = everything(old_url)
    # A connection of its own is opened by each attempt, and asks the server what it is.
    for place in range(0, 10_000, step):
        with interrupted_at(place) as seen:
            try:
                upgraded(old_url)
            except InterruptedUpgradeError:
                assert len(seen) == place + 1
            else:
                break
        if place // step % 5 == 0:
            assert everything(old_url) == before
    assert place > 60
    with Ledger(old_url, create=False) as ledger:
        assert ledger.verify().findings == ()


@pytest.mark.parametrize("place", sampled([20, 45, 70, 10_000], every=2))
def test_an_upgrade_that_is_killed_leaves_the_older_ledger(old_url, place):
    before = everything(old_url)
    killed = subprocess.run([sys.executable, "-c", KILLED, old_url, str(place)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert everything(old_url) == before
    assert upgraded(old_url) == "0001"
    with Ledger(old_url, create=False) as ledger:
        assert ledger.verify().findings == ()


VIEWS = tuple(f"DROP VIEW {view.name}" for view in views.VIEWS)
"""What takes a ledger back to before it had views."""

FINANCE = (
    "DROP TABLE purchase_lot",
    "ALTER TABLE wallet DROP COLUMN costing",
    *(f"ALTER TABLE reservation DROP COLUMN {one}_micro" for one in ("quoted", "low", "estimated")),
    *(f"ALTER TABLE period DROP COLUMN prepared_{one}" for one in ("by", "at")),
)
"""What takes a ledger back to before it knew purchases."""

LISTS = (
    *(
        f"DROP INDEX reservation_by_{column}"
        for column in ("state", "wallet", "project", "provider", "account", "model")
    ),
    "DROP TABLE reservation_label",
)
"""What takes a ledger back to before its lists had indexes; its triggers go too."""

REACH = ("DROP TABLE token", "DROP TABLE approval", "DROP TABLE callback_relay")
"""What takes a ledger back to before it had tokens."""


def test_labels_from_before_they_had_rows_of_their_own_are_found(database_url):
    url = address_of(database_url)
    labelled = {"client": "north", "take": "a/1+2"}
    with Ledger(url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("1"))
        made = ledger.reserve("team", usd("0.1"), labels=labelled).id
        ledger.reserve("team", usd("0.1"))
    before = unnumbered(schema(url))
    with opened(url) as connection:
        if url.startswith("sqlite"):
            connection.execute(text("DROP TRIGGER reservation_labels"))
        else:
            connection.execute(text("DROP FUNCTION kling_ledger_label CASCADE"))
        for statement in (
            *REACH,
            *VIEWS,
            *FINANCE,
            *LISTS,
            f"UPDATE {VERSION_TABLE} SET version_num = '0005'",
        ):
            connection.execute(text(statement))
    assert upgraded(url) == "0005"
    assert unnumbered(schema(url)) == before
    with Ledger(url, create=False) as ledger:
        for label in ("client=north", "take=a/1+2"):
            assert [one.id for one in ledger.reservations.latest(label=label)] == [made]
        assert ledger.reservations.latest(label="take=a/1") == []
