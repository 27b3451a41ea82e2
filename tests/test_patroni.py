"""A leader that is killed under load: another takes over, and nothing that was told is untrue.

Run it with `pytest -m cluster -n 0 tests/test_patroni.py`; `KLING_LEDGER_TEST_RUNS` says how often.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from kling_ledger.ledger import Ledger
from tests import server_load
from tests.ledger_worker import Nursery, nursery_running
from tests.patroni.cluster import Cluster, cluster, missing
from tests.server_load import Answer, Findings, check, longest_silence, read_logs
from tests.waiting import until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(missing() is not None, reason=missing() or "all is there"),
]

RUNS = int(os.environ.get("KLING_LEDGER_TEST_RUNS", "1"))
CALLERS = 6
BACK_WITHIN_S = 30


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with nursery_running() as running:
        yield running


@pytest.fixture
def running() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


def database_on(running: Cluster) -> str:
    """Make a database, and return the address that finds whichever server takes writes."""
    with psycopg.connect(running.address(), autocommit=True) as server:
        server.execute("CREATE DATABASE ledger")
    return running.address("ledger")


def calls_told(logs: Sequence[Path]) -> int:
    """Return how many calls were told done so far."""
    return sum(log.read_text().count('"told": "done"') for log in logs if log.exists())


def killed_under_load(
    nursery: Nursery, running: Cluster, url: str, folder: Path
) -> tuple[list[Answer], float]:
    """Let callers work, kill the leader, wait until they work again; return what they were told.

    And for how many seconds from then on nobody was told that anything was done.
    """
    stop, logs = folder / "stop", [folder / f"log-{number}" for number in range(CALLERS)]
    commands = [
        {"do": "load", "url": url, "log": str(log), "number": number, "stop": str(stop)}
        for number, log in enumerate(logs)
    ]
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(nursery.run, commands)
        try:
            until(lambda: calls_told(logs) > 200 * CALLERS, "callers at work", within_s=30)
            leader = running.leader()
            assert leader is not None
            leader.kill()
            killed_at, before = time.time(), calls_told(logs)
            until(
                lambda: calls_told(logs) > before + 50 * CALLERS,
                "callers at work again",
                within_s=2 * BACK_WITHIN_S,
            )
        finally:
            stop.touch()
        working.result()
    told = read_logs(logs)
    return told, longest_silence([row for row in told if row["at"] > killed_at - 1])


@pytest.mark.parametrize("run", range(RUNS))
def test_a_leader_killed_under_load_takes_nothing_with_it(nursery, running, tmp_path, run):
    url = database_on(running)
    server_load.set_up(url, CALLERS)
    told, silence_s = killed_under_load(nursery, running, url, tmp_path)
    findings = check(running.address("ledger"), told)
    words = Counter((row["do"], row["told"]) for row in told)
    print(f"run {run}: silent for {silence_s:.1f} s; {dict(words)}")  # noqa: T201 - with `-s`
    assert silence_s < BACK_WITHIN_S
    assert (findings.lost, findings.doubled) == ([], [])
    assert findings == Findings()
    with Ledger(url) as ledger:
        assert ledger.verify().is_clean


def test_a_cluster_may_be_named_in_either_way(running):
    database_on(running)
    for address in (running.address("ledger"), running.short_address("ledger")):
        with Ledger(address) as ledger:
            assert ledger.verify().is_clean
