"""How fast a report becomes a page, and what memory that takes beyond the report itself.

    python benchmarks/pages.py [--lines 190000]

Two reports: the statement of a year with so many lines, and the overview of tests/reports_year.py.
Only the rendering is measured. The memory is the most that the process ever had, all that it
imports and the report itself included, and what rendering added to that.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kling_reports import statement
from kling_reports.doors.journal import TRANSFER_KINDS
from kling_reports.query import Query
from kling_reports.render import html
from kling_reports.report import DTYPES, Report
from tests.reports_year import year

MOST_S = 3.0
MOST_MB = 300
MOST_BYTES = 300_000


def lines(count: int) -> pd.DataFrame:
    """A year of charged jobs of one wallet, one transfer each."""
    number = np.arange(count)
    step_us = 365 * 86_400_000_000 // count
    start = pd.Timestamp("2026-01-01", tz="UTC").as_unit("us")
    columns: dict[str, Any] = dict.fromkeys(TRANSFER_KINDS)
    columns |= {
        "id": [f"txf_{at:026d}" for at in number],
        "created_at": start + pd.to_timedelta(number * step_us, unit="us"),
        "amount_micro": 675_000 + number % 7,
        "reservation_id": [f"res_{at:026d}" for at in number],
        "project": [f"film/project-{at % 50}" for at in number],
    }
    columns |= {"kind": "commit", "unit": "USD", "wallet": "team", "period": "2026-01"}
    columns |= {"provider": "runapi", "model": "kling-3.0", "actor": "ann"}
    kinds = {name: DTYPES[kind] for name, kind in TRANSFER_KINDS.items()}
    return pd.DataFrame(columns).astype(kinds)


def of_lines(transfers: pd.DataFrame) -> Report:
    """The statement of these lines."""
    sums = transfers.groupby(["wallet", "unit", "kind"], as_index=False)[["amount_micro"]].sum()
    summary = statement.statement(sums.assign(before=pd.array([False], "boolean")))
    query = Query(now=datetime(2027, 1, 2, tzinfo=UTC))
    tables = [summary, statement.entries(transfers, summary.frame)]
    return query.answer("statement", "Statement", question="What went in and out?", tables=tables)


def peak_mb() -> float:
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1024 if sys.platform != "darwin" else 1024 * 1024)


def line(name: str, figure: float, most: float, unit: str) -> bool:
    is_met = figure <= most
    print(f"{name:42} {figure:10.3f} {unit:5} at most {most:g}  {'met' if is_met else 'MISSED'}")
    return is_met


def measured(name: str, report: Report) -> list[bool]:
    before, started = peak_mb(), time.perf_counter()
    written = html.render(report)
    took = time.perf_counter() - started
    return [
        line(name, took, MOST_S, "s"),
        line("  memory, the report included", peak_mb(), MOST_MB, "MB"),
        line("  memory, rendering alone", peak_mb() - before, MOST_MB, "MB"),
        line("  size", len(written), MOST_BYTES, "bytes"),
    ]


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--lines", type=int, default=190_000)
    asked = reader.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        met = measured("overview of 10,000 jobs", year(Path(folder) / "ledger.sqlite"))
    met += measured(f"statement of {asked.lines:,} lines", of_lines(lines(asked.lines)))
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
