"""How fast a report is over a year of many jobs, beside a bare SQL GROUP BY of the same question.

    python benchmarks/reports.py [--rows 1000000] [--runs 5] [--quotes]

The question is spend by month, project and provider. The ledger is an SQLite file whose rows are
written with plain SQL: 50 projects, 4 providers, two units, one job in twenty failed; with
`--quotes` each row carries a quote of 1 kB, as `run` keeps it. Both ways take turns in one warm
process and must agree to the last millionth. Memory is the highest of a process of its own that
makes one report, everything that it imports included.
"""

from __future__ import annotations

import argparse
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kling_ledger.ledger import Ledger
from kling_reports import spend
from kling_reports.groups import read_groups
from kling_reports.query import Query
from kling_reports.report import Report

MOST_S = 1.0
MOST_MB = 300
MOST_TIMES = 3.0
QUERY = Query(
    now=datetime(2026, 1, 1, tzinfo=UTC), by=read_groups(["month", "project", "provider"])
)

BARE = """
SELECT strftime('%Y-%m', created_at / 1000000, 'unixepoch') AS month, project, provider, unit,
       SUM(state = 'committed'), SUM(state = 'rolled_back'),
       SUM(COALESCE(committed_micro, 0) - refunded_micro), SUM(held_micro),
       SUM(CASE WHEN state = 'committed' THEN billed_seconds ELSE 0 END)
FROM reservation GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
FILL = """
WITH RECURSIVE number(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i < :rows - 1)
INSERT INTO reservation (
    id, wallet_id, state, step, unit, reserved_micro, held_micro, committed_micro, refunded_micro,
    usd_micro, usd_held_micro, usd_spent_micro, settled_by, project, labels, provider, model,
    action, seconds, billed_seconds, resolution, sound, quote, payload_hash, task_id, actor,
    created_at, updated_at
)
SELECT printf('res_%026d', i), iif(i % 4 = 3, :crun, :team),
       iif(i % 20 = 0, 'rolled_back', 'committed'), 4, iif(i % 4 = 3, 'crun-credit', 'USD'),
       675000 + i % 7, 0, iif(i % 20 = 0, NULL, 675000 + i % 5), 0, 675000, 0,
       iif(i % 20 = 0, 0, 675000), 'provider', 'film/project-' || (i * 7919 % 50),
       ',team=t' || (i % 9) || ',',
       CASE i % 4 WHEN 0 THEN 'runapi' WHEN 1 THEN 'evolink' WHEN 2 THEN 'uniall' ELSE 'crun' END,
       'kling-3.0', 'text_to_video', '5', 5, '1080p', 1, :quote, printf('%064d', i), 'task_' || i,
       'ann', 1735689600000000 + i * 31536000000000 / :rows,
       1735689660000000 + i * 31536000000000 / :rows
FROM number
"""


def fill(path: Path, rows: int, quote: str | None) -> None:
    with Ledger(str(path)) as ledger:
        team = ledger.wallets.create("team", "USD").id
        crun = ledger.wallets.create("crun", "crun-credit").id
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA synchronous = OFF")
        file.execute(FILL, {"rows": rows, "team": team, "crun": crun, "quote": quote})
        file.commit()
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def measure(path: Path, runs: int) -> tuple[list[float], list[float], list[float]]:
    ours, processor, bare = [], [], []
    with Ledger(str(path)) as ledger, closing(sqlite3.connect(path)) as file:
        for _ in range(runs):
            started, used = time.perf_counter(), time.process_time()
            answered = spend.report(ledger.database, QUERY)
            ours.append(time.perf_counter() - started)
            processor.append(time.process_time() - used)
            started = time.perf_counter()
            rows = file.execute(BARE).fetchall()
            bare.append(time.perf_counter() - started)
            agree(answered, rows)
    return ours, processor, bare


def agree(answered: Report, rows: list[Any]) -> None:
    frame = answered.main.frame
    names = [
        "project",
        "provider",
        "unit",
        "clips",
        "failed",
        "spent_micro",
        "reserved_micro",
        "seconds",
    ]
    months = frame["month"].dt.strftime("%Y-%m")
    found = [
        (month, *row)
        for month, row in zip(months, frame[names].itertuples(index=False), strict=True)
    ]
    assert found == rows, "the report and plain SQL disagree"


def peak_mb(path: Path) -> float:
    said = subprocess.run(
        [sys.executable, __file__, "--only", str(path)], capture_output=True, check=True, text=True
    )
    return float(said.stdout)


def one_report(path: Path) -> None:
    with Ledger(str(path)) as ledger:
        spend.report(ledger.database, QUERY)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(kilobytes / (1024 if sys.platform != "darwin" else 1024 * 1024))


def line(name: str, figure: float, most: float, unit: str) -> bool:
    is_met = figure <= most
    print(f"{name:42} {figure:8.3f} {unit:5} at most {most:g}  {'met' if is_met else 'MISSED'}")
    return is_met


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--rows", type=int, default=1_000_000)
    reader.add_argument("--runs", type=int, default=5)
    reader.add_argument("--quotes", action="store_true")
    reader.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    asked = reader.parse_args()
    if asked.only:
        one_report(asked.only)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        fill(path, asked.rows, "q" * 1000 if asked.quotes else None)
        ours, processor, bare = measure(path, asked.runs)
        mine, plain = statistics.median(ours), statistics.median(bare)
        print(f"{asked.rows} reservations, {path.stat().st_size / 1e6:.0f} MB, {asked.runs} runs")
        print(f"{'bare SQL GROUP BY':42} {plain:8.3f} s")
        print(f"{'spend, time on the processor alone':42} {statistics.median(processor):8.3f} s")
        met = [
            line("spend by month, project, provider", mine, MOST_S, "s"),
            line("  beside the bare SQL", mine / plain, MOST_TIMES, "times"),
            line("  memory, with all that is imported", peak_mb(path), MOST_MB, "MB"),
        ]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
