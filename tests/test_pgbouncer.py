"""Behind PgBouncer, in transaction and in session mode: exact, and whatever is told is true."""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kling_ledger.ledger import Ledger
from kling_pricing.money import Money
from tests import server_load
from tests.ledger_worker import Nursery, nursery_running
from tests.ledgers import plain_url
from tests.pgbouncer import PROGRAM, Pooler, pgbouncer
from tests.postgres import PostgresServer
from tests.server_load import CLIP, Findings, check, errors_told, read_logs, wrong_sums

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="pgbouncer is not installed: apt-get install pgbouncer"
)

CALLERS = 8
SERVER_CONNECTIONS = {"transaction": 3, "session": 3 * CALLERS}
"""In session mode a client keeps its connection for as long as it is there."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with nursery_running() as running:
        yield running


@pytest.fixture(scope="module", params=list(SERVER_CONNECTIONS))
def pooler(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Pooler]:
    mode = request.param
    with pgbouncer(postgres.address, mode, connections=SERVER_CONNECTIONS[mode]) as running:
        yield running


@pytest.fixture
def direct(postgres: PostgresServer) -> str:
    """The address of a new database on the server itself."""
    return postgres.new_database()


def test_processes_are_admitted_exactly_what_wallet_and_budgets_hold(nursery, pooler, direct):
    hundred = Money.from_micro(100 * CLIP.micro, "USD")
    url = pooler.address_of(direct)
    with Ledger(url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", hundred)
        ledger.budgets.set("all", hundred + CLIP)
        ledger.budgets.set("month", hundred + CLIP + CLIP, window="month")
    asked = {"do": "reserve", "path": url, "wallet": "team", "amount": str(CLIP), "tries": 16}
    told = sum((Counter(one) for one in nursery.run([asked] * CALLERS)), Counter())
    assert told == {"admitted": 100, "insufficient_credits": 28}
    with psycopg.connect(plain_url(direct)) as server:
        open_jobs = "SELECT count(*), sum(held_micro) FROM reservation WHERE state = 'reserved'"
        assert server.execute(open_jobs).fetchone() == (100, hundred.micro)
    assert wrong_sums(direct) == []
    with Ledger(url) as ledger:
        assert ledger.verify().is_clean


def has_worked(logs: Sequence[Path], since: float) -> bool:
    """Whether callers were told enough to judge by, or have had far more time than they need."""
    lines = sum(log.read_text().count("\n") for log in logs if log.exists())
    return lines > 20 * CALLERS or time.monotonic() > since + 20


def under_load(
    nursery: Nursery,
    url: str,
    direct: str,
    folder: Path,
    *,
    seconds: float,
    strike: Callable[[], object] | None = None,
) -> tuple[list[dict[str, Any]], Findings]:
    """Let callers work, strike at random moments, and return what they were told and what is so."""
    server_load.set_up(direct, CALLERS)
    stop, logs = folder / "stop", [folder / f"log-{number}" for number in range(CALLERS)]
    commands = [
        {"do": "load", "url": url, "log": str(log), "number": number, "stop": str(stop)}
        for number, log in enumerate(logs)
    ]
    chance = random.Random(2026)  # noqa: S311 - moments, no secret
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(nursery.run, commands)
        ends_at = time.monotonic() + seconds
        try:
            while time.monotonic() < ends_at or not has_worked(logs, ends_at):
                time.sleep(chance.uniform(0.05, 0.3))
                if strike is not None:
                    strike()
        finally:
            stop.touch()
        working.result()
    told = read_logs(logs)
    words = Counter(row["told"] for row in told)
    assert words["done"] > 10 * CALLERS, (words, errors_told(told)[:3])
    return told, check(direct, told)


def test_no_client_runs_the_statement_of_another(nursery, pooler, direct, tmp_path):
    told, findings = under_load(nursery, pooler.address_of(direct), direct, tmp_path, seconds=2)
    assert errors_told(told) == []
    assert findings == Findings()


def end_sessions(direct: str) -> None:
    """End every session that the pooler has on the server."""
    tell(
        direct,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


def test_what_is_told_is_true_while_sessions_are_ended(nursery, pooler, direct, tmp_path):
    _, findings = under_load(
        nursery,
        pooler.address_of(direct),
        direct,
        tmp_path,
        seconds=3,
        strike=lambda: end_sessions(direct),
    )
    assert findings == Findings()
    with Ledger(direct) as ledger:
        assert ledger.verify().is_clean


def drop_clients(pooler: Pooler, direct: str, chance: random.Random) -> None:
    """Drop every connection of a database, or make all its clients wait for a moment."""
    name = conninfo_to_dict(plain_url(direct))["dbname"]
    # A pause ends when clients leave: in session mode these never would.
    commands = ["KILL", "PAUSE"] if pooler.mode == "transaction" else ["KILL"]
    pooler.tell(f"{chance.choice(commands)} {name}", f"RESUME {name}")


def test_what_is_told_is_true_while_the_pooler_drops_its_clients(nursery, pooler, direct, tmp_path):
    chance = random.Random(7)  # noqa: S311 - moments, no secret
    _, findings = under_load(
        nursery,
        pooler.address_of(direct),
        direct,
        tmp_path,
        seconds=3,
        strike=lambda: drop_clients(pooler, direct, chance),
    )
    assert findings == Findings()
    with Ledger(direct) as ledger:
        assert ledger.verify().is_clean


def test_a_role_finds_its_schema_behind_a_pooler(postgres, direct):
    # An old pooler refuses `options` in an address; what is set for a role comes from the server.
    role = f"{postgres.name}_tenant_{secrets.token_hex(4)}"
    name = conninfo_to_dict(plain_url(direct))["dbname"]
    tell(direct, f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    try:
        tell(
            direct,
            f"CREATE SCHEMA team_a AUTHORIZATION {role}",
            f"ALTER ROLE {role} IN DATABASE {name} SET search_path = team_a",
        )
        as_role = make_conninfo(postgres.address, user=role, password="secret")
        with (
            pgbouncer(as_role, "transaction", connections=3) as pooler,
            Ledger(pooler.address_of(direct)) as ledger,
        ):
            ledger.wallets.create("team", "USD")
        with psycopg.connect(plain_url(direct)) as server:
            assert server.execute("SELECT name FROM team_a.wallet").fetchall() == [("team",)]
    finally:
        tell(direct, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


def tell(url: str, *statements: str) -> None:
    """Run statements on a server itself."""
    with psycopg.connect(plain_url(url), autocommit=True) as server:
        for statement in statements:
            server.execute(statement.encode())
