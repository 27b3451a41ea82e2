"""A ledger where nothing can be written: what reads works, what writes says that it cannot."""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg
import pytest

from kling_ledger.ledger import Ledger
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.postgres_transaction import lock_key
from kling_ledger.ledger.schema import SCHEMA_VERSION
from kling_pricing import Money
from tests.cli import COMMAND
from tests.postgres import PostgresServer

READING: Final = (
    ("wallet", "list"),
    ("budget", "list"),
    ("reservation", "list"),
    ("report", "spend"),
    ("verify",),
    ("db", "status"),
)
WRITING: Final = (
    ("wallet", "create", "other"),
    ("wallet", "fund", "team", "1"),
    ("reservation", "create", "--wallet", "team", "--amount", "1"),
    ("budget", "set", "film", "--limit", "1"),
)
_DROP_FROM_BOUNDING_SET: Final = 24
_DAC_OVERRIDE: Final = 1


def _bound_by_modes() -> None:
    """Let the modes of files bind this process, whoever it is, from its next program on."""
    ctypes.CDLL(None).prctl(_DROP_FROM_BOUNDING_SET, _DAC_OVERRIDE, 0, 0, 0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that anybody may look into: those of pytest are for their owner alone."""
    made = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        made.chmod(0o755)
        with Ledger(str(made / "ledger.sqlite")) as ledger:
            ledger.wallets.create("team", "USD")
            ledger.wallets.fund("team", Money.parse("5 USD"))
            ledger.commit(ledger.reserve("team", Money.parse("2 USD")).id)
        yield made
    finally:
        made.chmod(0o755)
        shutil.rmtree(made)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody who may read the folder and not write there."""
    folder.chmod(0o555)
    environ = {**os.environ, "KLING_LEDGER_DB": str(folder / "ledger.sqlite")}
    return subprocess.run(
        [COMMAND, *words],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=_bound_by_modes,
    )


@pytest.mark.parametrize("is_in_use", [False, True])
def test_whoever_may_only_read_reads_the_same(folder: Path, *, is_in_use: bool) -> None:
    with Ledger(str(folder / "ledger.sqlite")) as ledger:
        if not is_in_use:
            ledger.close()
        else:
            # What was written last is in the log.
            ledger.wallets.fund("team", Money.parse("1 USD"))
        for words in READING:
            done = run(folder, *words)
            assert (done.returncode, "error" in done.stderr) == (0, False), done.stderr
        told = run(folder, "wallet", "show", "team", "--format", "csv").stdout
    assert ("4" if is_in_use else "3") in told.splitlines()[1].split(",")


def test_whoever_may_only_read_is_told_so_when_they_write(folder: Path) -> None:
    for words in WRITING:
        done = run(folder, *words)
        assert done.returncode == 1
        assert "is read-only" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_ledger_cannot_be_made_where_nothing_can_be_written(folder: Path) -> None:
    done = run(folder, "wallet", "create", "team", "--db", str(folder / "new.sqlite"))
    assert done.returncode == 1
    assert "this user cannot write to its folder" in done.stderr


def test_a_log_that_cannot_be_read_is_never_left_out(folder: Path) -> None:
    file = folder / "ledger.sqlite"
    with Ledger(str(file)) as ledger:
        ledger.wallets.fund("team", Money.parse("1 USD"))
        copies = {end: Path(f"{file}{end}").read_bytes() for end in ("", "-wal")}
    for end, content in copies.items():
        Path(f"{file}{end}").write_bytes(content)
    Path(f"{file}-shm").unlink(missing_ok=True)
    done = run(folder, "wallet", "list")
    assert done.returncode == 1
    assert "the latest changes are in ledger.sqlite-wal" in done.stderr


_LONG_READ: Final = """
import sys
from pathlib import Path
from kling_ledger.errors import DatabaseError
from kling_ledger.ledger.engines.read_only import reading_only
try:
    with reading_only(Path(sys.argv[1]), timeout_s=5) as connection:
        connection.execute("SELECT 1 FROM wallet").fetchall()
        print("reading", flush=True)
        sys.stdin.readline()
except DatabaseError as error:
    print(error.retryable, error)
else:
    print("read")
"""


@pytest.mark.parametrize("is_written", [False, True])
def test_whoever_was_overtaken_while_reading_is_told_so(folder: Path, *, is_written: bool) -> None:
    file = folder / "ledger.sqlite"
    folder.chmod(0o555)
    with subprocess.Popen(
        [sys.executable, "-c", _LONG_READ, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_bound_by_modes,  # noqa: PLW1509 - no thread runs here
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        folder.chmod(0o755)
        if is_written:
            with Ledger(str(file)) as ledger:
                ledger.wallets.fund("team", Money.parse("1 USD"))
        told, _ = reader.communicate("\n", timeout=60)
    expected = f"True {file} was written to while it was read" if is_written else "read"
    assert told.strip() == expected


def test_a_backup_is_taken_from_where_nothing_can_be_written(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as elsewhere:
        Path(elsewhere).chmod(0o777)
        done = run(folder, "db", "backup", f"{elsewhere}/copy.sqlite")
        assert done.returncode == 0, done.stderr
        with Ledger(f"{elsewhere}/copy.sqlite", create=False) as copy:
            assert copy.wallets.get("team").posted == Money.parse("3 USD")


def test_asking_for_the_version_waits_for_no_writer(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    Ledger(str(file)).close()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with closing(Database(f"sqlite:///{file}", create=False, any_version=True)) as database:
            assert database.version() == SCHEMA_VERSION


def test_asking_a_server_for_the_version_waits_for_no_writer(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    Ledger(url).close()
    with psycopg.connect(url.replace("+psycopg", "")) as other:
        (schema,) = other.execute("SELECT current_schema()").fetchone() or ("",)
        other.execute(f"SELECT pg_advisory_xact_lock({lock_key(schema)})")
        with closing(Database(url, create=False, any_version=True)) as database:
            assert database.version() == SCHEMA_VERSION
