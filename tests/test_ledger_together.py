"""Reading together: several transactions that see one state, and sums that are shared out."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import pytest

from kling_ledger.ledger import Ledger
from kling_reports import spend
from kling_reports.report import Span
from tests.ledgers import usd
from tests.reports_ledger import START, Made, ledger_of, query

COPIES = """
WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < :copies)
INSERT INTO reservation (
    id, wallet_id, state, step, unit, reserved_micro, held_micro, committed_micro, refunded_micro,
    settled_by, project, provider, model, billed_seconds, payload_hash, actor, created_at,
    updated_at
)
SELECT printf('res_copy_%d', i), wallet_id, state, step, unit, reserved_micro, held_micro,
       committed_micro + i % 7, 0, settled_by, 'film/' || (i % 3), provider, model,
       iif(i = 90000, NULL, 5), payload_hash, actor, created_at + i, updated_at
FROM number, reservation WHERE reservation.rowid = 1
"""
MANY = 110_000
STATES = 12


@pytest.mark.parametrize("count", [1, 3])
def test_transactions_that_are_opened_together_see_one_state(database_url: str, count: int):
    stop = Event()
    with Ledger(database_url) as ledger:
        ledger.wallets.create("team", "USD")

        def write() -> None:
            while not stop.is_set():
                ledger.wallets.fund("team", usd("0.01"))

        writing = Thread(target=write)
        writing.start()
        try:
            seen: set[int] = set()
            while len(seen) < STATES:
                with ledger.database.read_together(count) as transactions:
                    found = {
                        transaction.rows("SELECT COUNT(*) AS n FROM transfer")[0]["n"]
                        for transaction in transactions
                    }
                    assert len(found) == 1
                    seen |= found
        finally:
            stop.set()
            writing.join()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with more jobs than are added up by one thread; one has no known seconds."""
    path = tmp_path_factory.mktemp("many") / "ledger.sqlite"
    with ledger_of(str(path), [Made()]):
        pass
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA synchronous = OFF")
        file.execute(COPIES, {"copies": MANY})
        file.commit()
    return path


def test_what_is_added_up_in_parts_is_the_whole(many: Path):
    with closing(sqlite3.connect(many)) as file:
        plain = file.execute(
            "SELECT project, COUNT(*), SUM(committed_micro), COUNT(billed_seconds)"
            " FROM reservation GROUP BY project ORDER BY project"
        ).fetchall()
    with Ledger(str(many)) as ledger:
        frame = spend.report(ledger.database, query("project")).main.frame
    figures = ["project", "clips", "spent_micro"]
    assert [tuple(row) for row in frame[figures].itertuples(index=False)] == [
        row[:3] for row in plain
    ]
    # The seconds of one job are not known: neither are those of its project, in no part.
    unknown = {row[0]: row[3] < row[1] for row in plain}
    assert dict(zip(frame["project"], frame["seconds"].isna(), strict=True)) == unknown
    assert sum(unknown.values()) == 1


def test_a_span_of_many_is_the_part_that_it_holds(many: Path):
    cut = START + timedelta(microseconds=MANY // 2)
    sums: dict[str, int] = defaultdict(int)
    with Ledger(str(many)) as ledger:
        for span in (Span(None, cut), Span(cut, None)):
            frame = spend.report(ledger.database, query("project", span=span)).main.frame
            for project, spent in zip(frame["project"], frame["spent_micro"], strict=True):
                sums[project] += int(spent)
        whole = spend.report(ledger.database, query("project")).main.frame
    assert dict(zip(whole["project"], map(int, whole["spent_micro"]), strict=True)) == sums
