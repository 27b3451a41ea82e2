"""Health: a gateway is ready only while it can read and write, and answers in bounded time."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from kling_ledger import Ledger
from kling_ledger.gateway import health
from tests.gateway_exchanges import served
from tests.postgres import PostgresServer


def test_a_gateway_with_its_ledger_is_ready(url: str):
    with Ledger(url) as ledger, served(health.routes(ledger, lambda: True)) as address:
        for path in ("/healthz", "/readyz"):
            answer = httpx.get(f"{address}{path}")
            assert (answer.status_code, answer.text) == (200, "ok\n")
            assert httpx.head(f"{address}{path}").status_code == 200
            assert httpx.post(f"{address}{path}").status_code == 405


def test_a_look_changes_nothing(url: str):
    with Ledger(url) as ledger:
        ledger.wallets.create("team", "USD")
        before = ledger.wallets.get("team")
        with served(health.routes(ledger, lambda: True)) as address:
            assert httpx.get(f"{address}/readyz").status_code == 200
        assert ledger.wallets.get("team") == before


def test_a_closed_ledger_is_not_ready_and_the_process_is_healthy(url: str):
    ledger = Ledger(url)
    with served(health.routes(ledger, lambda: True)) as address:
        ledger.close()
        answer = httpx.get(f"{address}/readyz")
        assert answer.status_code == 503
        assert answer.text == "not ready: the ledger cannot be read (database)\n"
        # Where the ledger is, is nobody's business here.
        assert url.removeprefix("sqlite:///") not in answer.text
        assert httpx.get(f"{address}/healthz").status_code == 200


def test_a_ledger_that_can_only_be_read_is_not_ready(postgres: PostgresServer):
    url = postgres.new_database()
    Ledger(url).close()
    between = "&" if "?" in url else "?"
    option = urlencode({"options": "-cdefault_transaction_read_only=on"})
    with (
        Ledger(f"{url}{between}{option}") as ledger,
        served(health.routes(ledger, lambda: True)) as address,
    ):
        ledger.wallets.all()
        answer = httpx.get(f"{address}/readyz")
        assert answer.status_code == 503
        assert answer.text == "not ready: the ledger cannot be written to (database)\n"


def test_settlement_that_has_stopped_is_not_ready(ledger: Ledger):
    is_alive = [True]
    with served(health.routes(ledger, lambda: is_alive[0])) as address:
        assert httpx.get(f"{address}/readyz").status_code == 200
        is_alive[0] = False
        answer = httpx.get(f"{address}/readyz")
        assert (answer.status_code, answer.text) == (
            503,
            "not ready: settlement of open jobs has stopped\n",
        )


@pytest.mark.usefixtures("collected")
def test_a_ledger_that_hangs_is_answered_for_and_looked_at_once(ledger: Ledger, tmp_path: Path):
    """A write waits up to thirty seconds for another writer; who asks waits a tenth of one."""
    path = tmp_path / "ledger.sqlite"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        served(health.routes(ledger, lambda: True, within_s=0.1)) as address,
    ):
        other.execute("BEGIN IMMEDIATE")
        before = threading.active_count()
        for _ in range(5):
            answer = httpx.get(f"{address}/readyz")
            assert answer.status_code == 503
            assert answer.text == "not ready: the ledger did not answer within 0.1 seconds\n"
        # One thread that looks, and the ledger's own that writes.
        assert threading.active_count() <= before + 2
        other.execute("ROLLBACK")
        while httpx.get(f"{address}/readyz").status_code != 200:
            pass
