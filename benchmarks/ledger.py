"""How fast the ledger is, each figure as a ratio to plain statements that do the same work.

    pip install '.[test]'
    python -m benchmarks.ledger [sqlite] [postgres] [growth]

A pair is one reservation, under a key, and its commit at 8 of 10 units: two transactions. The
plain loops write the same rows into the same tables with the same durability (SQLite: WAL and
synchronous=FULL; PostgreSQL: the server that the tests start, as it comes), with nothing of ours.
Every figure is the median of several runs in warm processes, which take turns. `growth` compares a
ledger of a million reservations with one of ten thousand and takes some minutes to fill it.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from kling_ledger.ledger import Asked, Change, Ledger, State
from kling_ledger.ledger.schema import IDEMPOTENCY, JOB_EVENT, RESERVATION, TRANSFER
from kling_pricing.money import Money
from tests.postgres import PostgresServer, postgres_server

RESERVED = Money.parse("0.000010 USD")
CHARGED = Money.parse("0.000008 USD")
FUNDS = Money.parse("1000000 USD")
RUNS = 5
_numbers = itertools.count(os.getpid() << 32)
"""What no other process counts: keys and ids are made of them."""


@contextmanager
def sqlite_ledger() -> Iterator[Ledger]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger(str(Path(folder) / "ledger.sqlite"), actor="bench") as ledger,
    ):
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", FUNDS)
        yield ledger


def pair(ledger: Ledger) -> None:
    reservation = ledger.reserve("team", RESERVED, key=f"key-{next(_numbers)}")
    ledger.commit(reservation.id, CHARGED)


def batch(ledger: Ledger, size: int) -> None:
    asked = [Asked("team", RESERVED, key=f"key-{next(_numbers)}") for _ in range(size)]
    made = ledger.reserve_many(asked)
    ledger.settle([Change(one.id, State.COMMITTED, CHARGED, settled_by="provider") for one in made])


def callers(ledger: Ledger, threads: int, pairs: int) -> None:
    def work() -> None:
        for _ in range(pairs // threads):
            pair(ledger)

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


# --- the same work in plain statements -------------------------------------------------------


class Plain:
    """The rows of a pair, written by hand."""

    def __init__(self, wallet_id: str, mark: str) -> None:
        self.wallet_id = wallet_id
        self.available = f"wallet/{wallet_id}/available"
        self.reserved = f"wallet/{wallet_id}/reserved"
        self.take = (
            f"UPDATE wallet SET reserved_micro = reserved_micro + {mark} WHERE id = {mark}"
            f" AND posted_micro - reserved_micro >= {mark}"
        )
        self.settle = (
            f"UPDATE wallet SET posted_micro = posted_micro - {mark},"
            f" reserved_micro = reserved_micro - {mark} WHERE id = {mark}"
        )
        self.change = (
            f"UPDATE reservation SET state = 'committed', step = 2, held_micro = 0,"
            f" committed_micro = {mark}, usd_held_micro = 0, usd_spent_micro = {mark},"
            f" settled_by = 'provider', updated_at = {mark}"
            f" WHERE id = {mark} AND step = 1"
        )
        self.inserts = {
            table: f"INSERT INTO {table.name} ({', '.join(table.columns)})"
            f" VALUES ({', '.join([mark] * len(table.columns))})"
            for table in (RESERVATION, JOB_EVENT, TRANSFER, IDEMPOTENCY)
        }

    def reservation(self, one: str, at: int) -> tuple[object, ...]:
        given = {
            "id": one,
            "wallet_id": self.wallet_id,
            "state": "reserved",
            "step": 1,
            "unit": "USD",
            "reserved_micro": 10,
            "held_micro": 10,
            "refunded_micro": 0,
            "usd_micro": 10,
            "usd_held_micro": 10,
            "usd_spent_micro": 0,
            "actor": "bench",
            "created_at": at,
            "updated_at": at,
        }
        return tuple(given.get(column) for column in RESERVATION.columns)

    def event(
        self, one: str, step: int, before: str | None, after: str, by: str | None, at: int
    ) -> tuple[object, ...]:
        return one, step, before, after, "bench", None, at, "2026-11", None, by, 10

    def transfer(
        self, one: str, kind: str, debit: str, credit: str, amount: int, reservation: str, at: int
    ) -> tuple[object, ...]:
        return (
            one, kind, debit, credit, amount, "USD", self.wallet_id, reservation,
            "2026-11", None, "bench", None, at,
        )  # fmt: skip

    def reserve_rows(self, number: int, at: int):
        one = f"res_{number:026}"
        txf = f"txf_{number:024}a0"
        content = '{"amount": "0.00001 USD", "operation": "reserve", "wallet": "team"}'
        yield self.inserts[RESERVATION], self.reservation(one, at)
        yield self.inserts[JOB_EVENT], self.event(one, 1, None, "reserved", None, at)
        yield (
            self.inserts[TRANSFER],
            self.transfer(txf, "reserve", self.available, self.reserved, 10, one, at),
        )
        yield self.inserts[IDEMPOTENCY], (f"key-{number}", content, one, at, None)

    def commit_rows(self, number: int, at: int):
        one = f"res_{number:026}"
        yield self.inserts[JOB_EVENT], self.event(one, 2, "reserved", "committed", "provider", at)
        spent = f"txf_{number:024}b0"
        back = f"txf_{number:024}b1"
        yield (
            self.inserts[TRANSFER],
            self.transfer(spent, "commit", self.reserved, "provider/unnamed", 8, one, at),
        )
        yield (
            self.inserts[TRANSFER],
            self.transfer(back, "return", self.reserved, self.available, 2, one, at),
        )


def plain_sqlite_batch(connection: sqlite3.Connection, plain: Plain, size: int) -> None:
    numbers = [next(_numbers) for _ in range(size)]
    at = time.time_ns() // 1000
    connection.execute("BEGIN IMMEDIATE")
    for number in numbers:
        connection.execute(plain.take, (10, plain.wallet_id, 10))
        for statement, row in plain.reserve_rows(number, at):
            connection.execute(statement, row)
    connection.execute("COMMIT")
    connection.execute("BEGIN IMMEDIATE")
    for number in numbers:
        connection.execute(plain.settle, (8, 10, plain.wallet_id))
        connection.execute(plain.change, (8, 8, at, f"res_{number:026}"))
        for statement, row in plain.commit_rows(number, at):
            connection.execute(statement, row)
    connection.execute("COMMIT")


@contextmanager
def plain_sqlite() -> Iterator[tuple[sqlite3.Connection, Plain]]:
    with sqlite_ledger() as ledger:
        path = Path(ledger.database.url.removeprefix("sqlite:///"))
        wallet_id = ledger.wallets.get("team").id
        with plain_file(path) as connection:
            yield connection, Plain(wallet_id, "?")


@contextmanager
def plain_file(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a ledger's file as the ledger does, so that plain SQL is as durable."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        yield connection


def rate(pairs: int, work: Callable[[], object], times: int = 1) -> float:
    """Return the pairs per second of some work that makes `pairs` each time."""
    started = time.perf_counter()
    for _ in range(times):
        work()
    return pairs * times / (time.perf_counter() - started)


def compare(
    name: str, floor: float, contenders: dict[str, Callable[[], float]], *, against: str = "plain"
) -> bool:
    """Run every contender in turn, several times; the first is measured `against` another."""
    found: dict[str, list[float]] = {one: [] for one in contenders}
    for _ in range(RUNS):
        for one, run in contenders.items():
            found[one].append(run())
    medians = {one: statistics.median(rates) for one, rates in found.items()}
    ours, plain = medians[next(iter(medians))], medians[against]
    told = ", ".join(f"{one} {median:,.0f}/s" for one, median in medians.items())
    verdict = "ok" if ours / plain >= floor else "BELOW THE FLOOR"
    print(f"{name}: {ours / plain:.2f} x (at least {floor}): {told} pairs  {verdict}", flush=True)
    return ours / plain >= floor


def sqlite() -> list[bool]:
    """One caller, many callers and batches, each beside a plain loop on a file of its own."""
    with sqlite_ledger() as ledger, plain_sqlite() as (connection, plain):
        for _ in range(200):
            pair(ledger)
            plain_sqlite_batch(connection, plain, 1)

        def plain_rate(size: int, times: int) -> float:
            return rate(size, lambda: plain_sqlite_batch(connection, plain, size), times)

        return [
            compare(
                "SQLite, one caller",
                0.5,
                {
                    "ours": lambda: rate(1, lambda: pair(ledger), 1000),
                    "plain": lambda: plain_rate(1, 1000),
                },
            ),
            compare(
                "SQLite, 64 callers against one plain caller",
                2,
                {
                    "ours": lambda: rate(6400, lambda: callers(ledger, 64, 6400)),
                    "plain": lambda: plain_rate(1, 1000),
                },
            ),
            compare(
                "SQLite, batches of 100",
                0.4,
                {
                    "ours": lambda: rate(100, lambda: batch(ledger, 100), 30),
                    "plain": lambda: plain_rate(100, 30),
                },
            ),
        ]


# --- PostgreSQL: one hot wallet, two budgets, eight clients ------------------------------------

CLIENTS = 8
TURN_S = 1.5
_BUDGETS = ("everything", "runs")


def plain_postgres_pair(connection: psycopg.Connection[Any], plain: Plain, number: int) -> None:
    """One statement after another, each with a round trip of its own, as one writes it by hand."""
    at = time.time_ns() // 1000
    with connection.transaction():
        connection.execute(
            "SELECT result_id FROM idempotency WHERE key = %s", (f"key-{number}",)
        ).fetchone()
        for budget in _BUDGETS:
            connection.execute(
                "UPDATE plain_window SET held = held + 10"
                " WHERE budget = %s AND held + spent + 10 <= 1000000000000",
                (budget,),
            )
        connection.execute(plain.take, (10, plain.wallet_id, 10))
        for statement, row in plain.reserve_rows(number, at):
            connection.execute(statement, row)
    with connection.transaction():
        connection.execute(
            "SELECT * FROM reservation WHERE id = %s", (f"res_{number:026}",)
        ).fetchone()
        for budget in _BUDGETS:
            connection.execute(
                "UPDATE plain_window SET held = held - 10, spent = spent + 8 WHERE budget = %s",
                (budget,),
            )
        connection.execute(plain.settle, (8, 10, plain.wallet_id))
        connection.execute(plain.change, (8, 8, at, f"res_{number:026}"))
        for statement, row in plain.commit_rows(number, at):
            connection.execute(statement, row)


def client(kind: str, url: str, wallet_id: str, orders: Any, counts: Any) -> None:
    """One process: works for a turn whenever it is told to, and says how many pairs it made."""
    with Ledger(url, actor="bench") as ledger:
        address = url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(address, autocommit=True) as connection:
            plain = Plain(wallet_id, "%s")
            works: dict[str, tuple[int, Callable[[], object]]] = {
                "ours": (1, lambda: pair(ledger)),
                "ours in batches of 100": (100, lambda: batch(ledger, 100)),
                "plain": (1, lambda: plain_postgres_pair(connection, plain, next(_numbers))),
            }
            pairs, work = works[kind]
            work()
            counts.put(0)
            while (ends_at := orders.get()) is not None:
                made = 0
                while time.monotonic() < ends_at:
                    work()
                    made += pairs
                counts.put(made)


class Clients:
    """Eight processes on one wallet that work at the same time, one turn after another."""

    def __init__(self, kind: str, url: str, wallet_id: str) -> None:
        fresh = multiprocessing.get_context("spawn")
        self._orders = [fresh.Queue() for _ in range(CLIENTS)]
        self._counts = fresh.Queue()
        self._processes = [
            fresh.Process(target=client, args=(kind, url, wallet_id, orders, self._counts))
            for orders in self._orders
        ]
        for process in self._processes:
            process.start()
        for _ in self._processes:
            self._counts.get(timeout=60)

    def rate(self) -> float:
        """Work for a turn and return the pairs per second of all together."""
        started = time.monotonic()
        for orders in self._orders:
            orders.put(started + TURN_S)
        made = sum(int(self._counts.get(timeout=60)) for _ in self._processes)
        return made / (time.monotonic() - started)

    def stop(self) -> None:
        for orders in self._orders:
            orders.put(None)
        for process in self._processes:
            process.join(60)


@contextmanager
def clients(kind: str, url: str, wallet_id: str) -> Iterator[Clients]:
    working = Clients(kind, url, wallet_id)
    try:
        yield working
    finally:
        working.stop()


def postgres_ledger(url: str, *, slots: int = 0) -> str:
    """Make a ledger with a wallet and two budgets over it, and windows for the plain loop."""
    with Ledger(url, actor="bench") as ledger:
        ledger.use_slots(slots)
        wallet = ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", FUNDS)
        for name in _BUDGETS:
            ledger.budgets.set(name, FUNDS, window="month")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE plain_window (budget text PRIMARY KEY, held bigint, spent bigint)"
        )
        for name in _BUDGETS:
            connection.execute("INSERT INTO plain_window VALUES (%s, 0, 0)", (name,))
    return wallet.id


HOT = "PostgreSQL, one hot wallet, two budgets, 8 clients"
SLOTS = 32
COMMIT_TAKES_MS = (2, 5)
"""A disk over a network, and a second server that has each commit too."""


def let_commits_take(server: PostgresServer, ms: int) -> None:
    """Let each write of the log wait: what is in memory, as the server of the tests, takes none."""
    for setting in (f"commit_delay = {ms * 1000}", "commit_siblings = 0"):
        server.run(sql.Composed([sql.SQL(f"ALTER SYSTEM SET {setting}")]))
    server.run(sql.Composed([sql.SQL("SELECT pg_reload_conf()")]))
    time.sleep(0.5)


def postgres() -> list[bool]:
    """Eight clients on one wallet with two budgets, beside eight that send plain statements."""
    with postgres_server() as server:
        url, url_with_slots = server.new_database(), server.new_database()
        wallet_id = postgres_ledger(url)
        postgres_ledger(url_with_slots, slots=SLOTS)
        names = ("ours", "ours in batches of 100", "plain")
        with (
            clients(names[0], url_with_slots, wallet_id) as slots,
            clients(names[0], url, wallet_id) as ours,
            clients(names[1], url, wallet_id) as batches,
            clients(names[2], url, wallet_id) as plain,
        ):
            fine = [
                compare(
                    HOT,
                    1.5,
                    {"ours": ours.rate, "with slots": slots.rate, "plain": plain.rate},
                ),
                compare(
                    "PostgreSQL, batches of 100 against plain single pairs",
                    10,
                    {"ours in batches": batches.rate, "plain": plain.rate},
                ),
            ]
            with_and_without = {"with slots": slots.rate, "without": ours.rate}
            fine.append(
                compare(f"{HOT}, with slots, no wait", 0.9, with_and_without, against="without")
            )
            for ms in COMMIT_TAKES_MS:
                let_commits_take(server, ms)
                name = f"{HOT}, with slots, a commit takes {ms} ms"
                fine.append(compare(name, 3, with_and_without, against="without"))
            return fine


# --- growth -----------------------------------------------------------------------------------

SMALL, LARGE = 10_000, 1_000_000


def fill(ledger: Ledger, pairs: int) -> None:
    for _ in range(pairs // 1000):
        batch(ledger, 1000)


def size_of(ledger: Ledger) -> int:
    return Path(ledger.database.url.removeprefix("sqlite:///")).stat().st_size


def median_us(work: Callable[[], object], times: int) -> float:
    """Return the median time of one call, in microseconds."""
    taken = []
    for _ in range(times):
        started = time.perf_counter_ns()
        work()
        taken.append(time.perf_counter_ns() - started)
    return statistics.median(taken) / 1000


def opening(url: str) -> None:
    with Ledger(url, create=False) as ledger:
        ledger.wallets.get("team")


def growth() -> list[bool]:
    """The same calls on a small ledger and on a large one, in turn."""
    with sqlite_ledger() as small, sqlite_ledger() as large:
        fill(small, SMALL)
        empty = size_of(small)
        fill(large, LARGE)
        each = (size_of(large) - empty) / (LARGE - SMALL)
        print(f"on disk: {each:,.0f} bytes a pair (at most 2000)", flush=True)
        calls: dict[str, tuple[float, int, Callable[[Ledger], object]]] = {
            "reserve and commit": (1.2, 300, pair),
            "open and wallet show": (1.2, 100, lambda ledger: opening(ledger.database.url)),
            "wallet show": (1.2, 300, lambda ledger: ledger.wallets.get("team")),
            # The few that are found in a large ledger lie in more pages than in a small one.
            "list of all": (2, 100, lambda ledger: ledger.reservations.latest()),
            "list of a wallet": (2, 100, lambda ledger: ledger.reservations.latest(wallet="team")),
            "list of a state that none has": (
                2,
                300,
                lambda ledger: ledger.reservations.latest(state=State.EXPIRED),
            ),
            "list of a model that none has": (
                2,
                300,
                lambda ledger: ledger.reservations.latest(model="kling-3.0"),
            ),
        }
        fine = [each <= 2000]
        for name, (most, times, call) in calls.items():
            ratios = []
            for _ in range(RUNS):
                at_small = median_us(partial(call, small), times)
                at_large = median_us(partial(call, large), times)
                ratios.append(at_large / at_small)
            ratio = statistics.median(ratios)
            print(
                f"{name} at {LARGE:,} against {SMALL:,}: {ratio:.2f} x (at most {most}),"
                f" last {at_large:,.0f} against {at_small:,.0f} µs"
                f"  {'ok' if ratio <= most else 'ABOVE THE LIMIT'}",
                flush=True,
            )
            fine.append(ratio <= most)
    return fine


PARTS = {"sqlite": sqlite, "postgres": postgres, "growth": growth}


def main() -> int:
    chosen = sys.argv[1:] or list(PARTS)
    if not set(chosen) <= PARTS.keys():
        print(f"usage: python -m benchmarks.ledger [{'] ['.join(PARTS)}]", file=sys.stderr)
        return 2
    fine = [fine for name in chosen for fine in PARTS[name]()]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
