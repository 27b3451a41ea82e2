"""Glance: figures of now, by hand, whichever day it is and however the ledger is shared out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from kling_ledger import Ledger
from kling_ledger.gateway import glance
from kling_ledger.gateway.glance import Glances
from kling_ledger.ledger import Job, Scope, State
from kling_pricing.money import Money
from tests.gateway_exchanges import usd
from tests.ledgers import Clock

EVENING = datetime(2026, 10, 31, 23, 50, tzinfo=UTC)


@dataclass
class Desk:
    """A ledger with a clock, and jobs that are reserved and charged in one go."""

    ledger: Ledger
    clock: Clock

    def charge(self, amount: str, *, wallet: str = "team") -> str:
        money = Money.parse(amount)
        made = self.ledger.reserve(wallet, money, job=Job(provider="runapi", usd=usd("1")))
        self.ledger.commit(made.id, money, settled_by="provider")
        return made.id


@pytest.fixture
def desk(empty_url: str) -> Iterator[Desk]:
    clock = Clock(EVENING)
    with Ledger(empty_url, clock=clock) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("100"))
        ledger.wallets.create("credits", "crun-credit")
        ledger.wallets.fund("credits", Money.parse("1000 crun-credit"))
        yield Desk(ledger, clock)


def spent(glances: Glances) -> dict[str, tuple[str, str]]:
    return {
        one.today.unit: (str(one.today.amount), str(one.month.amount))
        for one in glances.read().spend
    }


def test_spend_is_of_today_and_of_this_month_and_begins_anew(desk: Desk):
    glances = Glances(desk.ledger)
    desk.charge("3 USD")
    assert spent(glances)["USD"] == ("3.000000", "3.000000")
    desk.clock.now = EVENING + timedelta(minutes=11)
    assert spent(glances)["USD"] == ("0.000000", "0.000000")
    desk.charge("2 USD")
    desk.charge("7 crun-credit", wallet="credits")
    assert spent(glances) == {
        "USD": ("2.000000", "2.000000"),
        "crun-credit": ("7.000000", "7.000000"),
    }
    desk.clock.now = EVENING + timedelta(days=1)
    desk.charge("1 USD")
    # One that starts in the middle of a month works out the same from the journal.
    assert spent(glances)["USD"] == spent(Glances(desk.ledger))["USD"] == ("3.000000", "3.000000")
    desk.clock.now = EVENING + timedelta(days=1, minutes=11)
    desk.charge("0.5 USD")
    assert spent(glances)["USD"] == spent(Glances(desk.ledger))["USD"] == ("0.500000", "3.500000")


def test_what_comes_back_and_what_costs_more_count_in_spend(desk: Desk):
    glances = Glances(desk.ledger)
    assert spent(glances)["USD"] == ("0.000000", "0.000000")
    first = desk.charge("3 USD")
    desk.ledger.refund(first, usd("1"), reason="it came out black")
    over = desk.ledger.reserve("team", usd("1"))
    desk.ledger.commit(over.id, usd("1.25"), settled_by="provider")
    late = desk.ledger.reserve("team", usd("1"))
    desk.ledger.roll_back(late.id, "no answer")
    desk.ledger.commit(late.id, usd("0.75"), settled_by="provider")
    # 3 - 1 + 1.25 + 0.75
    assert spent(glances)["USD"] == spent(Glances(desk.ledger))["USD"] == ("4.000000", "4.000000")


def test_a_wallet_that_is_made_later_counts_from_its_first_job(desk: Desk):
    glances = Glances(desk.ledger)
    glances.read()
    desk.ledger.wallets.create("other", "EUR")
    desk.ledger.wallets.fund("other", Money.parse("5 EUR"))
    desk.charge("2 EUR", wallet="other")
    assert spent(glances)["EUR"] == ("2.000000", "2.000000")


def test_wallets_show_what_they_hold_beside_their_balance(desk: Desk):
    desk.ledger.reserve("team", usd("40"))
    team = next(one for one in Glances(desk.ledger).read().wallets if one.name == "team")
    assert (team.posted, team.reserved, team.available) == (usd("100"), usd("40"), usd("60"))


def test_budgets_show_their_window_and_caps_of_runs_come_last(desk: Desk):
    budgets = desk.ledger.budgets
    budgets.set("a-run", usd("1"), scope=Scope(label="run=agent/1"))
    budgets.set("daily", usd("10"), window="day")
    desk.charge("3 USD")
    desk.ledger.reserve("team", usd("2"), job=Job(usd=usd("2")))
    read = Glances(desk.ledger).read()
    assert [one.budget.name for one in read.budgets] == ["daily", "a-run"]
    daily = read.budgets[0]
    assert (daily.spent, daily.reserved, daily.left) == (usd("3"), usd("2"), usd("5"))
    assert daily.ends_at == datetime(2026, 11, 1, tzinfo=UTC)
    # All that is told of budgets elsewhere is told here.
    assert read.budgets == tuple(
        sorted(budgets.all(), key=lambda one: one.budget.name, reverse=True)
    )


def test_a_window_without_sums_of_its_own_is_counted_and_exact_once_something_is_admitted(
    desk: Desk,
):
    desk.charge("3 USD")
    glances = Glances(desk.ledger)
    desk.ledger.budgets.set("late", usd("10"), window="day")
    assert [one.spent for one in glances.read().budgets] == [usd("3")]
    desk.ledger.budgets.set("late", usd("12"), window="day")
    assert [one.limit for one in glances.read().budgets] == [usd("12")]
    desk.charge("3 USD")
    assert [one.spent for one in glances.read().budgets] == [usd("6")]
    desk.clock.now += timedelta(minutes=30)
    assert [one.spent for one in glances.read().budgets] == [usd("0")]


def test_open_jobs_are_counted_by_state_and_shown_doubts_first(desk: Desk):
    ledger = desk.ledger
    for number in range(4):
        made = ledger.reserve("team", usd("1"), job=Job(provider="crun", model=f"m{number}"))
        desk.clock.now += timedelta(seconds=1)
        if number < 3:
            ledger.mark_submitting(made.id)
        if number < 2:
            ledger.mark_submitted(made.id, f"task-{number}")
        if number < 1:
            ledger.mark_in_doubt(made.id, "nobody answers")
    desk.charge("1 USD")
    read = Glances(ledger).read()
    counts = {one.state: (one.jobs, one.held) for one in read.open_counts}
    assert counts == {
        State.RESERVED: (1, usd("1")),
        State.SUBMITTING: (1, usd("1")),
        State.SUBMITTED: (1, usd("1")),
        State.IN_DOUBT: (1, usd("1")),
    }
    assert [one.model for one in read.doubts] == ["m0"]
    assert [one.model for one in read.running] == ["m3", "m2", "m1"]
    assert read.doubts[0].created_at == EVENING


def test_of_many_jobs_some_are_shown_and_all_are_counted(desk: Desk):
    for _ in range(glance.MOST_JOBS + 7):
        desk.ledger.reserve("team", usd("0.01"))
    read = Glances(desk.ledger).read()
    assert len(read.running) == glance.MOST_JOBS
    assert [one.jobs for one in read.open_counts] == [glance.MOST_JOBS + 7]


@pytest.mark.parametrize("query", [glance._OPEN_BY_STATE, glance._DOUBTS, glance._RUNNING])
def test_open_jobs_are_found_without_reading_the_others(ledger: Ledger, query: str):
    with ledger.database.read() as transaction:
        plan = [row["detail"] for row in transaction.rows(f"EXPLAIN QUERY PLAN {query}")]
    of_jobs = [step for step in plan if "reservation" in step]
    assert len(of_jobs) == 1
    assert "USING INDEX reservation_" in of_jobs[0]


def test_spend_is_found_in_the_part_of_the_journal_that_is_of_its_time(ledger: Ledger):
    with ledger.database.read() as transaction:
        rows = transaction.rows(f"EXPLAIN QUERY PLAN {glance._SPENT_SINCE}", first="txf_")
    assert rows[0]["detail"].startswith("SEARCH transfer USING PRIMARY KEY (id>?)")
