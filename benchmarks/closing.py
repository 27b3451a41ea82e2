"""How long others wait while a month of many reservations is sealed, and while it is verified.

    pip install '.[test]'
    python -m benchmarks.closing [sqlite] [postgres]

A process of its own reserves one job after another and writes down its longest wait: first beside
nobody, then while the month is sealed, then while the ledger is verified.
"""

from __future__ import annotations

import itertools
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kling_ledger.ledger import Asked, Change, Job, Ledger, State
from kling_pricing.money import Money
from tests.postgres import postgres_server

RESERVATIONS = 200_000
MONTH, BEGAN, AFTER = "2026-01", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
RESERVED, CHARGED = Money.parse("0.000010 USD"), Money.parse("0.000008 USD")
ALONE_S = 3.0
LONGEST_MS = 100


class Clock:
    """A clock that goes on by a second whenever it is asked."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def fill(url: str) -> None:
    numbers = itertools.count()
    job = Job(provider="runapi", model="kling-2.6", action="text-to-video", seconds="5")
    with Ledger(url, clock=Clock(BEGAN), actor="bench") as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", Money.parse("1000000 USD"))
        for _ in range(RESERVATIONS // 1000):
            asked = [
                Asked("team", RESERVED, job=job, project="film/a", key=f"key-{next(numbers)}")
                for _ in range(1000)
            ]
            made = ledger.reserve_many(asked)
            ledger.settle(
                [Change(one.id, State.COMMITTED, CHARGED, settled_by="provider") for one in made]
            )


def reserving(url: str, asks: Any, answers: Any) -> None:
    """Reserve all the time; when asked, say how long the longest wait was since the last time."""
    with Ledger(url, clock=Clock(AFTER), actor="writer") as ledger:
        longest, waits = 0.0, 0
        while True:
            started = time.perf_counter()
            ledger.reserve("team", RESERVED)
            longest, waits = max(longest, time.perf_counter() - started), waits + 1
            if asks.empty():
                continue
            if asks.get() is None:
                return
            answers.put((longest * 1000, waits))
            longest, waits = 0.0, 0


@contextmanager
def writer(url: str) -> Iterator[Callable[[], tuple[float, int]]]:
    fresh = multiprocessing.get_context("spawn")
    asks, answers = fresh.Queue(), fresh.Queue()
    process = fresh.Process(target=reserving, args=(url, asks, answers))
    process.start()

    def longest_wait() -> tuple[float, int]:
        asks.put("longest")
        found: tuple[float, int] = answers.get(timeout=60)
        return found

    try:
        yield longest_wait
    finally:
        asks.put(None)
        process.join(60)


def measured(name: str, url: str) -> bool:
    fill(url)
    with writer(url) as longest_wait, Ledger(url, clock=Clock(AFTER), actor="bench") as ledger:
        longest_wait()
        time.sleep(ALONE_S)
        told = {"alone": (ALONE_S, *longest_wait())}
        works: dict[str, Callable[[], object]] = {
            "close --hard": lambda: ledger.periods.close(MONTH, hard=True),
            "verify": ledger.verify,
        }
        for work, run in works.items():
            started = time.perf_counter()
            run()
            told[work] = (time.perf_counter() - started, *longest_wait())
    with Ledger(url) as ledger:
        started = time.perf_counter()
        is_clean = ledger.verify().is_clean
        alone_s = time.perf_counter() - started
    for work, (took_s, wait_ms, waits) in told.items():
        print(f"{name}, {work}: {took_s:.1f} s, {waits} reserved, longest wait {wait_ms:.0f} ms")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name}, verify beside nobody: {alone_s:.2f} s, {peak_mb:.0f} MB, clean: {is_clean}")
    return is_clean and told["close --hard"][1] <= LONGEST_MS


def sqlite() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return measured("SQLite", str(Path(folder) / "ledger.sqlite"))


def postgres() -> bool:
    with postgres_server() as server:
        return measured("PostgreSQL", server.new_database())


PARTS = {"sqlite": sqlite, "postgres": postgres}


def main() -> int:
    chosen = sys.argv[1:] or list(PARTS)
    if not set(chosen) <= PARTS.keys():
        print(f"usage: python -m benchmarks.closing [{'] ['.join(PARTS)}]", file=sys.stderr)
        return 2
    return 0 if all(PARTS[name]() for name in chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
