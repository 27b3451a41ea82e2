"""How fairly processes take turns on one SQLite file, beside SQLite's own waiting.

    pip install '.[test]'
    python -m benchmarks.fairness [--processes 2 8 32] [--seconds 5] [--runs 5]

Every process makes pairs, one reservation and its commit, as fast as it can. A wait is what one
call took, from outside. At up to 8 processes no call of ours may wait over 500 ms and the slowest
process makes at least half the mean number of pairs, in every run. SQLite left to itself, with the
longest `busy_timeout` of ours and no turns, writes the same rows in the same run and shows what the
turns are for.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.ledger import CHARGED, FUNDS, RESERVED, Plain
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.engines.sqlite import BUSY_TIMEOUT_S

MOST_PROCESSES: Final = 8
"""How many processes the floors are for."""
MOST_WAIT_S: Final = 0.5
LEAST_SHARE: Final = 0.5

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Told:
    """What one process says: how many pairs it made, and its longest call."""

    pairs: int
    longest_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the processes of one run did together."""

    told: tuple[Told, ...]
    seconds: float

    @property
    def longest_s(self) -> float:
        return max(one.longest_s for one in self.told)

    @property
    def share(self) -> float:
        """What the slowest process made, as a share of the mean."""
        pairs = [one.pairs for one in self.told]
        return min(pairs) * len(pairs) / sum(pairs)

    @property
    def rate(self) -> float:
        return sum(one.pairs for one in self.told) / self.seconds

    @property
    def is_fair(self) -> bool:
        return self.longest_s <= MOST_WAIT_S and self.share >= LEAST_SHARE

    def __str__(self) -> str:
        return (
            f"longest call {self.longest_s * 1000:,.0f} ms, slowest/mean {self.share:.2f},"
            f" {self.rate:,.0f} pairs/s"
        )


def ours(path: str) -> Callable[[], tuple[Call, Call]]:
    """Return what makes the two calls of the next pair."""
    ledger = Ledger(path, actor="bench")
    numbers = itertools.count()

    def pair() -> tuple[Call, Call]:
        key = f"key-{os.getpid()}-{next(numbers)}"
        made: list[str] = []
        return (
            lambda: made.append(ledger.reserve("team", RESERVED, key=key).id),
            lambda: ledger.commit(made[0], CHARGED),
        )

    ledger.wallets.get("team")
    return pair


def plain(path: str) -> Callable[[], tuple[Call, Call]]:
    """Return what makes the two calls of the next pair, with SQLite's own waiting alone."""
    with Ledger(path) as ledger:
        wallet_id = ledger.wallets.get("team").id
    statements = Plain(wallet_id, "?")
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    numbers = itertools.count(os.getpid() * 10_000_000)

    def pair() -> tuple[Call, Call]:
        number, at = next(numbers), time.time_ns() // 1000

        def reserve() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(statements.take, (10, wallet_id, 10))
            for statement, row in statements.reserve_rows(number, at):
                connection.execute(statement, row)
            connection.execute("COMMIT")

        def commit() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(statements.settle, (8, 10, wallet_id))
            connection.execute(statements.change, (8, 8, at, f"res_{number:026}"))
            for statement, row in statements.commit_rows(number, at):
                connection.execute(statement, row)
            connection.execute("COMMIT")

        return reserve, commit

    return pair


def work(kind: Callable[[str], Callable[[], tuple[Call, Call]]], path, seconds, start, told):
    """Make pairs until the time is over, in a process of its own."""
    pair = kind(path)
    pairs, longest_s = 0, 0.0
    start.wait()
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        for call in pair():
            before = time.perf_counter()
            call()
            longest_s = max(longest_s, time.perf_counter() - before)
        pairs += 1
    told.put(Told(pairs, longest_s))


def run(kind, processes: int, seconds: float) -> Outcome:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "ledger.sqlite")
        with closing(Ledger(path)) as ledger:
            ledger.wallets.create("team", "USD")
            ledger.wallets.fund("team", FUNDS)
        start, told = context.Barrier(processes), context.Queue()
        arguments = (kind, path, seconds, start, told)
        running = [context.Process(target=work, args=arguments) for _ in range(processes)]
        for process in running:
            process.start()
        outcome = Outcome(tuple(told.get() for _ in running), seconds)
        for process in running:
            process.join()
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    is_fair = True
    for processes in given.processes:
        made: dict[str, list[Outcome]] = {"ours": [], "plain": []}
        for number in range(given.runs):
            for name, kind in (("ours", ours), ("plain", plain)):
                made[name].append(run(kind, processes, given.seconds))
                print(f"{processes} processes, run {number + 1}, {name}: {made[name][-1]}")
        for name, outcomes in made.items():
            print(f"{processes} processes, {name}: {summary(outcomes)}", flush=True)
        if processes <= MOST_PROCESSES and not all(one.is_fair for one in made["ours"]):
            print(f"{processes} processes: BELOW THE FLOOR")
            is_fair = False
    return 0 if is_fair else 1


def summary(outcomes: list[Outcome]) -> str:
    """Tell the median and the worst of several runs."""
    waits = [one.longest_s * 1000 for one in outcomes]
    shares = [one.share for one in outcomes]
    return (
        f"longest call {statistics.median(waits):,.0f} ms (worst {max(waits):,.0f}),"
        f" slowest/mean {statistics.median(shares):.2f} (worst {min(shares):.2f}),"
        f" {statistics.median(one.rate for one in outcomes):,.0f} pairs/s"
    )


if __name__ == "__main__":
    sys.exit(main())
