"""What the gateway adds to a submission, and how many it takes, beside the sandbox alone.

    pip install '.[test]'
    python -m benchmarks.gateway [--rounds 5] [--seconds 6] [--run-seconds 90]

In one run: submissions at a steady pace from 16 clients, as many as 64 clients get answered one
after the other, to the sandbox and through a gateway whose ledger is an SQLite file; then through
one on PostgreSQL, and, as what the gateway replaces, 64 callers that start `kling-ledger run` over
and over on that same ledger. Everywhere one wallet and two budgets hold every job. Sandbox and
gateway are processes of their own; jobs are settled meanwhile. Figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from kling_ledger.ledger import Ledger, Scope
from kling_pricing.money import Money
from tests.postgres import postgres_server

MOST_ADDED_MS: Final = 5.0
LEAST_RATE: Final = 300.0
LEAST_TIMES: Final = 4.0
PACED_CLIENTS: Final = 16
EACH_PER_S: Final = 5.0
CLOSED_CLIENTS: Final = 64
PATH: Final = "/api/v1/kling/text_to_video"
KEY: Final = "sandbox-key"
COMMAND: Final = (sys.executable, "-c", "from kling_ledger.cli import main; main()")
BODY: Final = {
    "model": "kling-3.0",
    "duration_seconds": 5,
    "output_resolution": "1080p",
    "enable_sound": True,
}

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Load:
    """What clients saw together: answers a second, how long they took, and which they were."""

    rate: float
    p50_ms: float
    p99_ms: float
    statuses: Counter[int]

    def __str__(self) -> str:
        return (
            f"{self.rate:,.0f}/s, p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.1f} ms,"
            f" {dict(self.statuses)}"
        )


def drive(url: str, *, clients: int, seconds: float, each_per_s: float | None = None) -> Load:
    """Submit from so many clients at once: each so often a second, or as soon as it is answered."""
    return asyncio.run(_drive(url, clients, seconds, each_per_s))


async def _drive(url: str, clients: int, seconds: float, each_per_s: float | None) -> Load:
    took: list[float] = []
    statuses: Counter[int] = Counter()
    begun = time.perf_counter()

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
        due = begun + (number / clients / each_per_s if each_per_s else 0)
        while (now := time.perf_counter()) < begun + seconds:
            if each_per_s:
                await asyncio.sleep(max(0.0, due - now))
                due += 1 / each_per_s
            sent = time.perf_counter()
            statuses[await _submit(url, reader, writer)] += 1
            took.append(time.perf_counter() - sent)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*map(client, range(clients)))
    rate = len(took) / (time.perf_counter() - begun)
    took.sort()
    p50, p99 = (1000 * took[int(len(took) * share)] for share in (0.5, 0.99))
    return Load(rate, p50, p99, statuses)


async def _submit(url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Send one job on an open connection, in as few steps as it takes; return the status."""
    parts = urlsplit(url)
    said = json.dumps({**BODY, "prompt": f"a lake {os.getpid()} {next(_numbers)}"})
    writer.write(
        f"POST {parts.path}{PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(said)}\r\n\r\n{said}".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


@contextmanager
def serving(*words: str, **environ: str) -> Iterator[str]:
    """Run a server of ours in a process of its own, and give its address."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*COMMAND, *words],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **environ},
        )
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.communicate()


def make_ledger(url: str) -> None:
    """Make one wallet and two budgets, all large enough for every job."""
    with Ledger(url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", Money.parse("1000000 USD"))
        limit = Money.parse("1000000 USD")
        ledger.budgets.set("all", limit, window="month")
        ledger.budgets.set("here", limit, scope=Scope(provider="runapi"), window="day")


@contextmanager
def gateway(sandbox: str, database: str) -> Iterator[str]:
    """Run a gateway with a new ledger, and give RunAPI's base URL there."""
    make_ledger(database)
    words = ("gateway", "--port", "0", "--wallet", "team", "--upstream", sandbox, "--no-log")
    with serving(*words, KLING_LEDGER_DB=database, RUNAPI_API_KEY=KEY) as url:
        yield f"{url}/runapi"


def measure(url: str, seconds: float) -> tuple[Load, Load]:
    """Return what a steady pace and what as many as possible look like, in this order."""
    paced = drive(url, clients=PACED_CLIENTS, seconds=seconds, each_per_s=EACH_PER_S)
    return paced, drive(url, clients=CLOSED_CLIENTS, seconds=seconds)


def tasks(sandbox: str) -> int:
    """Return how many jobs the sandbox has taken."""
    told: dict[str, Any] = httpx.get(f"{sandbox}/sandbox/truth?provider=runapi", timeout=60).json()
    return len(told["tasks"])


def separate_callers(sandbox: str, database: str, seconds: float) -> float:
    """Return how many jobs a second 64 callers start that each run `kling-ledger run`."""
    environ = {**os.environ, "KLING_LEDGER_DB": database, "RUNAPI_API_KEY": KEY}
    words = ("run", "--provider", "runapi", "--wallet", "team", "--base-url", sandbox)
    ends = time.perf_counter() + seconds
    codes: Counter[int] = Counter()

    def call() -> None:
        while time.perf_counter() < ends:
            said = json.dumps({**BODY, "prompt": f"a lake {next(_numbers)}"})
            command = [*COMMAND, *words, "--request", "-"]
            ran = subprocess.run(
                command, input=said.encode(), env=environ, capture_output=True, check=False
            )
            # A server with 100 connections turns some of them away: they call again.
            codes[ran.returncode] += 1

    before = tasks(sandbox)
    threads = [threading.Thread(target=call) for _ in range(CLOSED_CLIENTS)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = tasks(sandbox) - before
    print(f"callers ended with {dict(codes)}, and started {made} jobs")
    return made / (time.perf_counter() - begun)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--run-seconds", type=float, default=90)
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load before: {os.getloadavg()}")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        environ = ("--balance", "10000000 USD", "--job-seconds", "1")
        sandbox = stack.enter_context(serving("sandbox", "--port", "0", *environ))
        is_good = compare(sandbox, folder, given.rounds, given.seconds)
        database = stack.enter_context(postgres_server()).new_database()
        with gateway(sandbox, database) as url:
            drive(url, clients=CLOSED_CLIENTS, seconds=2)
            loads = [
                drive(url, clients=CLOSED_CLIENTS, seconds=given.seconds)
                for _ in range(given.rounds)
            ]
        ours = statistics.median(one.rate for one in loads)
        print(f"gateway on PostgreSQL, {CLOSED_CLIENTS} clients: {ours:,.0f}/s; {loads[-1]}")
        callers = separate_callers(sandbox, database, given.run_seconds)
        print(f"{CLOSED_CLIENTS} callers of `kling-ledger run` on PostgreSQL: {callers:.1f}/s")
    times = ours / callers
    print(f"times as many: {times:.1f}, wanted {LEAST_TIMES:g}; load after: {os.getloadavg()}")
    return 0 if is_good and times >= LEAST_TIMES else 1


def compare(sandbox: str, folder: str, rounds: int, seconds: float) -> bool:
    """Measure sandbox and gateway in turn; return whether the gateway is quick enough."""
    with gateway(sandbox, str(Path(folder) / "ledger.sqlite")) as url:
        for warm in (sandbox, url):
            drive(warm, clients=CLOSED_CLIENTS, seconds=2)
        alone, through = [], []
        for number in range(rounds):
            alone.append(measure(sandbox, seconds))
            through.append(measure(url, seconds))
            print(f"round {number + 1}, sandbox: paced {alone[-1][0]}; closed {alone[-1][1]}")
            print(f"round {number + 1}, gateway: paced {through[-1][0]}; closed {through[-1][1]}")
    added = statistics.median(
        ours[0].p50_ms - theirs[0].p50_ms for ours, theirs in zip(through, alone, strict=True)
    )
    rate = statistics.median(ours[1].rate for ours in through)
    print(f"added at p50, {PACED_CLIENTS} clients: {added:.2f} ms, wanted {MOST_ADDED_MS:g}")
    print(f"on SQLite, {CLOSED_CLIENTS} clients: {rate:,.0f}/s, wanted {LEAST_RATE:g}")
    return added <= MOST_ADDED_MS and rate >= LEAST_RATE


if __name__ == "__main__":
    sys.exit(main())
