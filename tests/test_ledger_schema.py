"""Schema: what statements know of the tables is what the tables are, and is light to load."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import BigInteger, Boolean, Integer

from kling_ledger.ledger import Asked, Ledger, Scope, State, schema
from kling_ledger.ledger.schema import INTEGER, TEXT, Table
from kling_ledger.ledger.tables import WalletRow
from tests.ledgers import NOON, Clock, plain_url, usd
from tests.postgres import PostgresServer

TABLES = {table.name: table for table in vars(schema).values() if isinstance(table, Table)}
DEFINED = {table.name: table for table in WalletRow.metadata.sorted_tables}

HEAVY = ("sqlalchemy", "sqlmodel", "alembic", "pydantic", "pandas", "httpx", "psycopg")


def kind(column_type: object) -> str:
    if isinstance(column_type, Boolean):
        return "boolean"
    return "bigint" if isinstance(column_type, BigInteger | Integer) else "text"


def test_every_table_is_known_but_the_counter_that_is_only_counted_up():
    assert DEFINED.keys() - TABLES.keys() == {"rules"}
    assert TABLES.keys() <= DEFINED.keys()


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_has_the_columns_that_it_is_defined_with(name):
    columns = DEFINED[name].columns
    assert list(TABLES[name].kinds.items()) == [(one.name, kind(one.type)) for one in columns]


def test_a_row_is_put_in_order_whatever_order_it_comes_in():
    table = Table("thing", name=TEXT, size=INTEGER)
    assert table.in_order({"size": 5, "name": "clip"}) == ("clip", 5)


def test_a_row_without_one_of_the_columns_is_an_error():
    with pytest.raises(KeyError, match="size"):
        Table("thing", name=TEXT, size=INTEGER).in_order({"name": "clip"})


def test_a_row_with_another_column_is_an_error():
    with pytest.raises(ValueError, match="thing has no weight"):
        Table("thing", name=TEXT, size=INTEGER).in_order({"name": "clip", "size": 1, "weight": 2})


def test_reserving_in_a_ledger_that_is_there_loads_nothing_heavy(tmp_path: Path):
    path = str(tmp_path / "ledger.sqlite")
    with Ledger(path) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("1"))
    code = (
        "import sys\n"
        "from kling_ledger.ledger import Ledger\n"
        "from kling_pricing.money import Money\n"
        "with Ledger(sys.argv[1]) as ledger:\n"
        "    made = ledger.reserve('team', Money.parse('0.5 USD'))\n"
        "    ledger.commit(made.id, Money.parse('0.4 USD'))\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, path], check=True, capture_output=True, text=True
    )
    assert set(HEAVY) & set(ran.stdout.split()) == set()


def everything_at_work(ledger: Ledger, clock: Clock) -> None:
    """Each statement that reads or writes a table that columns are added to."""
    ledger.wallets.fund("team", usd("1"))
    ledger.budgets.set("month", usd("50"), scope=Scope(wallet="team"), window="month")
    made = ledger.reserve("team", usd("0.5"), key=f"key-{clock.now}")
    ledger.mark_submitting(made.id)
    ledger.mark_submitted(made.id, f"task-{clock.now}")
    ledger.commit(made.id, usd("0.4"))
    ledger.reserve_many([Asked("team", usd("0.1")) for _ in range(6)])
    assert ledger.reservations.get(made.id).state is State.COMMITTED
    assert ledger.reservations.of_keys([f"key-{clock.now}"])
    assert any(one.is_open for one in ledger.reservations.latest())
    assert ledger.reservations.open()
    assert ledger.wallets.all()[0].name == "team"
    assert ledger.budgets.get("month").budget.name == "month"
    assert [one.state for one in ledger.periods.all()] == ["soft"]
    ledger.periods.reopen("2026-01", reason="more came")
    ledger.periods.close("2026-01")
    assert ledger.verify().findings == ()


def test_an_open_ledger_survives_columns_that_are_added_under_it(postgres: PostgresServer):
    url, clock = postgres.new_database(), Clock(NOON)
    with Ledger(url, clock=clock) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.periods.close("2026-01")
        # The driver prepares a statement once it has been used several times.
        for _ in range(8):
            everything_at_work(ledger, clock)
            clock.now += timedelta(seconds=1)
        with psycopg.connect(plain_url(url), autocommit=True) as server:
            for table in ("wallet", "reservation", "budget", "period", "transfer"):
                server.execute(f"ALTER TABLE {table} ADD COLUMN note text")
        for _ in range(2):
            clock.now += timedelta(seconds=1)
            everything_at_work(ledger, clock)
