"""Accruals: a range for what nobody has confirmed, and a month later how far off it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from kling_ledger.ledger import Change, Job, Ledger, State
from kling_reports import accruals
from kling_reports.accruals import month_before
from kling_reports.render import terminal
from tests.ledgers import Chance, Clock, make_empty, money, usd
from tests.reports_ledger import query, rows, totals

SEPTEMBER = datetime(2026, 9, 20, 12, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 12, 9, tzinfo=UTC)
RANGE = ("expected", "low", "high")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, postgres_ledger: str) -> str:
    make_empty(postgres_ledger)
    return str(tmp_path / "ledger") if request.param == "sqlite" else postgres_ledger


@contextmanager
def september(url: str) -> Iterator[tuple[Ledger, Clock]]:
    """One job open, one in doubt, one charged its quote, one its estimate, one confirmed."""
    clock = Clock(SEPTEMBER)
    with Ledger(url, clock=clock, chance=Chance(), actor="ann") as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.create("evo", "evolink-credit")
        ledger.wallets.fund("team", usd("100"))
        ledger.wallets.fund("evo", money("1000 evolink-credit"))
        runapi = Job(provider="runapi", quoted=usd("0.675"), low=usd("0.3"))
        ledger.reserve("team", usd("1.35"), job=runapi, key="open")
        quoted = ledger.reserve("team", usd("0.675"), job=runapi, key="quoted").id
        ledger.commit(quoted, usd("0.675"), settled_by="quote")
        sure = ledger.reserve("team", usd("0.675"), job=runapi, key="sure").id
        ledger.commit(sure, usd("0.675"), settled_by="provider")
        guessed = Job(provider="evolink", estimated=money("40 evolink-credit"))
        known = ledger.reserve("evo", money("40 evolink-credit"), job=guessed, key="guessed").id
        ledger.commit(known, money("40 evolink-credit"), settled_by="quote")
        listed = Job(provider="evolink", quoted=money("54 evolink-credit"))
        lost = ledger.reserve("evo", money("54 evolink-credit"), job=listed, key="lost").id
        ledger.mark_submitting(lost)
        ledger.mark_in_doubt(lost, "no reply")
        yield ledger, clock


def october(ledger: Ledger, clock: Clock) -> None:
    """The bills come: one job was dearer, one cheaper, one failed, one is still unknown."""
    clock.now = OCTOBER
    named = ledger.reservations.of_keys(["open", "quoted", "lost"])
    ledger.commit(named["open"].id, usd("1.35"), settled_by="provider")
    ledger.correct(named["quoted"].id, usd("0.6"), reason="the bill", settled_by="bill")
    ledger.roll_back(named["lost"].id, "it never came")


def amounts(*written: str) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, written))


def of(ledger: Ledger, month: str):
    return accruals.report(ledger.database, query(period=month))


def test_what_is_not_confirmed_at_a_months_end_has_a_range(url: str):
    with september(url) as (ledger, clock):
        october(ledger, clock)
        answered = of(ledger, "2026-09")
    jobs = answered.table("jobs")
    assert rows(jobs, "kind", "provider", "settled_by", *RANGE) == [
        # An open job may fail: it is expected to cost its quote, and holds what it holds.
        ("open", "runapi", None, *amounts("0.675", "0", "1.35")),
        ("not confirmed", "runapi", "quote", *amounts("0.675", "0.3", "0.675")),
        # Nobody knows the least that a job costs which no book prices.
        ("not confirmed", "evolink", "quote", Decimal(40), None, Decimal(40)),
        ("open", "evolink", None, *amounts("54", "0", "54")),
    ]
    assert rows(answered.main, "kind", "provider", "unit", "jobs", *RANGE) == [
        ("not confirmed", "evolink", "evolink-credit", 1, Decimal(40), None, Decimal(40)),
        ("not confirmed", "runapi", "USD", 1, *amounts("0.675", "0.3", "0.675")),
        ("open", "evolink", "evolink-credit", 1, *amounts("54", "0", "54")),
        ("open", "runapi", "USD", 1, *amounts("0.675", "0", "1.35")),
    ]
    assert totals(answered.main, "unit", "jobs", *RANGE) == [
        ("USD", 2, *amounts("1.35", "0.3", "2.025")),
        ("evolink-credit", 2, Decimal(94), None, Decimal(94)),
    ]
    assert rows(answered.table("roll-forward"), "kind") == []


def test_a_month_later_the_roll_forward_says_how_far_off_each_was(url: str):
    with september(url) as (ledger, clock):
        october(ledger, clock)
        answered = of(ledger, "2026-10")
    keys = ("kind", "outcome", "settled_by", "expected", "settled", "off")
    assert rows(answered.table("roll-forward-jobs"), *keys) == [
        ("open", "confirmed", "provider", *amounts("0.675", "1.35", "0.675")),
        ("not confirmed", "confirmed", "bill", *amounts("0.675", "0.6", "-0.075")),
        ("not confirmed", "not confirmed", "quote", Decimal(40), None, None),
        ("open", "rolled back", None, *amounts("54", "0", "-54")),
    ]
    assert totals(answered.table("roll-forward"), "unit", "jobs", "expected", "off") == [
        ("USD", 2, *amounts("1.35", "0.6")),
        ("evolink-credit", 2, *amounts("94", "-54")),
    ]
    # What is still not confirmed is accrued again.
    assert rows(answered.table("jobs"), "kind", *RANGE) == [
        ("not confirmed", Decimal(40), None, Decimal(40))
    ]


def test_a_later_bill_does_not_change_an_earlier_months_accruals(url: str):
    with september(url) as (ledger, clock):
        clock.now = OCTOBER
        before = [list(table.rows()) for table in of(ledger, "2026-09").tables]
        october(ledger, clock)
        assert [list(table.rows()) for table in of(ledger, "2026-09").tables] == before


def test_what_was_charged_in_parts_is_no_longer_in_question(url: str):
    with september(url) as (ledger, clock):
        job = Job(provider="uniall", quoted=usd("1"), low=usd("1"))
        one = ledger.reserve("team", usd("2"), job=job).id
        ledger.commit(one, usd("0.4"), is_part=True, key="part", settled_by="provider")
        clock.now = OCTOBER
        ledger.commit(one, usd("0.5"), settled_by="provider")
        accrued = of(ledger, "2026-09").table("jobs")
        rolled = of(ledger, "2026-10").table("roll-forward-jobs")
    # 0.6 of the quote is left, and 1.6 of the hold; half a dollar came on top in the end.
    assert rows(accrued, "provider", *RANGE)[-1] == ("uniall", *amounts("0.6", "0", "1.6"))
    assert rows(rolled, "provider", "settled", "off")[-1] == ("uniall", *amounts("0.5", "-0.1"))


def test_a_job_that_was_opened_again_is_open(url: str):
    with september(url) as (ledger, _):
        [sure] = ledger.reservations.of_keys(["sure"]).values()
        undo = Change(sure.id, State.IN_DOUBT, usd("0.675"), is_undo=True, reason="another's")
        ledger.settle([undo])
        jobs = of(ledger, "2026-09").table("jobs")
    assert ("open", *amounts("0.675", "0", "0.675")) in rows(jobs, "kind", *RANGE)


def test_without_a_month_it_is_the_one_that_runs(url: str):
    with september(url) as (ledger, _):
        answered = accruals.report(ledger.database, query(now=SEPTEMBER))
    assert (answered.title, answered.period) == ("Accruals of 2026-09", "2026-09")
    assert len(rows(answered.table("jobs"), "kind")) == 4


def test_conditions_choose_among_accruals(url: str):
    with september(url) as (ledger, _):
        asked = query(period="2026-09", where=["provider=evolink"])
        answered = accruals.report(ledger.database, asked)
    assert totals(answered.main, "unit", "jobs") == [("evolink-credit", 2)]


def test_the_month_before_january_is_december():
    assert month_before("2027-01") == "2026-12"


def test_what_became_of_each_stands_in_lines_of_eighty_columns(url: str):
    with september(url) as (ledger, clock):
        october(ledger, clock)
        written = terminal.render(of(ledger, "2026-10"), width=80)
    assert max(map(len, written.splitlines())) <= 80
    lines = [line.split() for line in written.splitlines()]
    (head,) = [line for line in lines if line[:2] == ["kind", "became"]]
    assert head[-3:] == ["settled", "off", "by"]
    # The ids of the jobs leave no room for a table: each job has a line a field.
    fields = [line[0] for line in lines if line]
    assert fields.count("became") == 4
    assert "settled" in fields
