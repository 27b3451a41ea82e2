"""Waiting for a turn: whoever has it is named, and all go on once it is free or given up."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.engines import writer
from tests.ledgers import usd
from tests.waiting import until

SAID_WITHIN_S = 5
GONE_ON_WITHIN_S = 10

WRITES_AND_STOPS = """
import os, signal, sys, time
from kling_ledger import Ledger
with Ledger(sys.argv[1]) as ledger:
    def stop(transaction):
        print("writing", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(60)  # the other threads stop first
    ledger.database.write(stop)
"""
WAITS = """
import sys
from kling_ledger import Ledger
from kling_pricing import Money
with Ledger(sys.argv[1]) as ledger:
    print("waits", flush=True)
    ledger.reserve("team", Money.parse("1 USD"), key="next")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "ledger.sqlite"
    with Ledger(str(made)) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10"))
    return made


@contextmanager
def process(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline()
            yield running
        finally:
            running.kill()


def reserved(path: Path) -> int:
    """How much is set aside in all, by the file's own arithmetic."""
    with closing(sqlite3.connect(path)) as file:
        return int(
            file.execute(
                "SELECT COALESCE(SUM(amount_micro), 0) FROM transfer WHERE kind = 'reserve'"
            ).fetchone()[0]
        )


def test_a_stopped_writer_is_named_and_all_go_on_once_it_is_killed(path, caplog):
    with (
        process(WRITES_AND_STOPS, path) as stopped,
        Ledger(str(path)) as ledger,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(ledger.reserve, "team", usd("1"))
        words = f"process {stopped.pid} has been writing since"
        until(lambda: words in caplog.text, within_s=SAID_WITHIN_S)
        assert not waiting.done()
        stopped.send_signal(signal.SIGKILL)
        waiting.result(timeout=GONE_ON_WITHIN_S)
    assert reserved(path) == 1_000_000


def test_one_that_was_stopped_while_it_was_next_is_named_too(path, caplog):
    with (
        Ledger(str(path)) as ledger,
        ThreadPoolExecutor(1) as pool,
        open(f"{path}-turn", "r+") as turn,  # noqa: PTH123 - a descriptor is locked
    ):
        fcntl.flock(turn, fcntl.LOCK_EX)
        with process(WAITS, path) as stopped:
            until(lambda: is_next(path, stopped.pid))
            stopped.send_signal(signal.SIGSTOP)
            until(lambda: is_stopped(stopped.pid))
            fcntl.flock(turn, fcntl.LOCK_UN)
            waiting = pool.submit(ledger.reserve, "team", usd("1"))
            until(lambda: f"process {stopped.pid} has been" in caplog.text, within_s=SAID_WITHIN_S)
            stopped.send_signal(signal.SIGKILL)
            waiting.result(timeout=GONE_ON_WITHIN_S)
    assert reserved(path) == 1_000_000


def is_next(path: Path, pid: int) -> bool:
    return Path(f"{path}-next").read_text().startswith(f"{pid} ")


def is_stopped(pid: int) -> bool:
    return ") T " in Path(f"/proc/{pid}/stat").read_text()


def test_a_lock_of_a_stranger_is_told_as_such(path, caplog):
    with (
        open(f"{path}-turn", "r+") as turn,  # noqa: PTH123 - a descriptor is locked
        Ledger(str(path)) as ledger,
        ThreadPoolExecutor(1) as pool,
    ):
        os.pwrite(turn.fileno(), b"1073741824 1795694400 ".ljust(48), 0)
        fcntl.flock(turn, fcntl.LOCK_EX)
        waiting = pool.submit(ledger.reserve, "team", usd("1"))
        until(lambda: "another program holds the file" in caplog.text, within_s=SAID_WITHIN_S)
        fcntl.flock(turn, fcntl.LOCK_UN)
        waiting.result(timeout=GONE_ON_WITHIN_S)


def test_a_transaction_of_another_program_is_told_and_waited_for(path, caplog):
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as shell,
        Ledger(str(path)) as ledger,
        ThreadPoolExecutor(1) as pool,
    ):
        shell.execute("BEGIN IMMEDIATE")
        waiting = pool.submit(ledger.reserve, "team", usd("1"))
        until(lambda: "another program holds the file" in caplog.text, within_s=SAID_WITHIN_S)
        shell.execute("ROLLBACK")
        waiting.result(timeout=GONE_ON_WITHIN_S)
    assert reserved(path) == 1_000_000


def test_whoever_has_waited_for_long_gives_up_and_nothing_of_it_is_written_later(path, monkeypatch):
    monkeypatch.setattr(writer, "GIVEN_UP_AFTER_S", 1.0)
    with Ledger(str(path)) as ledger:
        with process(WRITES_AND_STOPS, path) as stopped:
            with ThreadPoolExecutor(8) as pool:
                waiting = [pool.submit(ledger.reserve, "team", usd("1")) for _ in range(8)]
                failed = [one.exception(timeout=20) for one in waiting]
            for error in failed:
                assert isinstance(error, DatabaseError)
                assert error.retryable
                assert f"process {stopped.pid} has been writing since" in error.message
                assert "nothing was changed" in error.message
            stopped.send_signal(signal.SIGKILL)
        assert ledger.reserve("team", usd("2")).amount == usd("2")
    assert reserved(path) == 2_000_000


def test_a_ledger_that_gave_up_can_be_closed_while_the_holder_is_still_there(path, monkeypatch):
    monkeypatch.setattr(writer, "GIVEN_UP_AFTER_S", 1.0)
    with (
        process(WRITES_AND_STOPS, path) as stopped,
        pytest.raises(DatabaseError, match=f"process {stopped.pid} has been writing"),
        Ledger(str(path)) as ledger,
    ):
        ledger.reserve("team", usd("1"))
    assert reserved(path) == 0


def test_the_command_line_says_for_whom_it_waits(path):
    with process(WRITES_AND_STOPS, path) as stopped:
        command = "from kling_ledger.cli import main; main()"
        arguments = ["wallet", "fund", "team", "1 USD", "--db", str(path)]
        with subprocess.Popen(
            [sys.executable, "-c", command, *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        ) as fund:
            assert fund.stderr is not None
            killing = threading.Timer(SAID_WITHIN_S + 3, stopped.kill)
            killing.start()
            told = fund.stderr.read()
            assert fund.wait(GONE_ON_WITHIN_S) == 0
            killing.join()
    assert f"process {stopped.pid} has been writing since" in told


def test_a_turn_that_comes_soon_is_not_talked_about(path, caplog):
    caplog.set_level(logging.WARNING, "kling_ledger.database")
    with Ledger(str(path)) as ledger, ThreadPoolExecutor(16) as pool:
        for one in [pool.submit(ledger.reserve, "team", usd("0.01")) for _ in range(200)]:
            one.result(timeout=60)
    assert "waiting to write" not in caplog.text
    assert reserved(path) == 2_000_000
