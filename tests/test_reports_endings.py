"""Endings that contradict themselves: what was charged though something was wrong, and doubts."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from kling_ledger.ledger import Job, Ledger
from kling_reports import failures, spend
from kling_reports import open as open_credits
from tests.ledgers import usd
from tests.reports_ledger import Made, ledger_of, query, rows, totals

CLIP = ("https://example.com/clip.mp4",)


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    """A ledger with jobs of every ending, the oldest first."""
    jobs = [Made(minute=minute, end="reserved") for minute in range(5)]
    jobs += [
        Made(minute=5, end="late", cost=50_000),
        Made(minute=6),
        Made(minute=7, end="in_doubt"),
    ]
    jobs += [Made(minute=8, end="rolled_back", provider="crun")]
    with ledger_of(empty_url, jobs) as made:
        empty, broken, doubted, odd, failed = (
            one.id for one in sorted(made.reservations.open(), key=lambda one: one.id)[:5]
        )
        cost = usd("0.675")
        made.commit(empty, cost, settled_by="quote", problem="it is completed without a clip")
        made.commit(
            broken,
            cost,
            problem="completed, and: the output was blocked",
            videos=CLIP,
            settled_by="provider",
        )
        made.mark_submitting(doubted)
        made.mark_in_doubt(doubted, "no reply to the submission")
        made.commit(doubted, cost, videos=CLIP, settled_by="provider")
        made.commit(
            odd,
            usd("2"),
            problem="charged 2 USD, 3 x what was held",
            videos=CLIP,
            settled_by="provider",
        )
        made.commit(
            failed,
            usd("0.1"),
            problem="the clip was refused; it was charged",
            settled_by="provider",
        )
        made.refund(failed, usd("0.04"), reason="half of it came back")
        yield made


def test_what_was_charged_though_something_was_wrong_is_listed_with_its_cost(ledger: Ledger):
    table = failures.report(ledger.database, query()).table("charged")
    assert rows(table, "problem", "has_clip", "charged", "settled_by") == [
        ("it is completed without a clip", False, Decimal("0.675"), "quote"),
        ("completed, and: the output was blocked", True, Decimal("0.675"), "provider"),
        ("charged 2 USD, 3 x what was held", True, Decimal(2), "provider"),
        ("the clip was refused; it was charged", False, Decimal("0.06"), "provider"),
        ("the clip could not be made", False, Decimal("0.05"), "provider"),
    ]
    assert totals(table, "unit", "charged") == [("USD", Decimal("3.46"))]


def test_a_doubt_that_ended_well_is_no_trouble(ledger: Ledger):
    told = failures.report(ledger.database, query())
    problems = [row[0] for table in told.tables[1:] for row in rows(table, "problem")]
    assert "no reply to the submission" not in problems


def test_what_is_no_clip_is_not_missed(tmp_path: Path):
    with ledger_of(str(tmp_path / "l"), []) as ledger:
        job = Job(provider="crun", action="custom_element")
        one = ledger.reserve("team", usd("1"), job=job).id
        ledger.mark_submitting(one)
        ledger.mark_in_doubt(one, "no reply")
        ledger.commit(one, usd("1"), settled_by="provider")
        assert rows(failures.report(ledger.database, query()).table("charged"), "id") == []


def test_jobs_in_doubt_stand_beside_the_failures_with_their_problem(ledger: Ledger):
    told = failures.report(ledger.database, query())
    assert rows(told.table("in_doubt"), "problem", "reserved") == [("no reply", Decimal("0.675"))]
    assert rows(told.table("jobs"), "provider", "problem") == [
        ("crun", "the clip could not be made")
    ]
    jobs = open_credits.report(ledger.database, query()).table("jobs")
    assert rows(jobs, "state", "problem") == [("in_doubt", "no reply")]


def test_conditions_hold_for_every_list(ledger: Ledger):
    told = failures.report(ledger.database, query(where=["provider=crun"]))
    assert [len(table.frame) for table in told.tables] == [1, 1, 0, 0]


def test_what_was_charged_all_the_same_is_in_what_was_spent(ledger: Ledger):
    table = spend.report(ledger.database, query()).main
    assert rows(table, "spent", "failed", "open") == [(Decimal("4.81"), 1, 1)]
