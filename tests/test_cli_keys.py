"""Keys of commands that move money: one that loses its answer says how it is done once."""

from __future__ import annotations

import re
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from kling_ledger import Ledger
from kling_ledger.errors import ConflictError, KeyUsedError
from kling_ledger.ledger.engines import postgres
from tests.cli import Cli
from tests.ledgers import found, plain_url, usd
from tests.postgres import PostgresServer


@pytest.fixture
def cli(tmp_path: Path, postgres: PostgresServer) -> Cli:
    url = postgres.new_database()
    with Ledger(url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10"))
        ledger.budgets.set("film", usd("5"))
    return Cli(tmp_path, {"KLING_LEDGER_DB": url})


@contextmanager
def connections_die(cli: Cli) -> Iterator[None]:
    """Hold every write of others, and end whoever waits for it."""
    url = plain_url(cli.environ["KLING_LEDGER_DB"])
    is_over = threading.Event()

    def kill() -> None:
        with psycopg.connect(url, autocommit=True) as server:
            while not is_over.is_set():
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                time.sleep(0.05)

    with psycopg.connect(url) as holder:
        for table in ("transfer", "idempotency", "budget_raise"):
            holder.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE".encode())
        thread = threading.Thread(target=kill)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def committed(cli: Cli) -> str:
    with Ledger(cli.environ["KLING_LEDGER_DB"]) as ledger:
        made = ledger.reserve("team", usd("1"))
        return ledger.commit(made.id, usd("1")).id


@pytest.mark.parametrize("own_key", [None, "mine-1"])
@pytest.mark.parametrize(
    "words",
    [
        ["wallet", "fund", "team", "2 USD"],
        ["wallet", "adjust", "team", "-3 USD", "--reason", "a chargeback of 'May'"],
        ["budget", "raise", "film", "2 USD", "--until", "3d", "--reason", "finale"],
        ["reservation", "refund", "ID", "--amount", "0.4 USD", "--reason", "it was dark"],
        ["reservation", "correct", "ID", "--amount", "0.4 USD", "--reason", "their bill"],
    ],
    ids=lambda words: "-".join(words[:2]) if words else None,
)
def test_what_may_have_been_done_names_the_command_that_does_it_once(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str], own_key: str | None
):
    # How long it is insisted by itself is seen where a server is away, in test_ledger_lost.
    monkeypatch.setattr(postgres, "PATIENCE_S", 1.0)
    job = committed(cli)
    asked = [job if word == "ID" else word for word in words]
    asked += [] if own_key is None else ["--key", own_key]
    with connections_die(cli):
        said = cli(*asked)
    assert said.code == 1
    again = re.search(r"^  (kling-ledger .*)$", said.err, re.MULTILINE)
    assert again is not None, said.err
    repeated = shlex.split(again[1])[1:]
    assert repeated[:4] == asked[:4]
    key = repeated[repeated.index("--key") + 1]
    assert key == (own_key or key)
    # Twice: whoever loses the second answer too repeats it again.
    assert [cli(*repeated).code for _ in range(2)] == [0, 0]
    with Ledger(cli.environ["KLING_LEDGER_DB"]) as ledger:
        keys = found(ledger, "SELECT key FROM idempotency")
        assert ledger.verify().findings == ()
        standing, limit = ledger.wallets.get("team").posted, ledger.budgets.get("film").limit
    assert key in {row["key"] for row in keys}
    posted = {"fund": "11", "adjust": "6", "raise": "9", "refund": "9.4", "correct": "9.6"}
    assert standing == usd(posted[words[1]])
    assert limit == usd("7" if words[1] == "raise" else "5")


def test_a_password_is_not_printed_with_the_command(monkeypatch: pytest.MonkeyPatch):
    import sys

    from kling_ledger.cli.keys import repeated

    url = "postgresql://app:p@ss@host/ledger"
    monkeypatch.setattr(sys, "argv", ["kling-ledger", "wallet", "fund", "a", "1", "--db", url])
    told = repeated({"--key": "k"})
    assert "p@ss" not in told
    assert told.endswith("--db postgresql://app:...@host/ledger --key k")


def test_a_key_whose_job_was_rolled_back_says_so_and_what_to_do(ledger: Ledger, team: str):
    with ledger.reserving(usd("0.5"), wallet=team, key="shot-7") as first:
        first.roll_back("refused")
    with (
        pytest.raises(KeyUsedError, match="shot-7") as told,
        ledger.reserving(usd("0.5"), wallet=team, key="shot-7"),
    ):
        pytest.fail("the block was entered")
    assert (told.value.key, told.value.reservation_id) == ("shot-7", first.id)
    assert "rolled_back" in str(told.value)
    assert "another key" in (told.value.hint or "")
    with pytest.raises(ConflictError, match="shot-7"):
        ledger.reserve(team, usd("0.6"), key="shot-7")
