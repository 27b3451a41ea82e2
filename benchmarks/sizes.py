"""How daily work grows from a thousand rows to a million, each kind beside its reference.

    python -m benchmarks.sizes [--largest 1000000] [--runs 5] [--only LETTER]

Ours and the reference do the same work in one warm process and take turns; a first round only
warms up, and then the median counts. A table and a plot end the run. A report has some fixed work,
so its ratio falls as the rows grow; a pair of reserve and commit should not notice the rows at all.
"""

from __future__ import annotations

import argparse
import csv
import math
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Final

from benchmarks import forms, ledger, quotes, reports
from kling_ledger.cli.report import report
from kling_ledger.ledger import Ledger
from kling_pricing.bulk import quote_table
from kling_reports import spend

SMALLEST: Final = 1_000
PAIRS: Final = 50
"""So many pairs make one run: a single one is too short to be timed."""

Works = tuple[Callable[[], object], Callable[[], object]]
"""Ours, and the reference."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Work on many rows, what it is compared with, and how many times as long it may take."""

    letter: str
    name: str
    reference: str
    most: float
    works: Callable[[int], AbstractContextManager[Works]]


@dataclass(frozen=True, slots=True)
class Point:
    """The median seconds of a subject and of its reference at one size."""

    subject: Subject
    rows: int
    ours_s: float
    reference_s: float

    @property
    def ratio(self) -> float:
        return self.ours_s / self.reference_s


@contextmanager
def quoting(rows: int) -> Iterator[Works]:
    """Price a table, beside a join of it with a list of finished prices."""
    every = quotes.table_of(quotes.ready_clips(), rows)
    frame = every.astype(dict.fromkeys(quotes.TEXTS, "category"))
    names = list(every)
    prices = every.drop_duplicates()
    prices = prices.assign(amount=range(len(prices)))
    yield partial(quote_table, frame, at=quotes.AT), partial(every.merge, prices, on=names)


@contextmanager
def reporting(rows: int) -> Iterator[Works]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        reports.fill(path, rows, None)
        with Ledger(str(path)) as ours, closing(sqlite3.connect(path)) as file:
            yield (
                partial(spend.report, ours.database, reports.QUERY),
                lambda: file.execute(reports.BARE).fetchall(),
            )


@contextmanager
def writing(rows: int) -> Iterator[Works]:
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "ledger.sqlite", Path(folder) / "lines.csv"
        forms.fill(path, rows)
        words = ["statement", "--db", str(path), "--table", "lines", "--out", str(out)]
        # The command says where it wrote; nobody asked here.
        with redirect_stderr(StringIO()):
            yield partial(report, words, standalone_mode=False), partial(written, path, out)


def written(path: Path, out: Path) -> None:
    with closing(sqlite3.connect(path)) as file, out.open("w", newline="") as to:
        csv.writer(to).writerows(file.execute(forms.BARE))


@contextmanager
def pairing(rows: int) -> Iterator[Works]:
    """Reserve and commit in a ledger that has so many jobs already."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        reports.fill(path, rows, None)
        with Ledger(str(path), actor="bench") as ours, ledger.plain_file(path) as file:
            ours.wallets.fund("team", ledger.FUNDS)
            plain = ledger.Plain(ours.wallets.get("team").id, "?")
            yield (
                partial(many, partial(ledger.pair, ours)),
                partial(many, partial(ledger.plain_sqlite_batch, file, plain, 1)),
            )


def many(work: Callable[[], object]) -> None:
    for _ in range(PAIRS):
        work()


SUBJECTS: Final = (
    Subject("A", "quote a table", "pandas: merge with a list of prices", 1.0, quoting),
    Subject("B", "spend by month, project, provider", "a bare GROUP BY", 3.0, reporting),
    Subject("C", "statement lines to CSV", "csv.writer", 3.5, writing),
    Subject("D", f"{PAIRS} pairs of reserve and commit", "plain SQL, same rows", 1.5, pairing),
)


def main(arguments: Sequence[str] | None = None) -> int:
    reader = argparse.ArgumentParser(prog="python -m benchmarks.sizes")
    reader.add_argument("--largest", type=int, default=1_000_000)
    reader.add_argument("--runs", type=int, default=5)
    reader.add_argument("--only", choices=[one.letter for one in SUBJECTS], action="append")
    asked = reader.parse_args(arguments)
    chosen = [one for one in SUBJECTS if not asked.only or one.letter in asked.only]
    points = [measured(one, rows, asked.runs) for one in chosen for rows in sizes_to(asked.largest)]
    print("\n".join([*table(points), "", *plot(points)]))
    return 0 if all(is_met(point, asked.largest) for point in points) else 1


def sizes_to(largest: int) -> list[int]:
    return [SMALLEST * 10**power for power in range(10) if SMALLEST * 10**power <= largest]


def measured(subject: Subject, rows: int, runs: int) -> Point:
    with subject.works(rows) as (ours, reference):
        took = quotes.medians({"ours": ours, "reference": reference}, runs)
    return Point(subject, rows, took["ours"], took["reference"])


def is_met(point: Point, largest: int) -> bool:
    """Tell whether a point keeps its bound, which is one of the largest size."""
    return point.rows < largest or point.ratio <= point.subject.most


def table(points: Sequence[Point]) -> Iterator[str]:
    """Yield a line a point: rows, our seconds, those of the reference, and the ratio."""
    yield f"   {'work':34} {'rows':>9} {'ours':>9} {'beside':>9} {'ratio':>6}  reference"
    for one in points:
        of = one.subject
        yield (
            f"{of.letter}  {of.name:34} {one.rows:9,} {one.ours_s:7.4f} s {one.reference_s:7.4f} s"
            f" {one.ratio:6.2f}  {of.reference}, at most {of.most:g} at the largest"
        )


def plot(points: Sequence[Point], *, height: int = 16, width: int = 16) -> Iterator[str]:
    """Yield the lines of a plot: seconds upwards, rows to the right, both in powers of ten.

    A letter is ours, the same in lower case its reference; a star is more than one of them.
    """
    marks = [
        (one.rows, took, letter)
        for one in points
        for took, letter in (
            (one.ours_s, one.subject.letter),
            (one.reference_s, one.subject.letter.lower()),
        )
    ]
    low = math.floor(math.log10(min(took for _, took, _ in marks)))
    high = math.ceil(math.log10(max(took for _, took, _ in marks)))
    each = height // max(high - low, 1)
    columns = sorted({rows for rows, _, _ in marks})
    cells: dict[tuple[int, int], str] = {}
    for rows, took, letter in marks:
        place = round((math.log10(took) - low) * each), columns.index(rows)
        cells[place] = letter if place not in cells else "*"
    for line in range((high - low) * each, -1, -1):
        scale = f"{10.0 ** (low + line // each):g} s" if line % each == 0 else ""
        drawn = "".join(cells.get((line, at), "").center(width) for at in range(len(columns)))
        yield f"{scale:>9} |{drawn}".rstrip()
    yield f"{'':9} +" + "-" * width * len(columns)
    yield f"{'rows':>9}  " + "".join(f"{rows:,}".center(width) for rows in columns).rstrip()


if __name__ == "__main__":
    sys.exit(main())
