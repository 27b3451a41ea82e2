"""How fast and how small each form of a long table is, beside a bare csv.writer over the same rows.

    python benchmarks/forms.py [--rows 190000] [--runs 3] [--only json]

The report is the statement of a ledger in an SQLite file: so many transfers of as many jobs, in two
wallets of two units, written with plain SQL. Each form is written by a process of its own, as the
command line does it, from its start to its end: its memory is the highest of that process. The
reference writes the same columns from the same query with csv.writer, a tuple a row, in a process
of its own too: it takes turns with the forms, so what else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from kling_ledger.ledger import Ledger

FORMS: Final = {"json": 3.5, "csv": 3.5, "jsonl": 3.5, "parquet": 4.0, "xlsx": 8.0, "txt": 12.0}
"""How many times as long as the reference a form may take, on the processor."""

MOST_MB: Final = {"json": 200, "csv": 200, "jsonl": 200, "parquet": 300, "xlsx": 300, "txt": 250}
JOBS: Final = """
WITH RECURSIVE number(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i < :rows - 1)
INSERT INTO reservation (
    id, wallet_id, state, step, unit, reserved_micro, held_micro, committed_micro, refunded_micro,
    usd_micro, usd_held_micro, usd_spent_micro, settled_by, project, labels, provider, model,
    action, seconds, billed_seconds, resolution, sound, payload_hash, task_id, actor,
    created_at, updated_at
)
SELECT printf('res_%026d', i), iif(i % 4 = 3, :crun, :team), 'committed', 4,
       iif(i % 4 = 3, 'crun-credit', 'USD'), 675000 + i % 7, 0, 675000 + i % 5, 0, 675000, 0,
       675000, 'provider', 'film/project-' || (i * 7919 % 50), ',team=t' || (i % 9) || ',',
       CASE i % 4 WHEN 0 THEN 'runapi' WHEN 1 THEN 'evolink' WHEN 2 THEN 'uniall' ELSE 'crun' END,
       'kling-3.0', 'text_to_video', '5', 5, '1080p', 1, printf('%064d', i), 'task_' || i,
       'ann', 1735689600000000 + i * 31536000000000 / :rows,
       1735689660000000 + i * 31536000000000 / :rows
FROM number
"""
LINES: Final = """
INSERT INTO transfer (
    id, kind, debit_account, credit_account, amount_micro, unit, wallet_id, reservation_id, period,
    actor, created_at
)
SELECT 'txf_' || substr(id, 5), 'commit', 'wallet/' || wallet_id || '/reserved',
       'provider/' || provider, committed_micro, unit, wallet_id, id,
       strftime('%Y-%m', updated_at / 1000000, 'unixepoch'), actor, updated_at
FROM reservation
"""
BARE: Final = """
SELECT wallet.name, transfer.created_at, period, kind, amount_micro,
       SUM(-amount_micro) OVER (PARTITION BY transfer.wallet_id
                                ORDER BY transfer.created_at, transfer.id), transfer.unit,
       project, provider, model, reservation_id, corrects, transfer.actor, reason, transfer.id
FROM transfer JOIN wallet ON wallet.id = transfer.wallet_id
LEFT JOIN reservation ON reservation.id = transfer.reservation_id
ORDER BY wallet.name, transfer.created_at, transfer.id
"""


def fill(path: Path, rows: int) -> None:
    with Ledger(str(path)) as ledger:
        team = ledger.wallets.create("team", "USD").id
        crun = ledger.wallets.create("crun", "crun-credit").id
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA synchronous = OFF")
        # What keeps journals true is not what is measured.
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            file.execute(f'DROP TRIGGER "{name}"')
        file.execute(JOBS, {"rows": rows, "team": team, "crun": crun})
        file.execute(LINES)
        file.commit()
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def measured(form: str, path: Path, out: Path) -> tuple[float, float, float]:
    """Write a form in a process of its own: its seconds, those on the processor, its megabytes."""
    said = subprocess.run(
        [sys.executable, __file__, "--one", form, "--ledger", str(path), "--out", str(out)],
        capture_output=True,
        check=True,
        text=True,
    )
    seconds, processor, megabytes = json.loads(said.stdout.splitlines()[-1])
    return seconds, processor, megabytes


def write_one(form: str, path: Path, out: Path) -> None:
    started = time.perf_counter()
    if form == "bare":
        with closing(sqlite3.connect(path)) as file, out.open("w", newline="") as to:
            csv.writer(to).writerows(file.execute(BARE))
    else:
        from kling_ledger.cli.report import report

        words = ["statement", "--db", str(path), "--table", "lines", "--out", str(out)]
        report(words, standalone_mode=False)
    used = resource.getrusage(resource.RUSAGE_SELF)
    scale = 1e6 if sys.platform == "darwin" else 1024
    processor = used.ru_utime + used.ru_stime
    print(json.dumps([time.perf_counter() - started, processor, used.ru_maxrss / scale]))


def line(form: str, times: list[tuple[float, ...]], bare: float) -> bool:
    seconds, processor, megabytes = (statistics.median(one) for one in zip(*times, strict=True))
    ratio = processor / bare
    is_met: bool = ratio <= FORMS[form] and megabytes <= MOST_MB[form]
    print(
        f"{form:8} {seconds:8.2f} s  {processor:6.2f} s on the processor  {ratio:5.2f} times"
        f" (at most {FORMS[form]:g})  {megabytes:5.0f} MB (at most {MOST_MB[form]})"
        f"  {'met' if is_met else 'MISSED'}"
    )
    return is_met


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--rows", type=int, default=190_000)
    reader.add_argument("--runs", type=int, default=3)
    reader.add_argument("--only", choices=FORMS, action="append")
    for name in ("--one", "--ledger", "--out"):
        reader.add_argument(name, help=argparse.SUPPRESS)
    asked = reader.parse_args()
    if asked.one:
        write_one(asked.one, Path(asked.ledger), Path(asked.out))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        fill(path, asked.rows)
        forms = asked.only or list(FORMS)
        found: dict[str, list[Any]] = {form: [] for form in ("bare", *forms)}
        for _ in range(asked.runs):
            for form, times in found.items():
                times.append(measured(form, path, Path(folder) / f"lines.{form}"))
        seconds, bare, megabytes = map(statistics.median, zip(*found.pop("bare"), strict=True))
        print(f"{asked.rows} lines, {asked.runs} runs, each in a process of its own")
        print(f"csv.writer{seconds:7.2f} s  {bare:6.2f} s on the processor  {megabytes:22.0f} MB")
        met = [line(form, times, bare) for form, times in found.items()]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
