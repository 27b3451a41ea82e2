"""How long the live page's figures take to read, in a large ledger and in a small one.

    python -m benchmarks.glance [JOBS]

A year of JOBS jobs (300,000 unless said), each reserved and nearly all committed by the ledger
itself, on both engines; a twelfth of them is of the present month. Told are the first read, which
works out what had been spent when the day and the month began, and the median of those after it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kling_ledger.gateway.glance import Glances
from kling_ledger.ledger import Asked, Change, Job, Ledger, Scope, State
from kling_pricing.money import Money
from tests.postgres import postgres_server

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
AT_ONCE = 500
OPEN = 300
READS = 50
WALLETS = 8
MODELS = ("kling-2.6", "kling-3.0", "kling-3.0-omni")
PRICE, CHARGED = Money.parse("0.675 USD"), Money.parse("0.54 USD")


def fill(url: str, jobs: int) -> None:
    """Fill a ledger with a year that ends now; some of the last jobs stay open."""
    at = NOW - timedelta(days=365)
    with Ledger(url, actor="bench", clock=lambda: at) as ledger:
        for number in range(WALLETS):
            ledger.wallets.create(f"wallet-{number}", "USD")
            ledger.wallets.fund(f"wallet-{number}", Money.parse("10000000 USD"))
        for number in range(WALLETS):
            scope = Scope(wallet=f"wallet-{number}")
            ledger.budgets.set(f"daily-{number}", Money.parse("100000 USD"), scope=scope)
        ledger.budgets.set("monthly", Money.parse("900000 USD"), window="month")
        for first in range(0, jobs, AT_ONCE):
            at = NOW - timedelta(days=365) * (1 - first / jobs)
            made = ledger.reserve_many([asked(number) for number in range(first, first + AT_ONCE)])
            ended = made if first + AT_ONCE < jobs else made[: AT_ONCE - OPEN]
            ledger.settle(
                [Change(one.id, State.COMMITTED, CHARGED, settled_by="provider") for one in ended]
            )
        at = NOW
        # Nothing was admitted under these: what they have is counted from the jobs themselves.
        for name, window in (("late-ever", "none"), ("late-monthly", "month")):
            scope = Scope(label="token=late")
            ledger.budgets.set(name, Money.parse("5 USD"), scope=scope, window=window)


def asked(number: int) -> Asked:
    job = Job(provider="runapi", model=MODELS[number % 3], action="text_to_video", usd=PRICE)
    wallet = f"wallet-{number % WALLETS}"
    labels = {"token": f"agent-{number % 20}"}
    return Asked(wallet, PRICE, job, f"film/{number % 40}", labels, f"key-{number}", None, None)


def measure(url: str) -> tuple[float, float, float]:
    """Return the milliseconds of the first read, and the median and worst of the others."""
    with Ledger(url, clock=lambda: NOW) as ledger:
        glances = Glances(ledger)
        taken = []
        for _ in range(READS):
            started = time.perf_counter()
            glances.read()
            taken.append((time.perf_counter() - started) * 1000)
    return taken[0], statistics.median(taken[1:]), max(taken[1:])


@contextmanager
def engines() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server:
        yield {"SQLite": str(Path(folder) / "ledger.sqlite"), "PostgreSQL": server.new_database()}


def main() -> None:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    for jobs in (3_000, many):
        with engines() as urls:
            for engine, url in urls.items():
                fill(url, jobs)
                first, median, worst = measure(url)
                print(
                    f"{engine}, {jobs:,} jobs: first read {first:.1f} ms,"
                    f" then median {median:.1f} ms, worst {worst:.1f} ms",
                    flush=True,
                )


if __name__ == "__main__":
    main()
