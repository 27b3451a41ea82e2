"""What the ledger's tests share: amounts, a clock, and a whole database before and after."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors, sql

from kling_ledger.ledger import Ledger
from kling_ledger.ledger.engines.transaction import Row, Transaction
from kling_ledger.ledger.slots import WALLETS, WINDOWS
from kling_ledger.ledger.tables import WalletRow
from kling_pricing.money import Money, from_micro, plain

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
"""A Wednesday."""


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **step: float) -> None:
        self.now += timedelta(**step)


class Chance:
    """Numbers in place of chance, so that the same history makes the same ids."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self, bits: int) -> int:
        # Operations that make many things count on from what they drew.
        return 1000 * next(self._numbers) & ((1 << bits) - 1)


def usd(amount: str) -> Money:
    """An amount in US dollars."""
    return Money(Decimal(amount), "USD")


def money(written: str) -> Money:
    """An amount and its unit."""
    return Money.parse(written)


def tables() -> list[str]:
    return [table.name for table in WalletRow.metadata.sorted_tables]


def dump(ledger: Ledger) -> list[str]:
    """Everything in the ledger's database, row by row, on either engine.

    Of the settings only their names: each ledger has a secret of its own. Wallets and windows are
    as they stand, with their slots: whether there are any makes no difference, nor does it which
    server this is.
    """
    queries = {
        "setting": "SELECT name FROM setting WHERE name NOT IN ('slots', 'engine')",
        "wallet": f"SELECT * FROM {WALLETS}",
        "budget_window": f"SELECT * FROM {WINDOWS}",
    }
    with ledger.database.read() as transaction:
        return [
            f"{table}: {sorted(repr(dict(row)) for row in transaction.rows(query))}"
            for table in tables()
            if table not in {"rules", "slot"}
            for query in (queries.get(table, f"SELECT * FROM {table}"),)
        ]


def found(ledger: Ledger, query: str, **values: Any) -> list[Row]:
    """The rows of a query."""
    with ledger.database.read() as transaction:
        return [dict(row) for row in transaction.rows(query, **values)]


def write(ledger: Ledger, *statements: str) -> None:
    """Run statements in one transaction of the ledger's own, with all that protects it."""

    def run(transaction: Transaction) -> None:
        transaction.be_alone()
        for statement in statements:
            transaction.run(statement)

    ledger.database.write(run)


def seal_as_before(ledger: Ledger, month: str) -> str:
    """Seal a month as the versions did that covered its transfers alone; return the seal."""
    columns = (
        "id, kind, debit_account, credit_account, amount_micro, unit, wallet_id, reservation_id,"
        " period, corrects, actor, reason, created_at"
    )
    rows = found(ledger, f"SELECT {columns} FROM transfer WHERE period = :m ORDER BY id", m=month)
    lines = [json.dumps(list(row.values()), separators=(",", ":")) for row in rows]
    before = found(ledger, "SELECT MAX(seal) AS seal FROM period WHERE state = 'hard'")
    previous = before[0]["seal"]
    seal = sha256("\n".join([previous or "", *lines]).encode()).hexdigest()
    digests = [
        f"('{row['id']}', '{month}', '{sha256(line.encode()).hexdigest()[:24]}')"
        for row, line in zip(rows, lines, strict=True)
    ]
    written = f"'{previous}'" if previous else "NULL"
    write(
        ledger,
        "INSERT INTO period (name, state, transfers, previous_seal, seal, actor, closed_at)"
        f" VALUES ('{month}', 'hard', {len(rows)}, {written}, '{seal}', 'ada', 0)",
        f"INSERT INTO sealed_transfer VALUES {', '.join(digests)}",
        "UPDATE rules SET version = version + 1",
    )
    return seal


@contextmanager
def unchanged(ledger: Ledger) -> Iterator[None]:
    """Everything in the database is what it was, in a file to the byte."""
    before = dump(ledger), on_disk(ledger)
    yield
    assert (dump(ledger), on_disk(ledger)) == before


def on_disk(ledger: Ledger) -> dict[str, bytes]:
    """The bytes of a ledger's file and of the log beside it; nothing on a server."""
    if ledger.database.url.startswith("postgresql"):
        return {}
    path = ledger.database.url.removeprefix("sqlite:///")
    files = [Path(path + suffix) for suffix in ("", "-wal")]
    return {file.name: file.read_bytes() for file in files if file.exists()}


def transfers(ledger: Ledger) -> list[str]:
    """Every transfer in the order of ids, as `commit 2`."""
    rows = found(ledger, "SELECT kind, amount_micro FROM transfer ORDER BY id")
    return [f"{row['kind']} {plain(from_micro(row['amount_micro']))}" for row in rows]


def standing(ledger: Ledger, wallet: str) -> tuple[Money, Money, Money]:
    """What a wallet has posted, reserved and available."""
    now = ledger.wallets.get(wallet)
    return now.posted, now.reserved, now.available


def tamper(url: str, *statements: str) -> None:
    """Change a database as somebody would who first takes away what protects it."""
    if url.startswith("postgresql"):
        with psycopg.connect(plain_url(url), autocommit=True) as server, unprotected(server):
            for statement in statements:
                server.execute(sql.SQL(statement))
        return
    path = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA ignore_check_constraints = ON")
        triggers = file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            file.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            file.execute(statement)


@contextmanager
def unprotected(server: psycopg.Connection[Any]) -> Iterator[None]:
    """Let a session on a server change what triggers protect."""
    try:
        server.execute("SET session_replication_role = replica")
    except errors.InsufficientPrivilege:
        # Whoever is no superuser owns the tables, and may do it one by one.
        switched = [f"ALTER TABLE {table} {{}} TRIGGER USER" for table in tables()]
        server.execute("; ".join(switched).format(*["DISABLE"] * len(switched)).encode())
        try:
            yield
        finally:
            server.execute("; ".join(switched).format(*["ENABLE"] * len(switched)).encode())
        return
    yield


def plain_url(url: str) -> str:
    """The address of a PostgreSQL database as its own driver takes it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


SLOTS = 3
"""How many slots tests have: more connections than slots, and amounts that do not divide."""


def make_empty(url: str, *, slots: int = 0) -> None:
    """Take everything out of a ledger on PostgreSQL: quicker than a database of one's own."""
    # Rows that others refer to are deleted after those.
    kept = {"rules", "setting"}
    emptied = [f"DELETE FROM {table}" for table in reversed(tables()) if table not in kept]
    emptied += [
        "UPDATE rules SET version = 1",
        "DELETE FROM setting WHERE name IN ('slots', 'two_people')",
    ]
    if slots:
        emptied.append(f"INSERT INTO setting VALUES ('slots', '{slots}')")
    tamper(url, "; ".join(emptied))
