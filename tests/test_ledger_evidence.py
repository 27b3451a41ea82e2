"""Evidence: what providers' own records said is kept, and moves no money."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from kling_ledger.errors import StateError
from kling_ledger.ledger import Job, Ledger, ProviderBalance, ProviderRecord, State
from kling_pricing.errors import AmountError
from tests.ledgers import found, money, standing, transfers, usd

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
HERE = "https://runapi.ai"
JOB = Job(provider="runapi", model="kling-3.0", address=HERE, account="north", usd=usd("1"))
SAID = ProviderRecord("runapi", "north", "t1", None, "matched", "completed", usd("0.6"), "bill.csv")


class Clock:
    """A clock that goes on by a second with each look."""

    def __init__(self) -> None:
        self._ticks = count()

    def __call__(self) -> datetime:
        return AT + timedelta(seconds=next(self._ticks))


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=Clock(), actor="tester") as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("10"))
        yield opened


def ended(ledger: Ledger, cost: str | None, job: Job = JOB) -> str:
    """Return a reservation of 1 USD that ended at a cost, None for one that was rolled back."""
    made = ledger.mark_submitting(ledger.reserve("team", usd("1"), job=job).id)
    if cost is None:
        return ledger.roll_back(made.id, "refused").id
    return ledger.commit(made.id, usd(cost)).id


# --- records --------------------------------------------------------------------------------


def test_of_a_task_the_last_word_is_kept(ledger: Ledger):
    ledger.evidence.keep_records([SAID, replace(SAID, task_id="t2")])
    ledger.evidence.keep_records([replace(SAID, billed=usd("0.7"), verdict="amount_differs")])
    rows = found(ledger, "SELECT task_id, billed_micro, verdict FROM provider_record")
    assert sorted((row["task_id"], row["billed_micro"], row["verdict"]) for row in rows) == [
        ("t1", 700_000, "amount_differs"),
        ("t2", 600_000, "matched"),
    ]


def test_the_same_task_at_another_provider_is_another_task(ledger: Ledger):
    ledger.evidence.keep_records(
        [SAID, replace(SAID, provider="crun", billed=money("5 crun-credit"))]
    )
    assert ledger.evidence.billed_at("runapi", "north") == {"t1": usd("0.6")}
    assert ledger.evidence.billed_at("crun", "north") == {"t1": money("5 crun-credit")}


def test_what_a_task_said_of_itself_and_what_names_no_amount_is_no_bill(ledger: Ledger):
    asked = replace(SAID, task_id="t2", source="task")
    silent = replace(SAID, task_id="t3", billed=None)
    ledger.evidence.keep_records([SAID, asked, silent])
    assert ledger.evidence.billed_at("runapi", "north") == {"t1": usd("0.6")}


def test_keeping_nothing_is_nothing(ledger: Ledger):
    ledger.evidence.keep_records([])
    assert ledger.evidence.billed_at("runapi", "north") == {}


def test_evidence_moves_no_money(ledger: Ledger):
    before = list(ledger.canonical_journal())
    ledger.evidence.keep_records([SAID])
    ledger.evidence.keep_balance("runapi", HERE, "north", usd("5"))
    assert list(ledger.canonical_journal()) == before
    assert ledger.verify().is_clean


# --- balances -------------------------------------------------------------------------------


def test_the_last_balance_is_the_one_of_its_own_account(ledger: Ledger):
    assert ledger.evidence.last_balance("runapi", HERE, "north") is None
    ledger.evidence.keep_balance("runapi", HERE, "north", usd("5"))
    ledger.evidence.keep_balance("runapi", HERE, "north", usd("4"))
    ledger.evidence.keep_balance("runapi", "http://127.0.0.1:1", "north", usd("99"))
    ledger.evidence.keep_balance("runapi", HERE, "south", usd("98"))
    last = ledger.evidence.last_balance("runapi", HERE, "north")
    assert last is not None
    assert (last.available, last.address) == (usd("4"), HERE)
    assert len(found(ledger, "SELECT * FROM provider_balance")) == 4


def test_a_second_answer_of_the_same_instant_is_the_same(empty_url: str):
    with Ledger(empty_url, clock=lambda: AT) as ledger:
        ledger.evidence.keep_balance("runapi", HERE, "north", usd("5"))
        ledger.evidence.keep_balance("runapi", HERE, "north", usd("5"))
        assert ledger.evidence.last_balance("runapi", HERE, "north") == ProviderBalance(
            "runapi", HERE, "north", usd("5"), AT
        )


def test_charged_since_counts_what_moved_at_that_account_after_it_was_asked(ledger: Ledger):
    ended(ledger, "0.9")
    ledger.evidence.keep_balance("runapi", HERE, "north", usd("5"))
    last = ledger.evidence.last_balance("runapi", HERE, "north")
    assert last is not None
    assert ledger.evidence.charged_since(last) == usd("0")
    more = ended(ledger, "0.6")
    ended(ledger, None)
    ended(ledger, "0.5", replace(JOB, address="http://127.0.0.1:1"))
    ended(ledger, "0.4", replace(JOB, provider="crun"))
    ended(ledger, "0.3", replace(JOB, account="south"))
    assert ledger.evidence.charged_since(last) == usd("0.6")
    ledger.refund(more, usd("0.25"), reason="they gave it back")
    assert ledger.evidence.charged_since(last) == usd("0.35")
    ledger.correct(more, usd("1.35"), reason="the bill says so")
    assert ledger.evidence.charged_since(last) == usd("1.35")


# --- correcting -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "correct", "moved"),
    [
        ("0.6", "0.8", "late_commit 0.2"),
        ("0.6", "0.4", "refund 0.2"),
        ("0.6", "0", "refund 0.6"),
        (None, "0.7", "late_commit 0.7"),
        ("0.6", "3", "late_commit 2.4"),
    ],
)
def test_a_correction_sets_what_an_ended_job_cost_in_the_end(
    ledger: Ledger, cost: str | None, correct: str, moved: str
):
    made = ended(ledger, cost)
    now = ledger.correct(made, usd(correct), reason="the bill says so", settled_by="provider")
    spent = (now.committed or usd("0")) - now.refunded
    assert (spent, now.settled_by) == (usd(correct), "provider")
    assert transfers(ledger)[-1] == moved
    assert standing(ledger, "team")[0] == usd("10") - usd(correct)
    assert ledger.verify().is_clean


def test_the_same_correction_again_changes_nothing(ledger: Ledger):
    made = ended(ledger, "0.6")
    first = ledger.correct(made, usd("0.8"), reason="the bill")
    before = list(ledger.canonical_journal())
    assert ledger.correct(made, usd("0.8"), reason="the bill") == first
    assert list(ledger.canonical_journal()) == before


def test_one_correction_may_follow_another_up_and_down(ledger: Ledger):
    made = ended(ledger, "0.6")
    for cost in ("0.9", "0.1", "0", "1.5", "0.6"):
        ledger.correct(made, usd(cost), reason="another bill")
        assert standing(ledger, "team") == (
            usd("10") - usd(cost),
            usd("0"),
            usd("10") - usd(cost),
        )
    assert ledger.verify().is_clean


def test_what_is_still_open_cannot_be_corrected(ledger: Ledger):
    made = ledger.reserve("team", usd("1"), job=JOB)
    with pytest.raises(StateError, match="corrected"):
        ledger.correct(made.id, usd("0.5"), reason="too early")
    assert ledger.reservations.get(made.id).state is State.RESERVED


@pytest.mark.parametrize("wrong", [money("1 crun-credit"), money("-1 USD")])
def test_a_correction_to_what_no_job_costs_is_refused(ledger: Ledger, wrong: object):
    made = ended(ledger, "0.6")
    with pytest.raises(AmountError):
        ledger.correct(made, wrong, reason="nonsense")  # type: ignore[arg-type]
    assert standing(ledger, "team")[0] == usd("9.4")
