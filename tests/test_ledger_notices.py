"""Notices: the log tells an operator of refusals, overruns, late charges, doubt, expiry and faults.

It tells each once, only of what has happened, and stays silent until somebody listens.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest

from kling_ledger.errors import BudgetError, InsufficientCreditsError
from kling_ledger.ledger import Asked, Change, Job, Ledger, State
from tests.ledgers import NOON, Clock, tamper, usd


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(empty_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=clock, actor="tester") as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("10"))
        yield opened


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="kling_ledger")
    return caplog


def told(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What was logged since the last look: its level and its words."""
    records = [one for one in log.records if one.name == "kling_ledger.ledger"]
    log.clear()
    return [(one.levelname, one.getMessage()) for one in records]


def test_a_refused_reservation_is_told_with_its_figures(ledger, log):
    with pytest.raises(InsufficientCreditsError):
        ledger.reserve("team", usd("10.000001"))
    said = "refused (insufficient_credits): wallet team: needed 10.000001 USD, available 10 USD"
    assert told(log) == [("INFO", f"{said}, short by 0.000001 USD")]


def test_a_refusal_by_a_budget_is_told_once_though_room_was_looked_for(ledger, log, clock):
    ledger.budgets.set("all", usd("1"))
    ledger.reserve("team", usd("0.5"), expires_at=NOON + timedelta(hours=1))
    clock.forward(hours=2)
    with pytest.raises(BudgetError):
        ledger.reserve("team", usd("2"))
    assert [level for level, _ in told(log)] == ["INFO"]


def test_of_each_that_is_asked_for_only_the_refused_are_told(ledger, log):
    ledger.reserve_each([Asked("team", usd("1")), Asked("team", usd("99"))])
    ((level, said),) = told(log)
    assert (level, "needed 99 USD" in said) == ("INFO", True)


def test_a_charge_beyond_what_was_held_is_a_warning(ledger, log):
    made = ledger.reserve("team", usd("2"))
    ledger.commit(made.id, usd("2.5"))
    said = f"reservation {made.id} cost 0.5 USD more than was held: 2.5 USD of 2 USD reserved"
    assert told(log) == [("WARNING", said)]
    ledger.commit(made.id, usd("2.5"))
    assert told(log) == []


@pytest.mark.parametrize("charged", ["0", "1.999999", "2"])
def test_a_charge_within_what_was_held_is_no_news(ledger, log, charged):
    ledger.commit(ledger.reserve("team", usd("2")).id, usd(charged))
    assert told(log) == []


def test_a_charge_after_a_roll_back_is_a_warning_and_a_correction_of_a_charge_is_none(ledger, log):
    made = ledger.reserve("team", usd("2"))
    ledger.roll_back(made.id, "it failed")
    ledger.commit(made.id, usd("1.5"))
    said = f"reservation {made.id} was rolled_back and is charged after all: 1.5 USD"
    assert told(log) == [("WARNING", said)]
    ledger.correct(made.id, usd("1.75"), reason="the bill")
    assert told(log) == []


def test_a_job_in_doubt_is_a_warning_that_does_not_quote_what_was_said_of_it(ledger, log):
    made = ledger.reserve("team", usd("2"), job=Job(provider="crun"))
    ledger.mark_submitting(made.id)
    ledger.mark_in_doubt(made.id, "400: a lake at dawn")
    assert told(log) == [("WARNING", f"reservation {made.id} is in doubt and keeps 2 USD reserved")]


def test_a_change_that_is_undone_is_not_told(ledger, log):
    first, second = ledger.reserve_many([Asked("team", usd("1"))] * 2)
    ledger.roll_back(second.id, "no")
    with pytest.raises(Exception, match="cannot be"):
        ledger.settle(
            [Change(first.id, State.COMMITTED, usd("5")), Change(second.id, State.SUBMITTING)]
        )
    assert told(log) == []


@pytest.mark.parametrize("ask", ["expire", "reserve", "reserve_each"])
def test_an_expiry_is_told_whoever_comes_upon_it(ledger, log, clock, ask):
    made = ledger.reserve("team", usd("9"), expires_at=NOON + timedelta(hours=1))
    clock.forward(hours=1)
    if ask == "expire":
        ledger.expire()
    elif ask == "reserve":
        ledger.reserve("team", usd("9"))
    else:
        ledger.reserve_each([Asked("team", usd("9"))])
    assert told(log) == [("INFO", f"reservation {made.id} of 9 USD has expired in wallet team")]


def test_an_expiry_that_was_undone_by_a_refusal_is_not_told(ledger, log, clock):
    ledger.reserve("team", usd("9"), expires_at=NOON + timedelta(hours=1))
    clock.forward(hours=1)
    with pytest.raises(InsufficientCreditsError):
        ledger.reserve("team", usd("11"))
    assert [said.split()[0] for _, said in told(log)] == ["refused"]


def test_every_finding_is_an_error_and_a_clean_ledger_is_no_news(ledger, log):
    ledger.verify()
    assert told(log) == []
    tamper(ledger.database.url, "UPDATE wallet SET posted_micro = posted_micro + 1")
    findings = ledger.verify().findings
    assert told(log) == [("ERROR", f"{one.law}: {one.subject}: {one.problem}") for one in findings]
    assert findings


def test_nothing_is_written_until_a_program_says_where(tmp_path):
    script = (
        "from kling_ledger import Ledger\n"
        "from kling_pricing import Money\n"
        f"ledger = Ledger({str(tmp_path / 'ledger.sqlite')!r})\n"
        "ledger.wallets.create('team', 'USD')\n"
        "made = ledger.wallets.fund('team', Money.parse('1 USD'))\n"
        "held = ledger.reserve('team', Money.parse('1 USD'))\n"
        "ledger.commit(held.id, Money.parse('2 USD'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
