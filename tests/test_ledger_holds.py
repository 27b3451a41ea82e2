"""Holds and undoing: a hold follows the provider's own, a wrong end is opened again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kling_ledger.errors import RefusedError, StateError
from kling_ledger.ledger import Change, Job, Ledger, Scope, State
from tests.ledgers import Chance, Clock, money, standing, transfers, unchanged, usd

CREDITS = Job(provider="evolink", usd=usd("0.75"))


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=Clock(), chance=Chance(), actor="ada") as opened:
        opened.wallets.create("film", "USD")
        opened.wallets.fund("film", usd("10"))
        yield opened
        assert opened.verify().is_clean


@pytest.fixture
def submitted(ledger: Ledger) -> str:
    """The id of a reservation of 3 USD whose job was taken."""
    made = ledger.mark_submitting(ledger.reserve("film", usd("3")).id)
    return ledger.mark_submitted(made.id, "task-1").id


def undone(ledger: Ledger, reservation_id: str, amount: str) -> Change:
    return Change(reservation_id, State.IN_DOUBT, usd(amount), is_undo=True, reason="undone")


def test_a_hold_rises_to_what_the_provider_holds(ledger: Ledger, submitted: str):
    now = ledger.hold(submitted, usd("4.5"), reason="it reserved 4.5")
    assert (now.held, now.amount, now.provider_held) == (usd("4.5"), usd("4.5"), usd("4.5"))
    assert standing(ledger, "film") == (usd("10"), usd("4.5"), usd("5.5"))
    assert transfers(ledger)[-1] == "reserve 1.5"


def test_a_hold_falls_to_what_the_provider_holds(ledger: Ledger, submitted: str):
    now = ledger.hold(submitted, usd("1"), reason="it reserved 1")
    assert (now.held, now.amount, now.provider_held) == (usd("1"), usd("3"), usd("1"))
    assert standing(ledger, "film") == (usd("10"), usd("1"), usd("9"))
    assert transfers(ledger)[-1] == "return 2"
    assert ledger.commit(submitted, usd("1")).spent == usd("1")


def test_the_same_hold_again_moves_nothing_and_is_remembered(ledger: Ledger, submitted: str):
    ledger.hold(submitted, usd("3"), reason="it reserved 3")
    again = ledger.hold(submitted, usd("3"), reason="it reserved 3")
    assert again.provider_held == usd("3")
    assert [line.split()[0] for line in transfers(ledger)] == ["fund", "reserve"]


def test_the_same_hold_a_third_time_changes_nothing(ledger: Ledger, submitted: str):
    for amount in ("4", "3"):
        ledger.hold(submitted, usd(amount), reason="it reserved that")
        with unchanged(ledger):
            ledger.hold(submitted, usd(amount), reason="it reserved that")


@pytest.mark.parametrize(
    ("theirs", "held", "transfer"), [("4", "3", "reserve 1"), ("2", "1", "return 1")]
)
def test_what_was_charged_in_parts_is_part_of_the_providers_hold(
    ledger: Ledger, submitted: str, theirs: str, held: str, transfer: str
):
    ledger.commit(submitted, usd("1"), is_part=True)
    now = ledger.hold(submitted, usd(theirs), reason=f"it reserved {theirs}")
    assert (now.held, now.provider_held) == (usd(held), usd(theirs))
    assert transfers(ledger)[-1] == transfer


@pytest.mark.parametrize("theirs", ["2", "1"])
def test_a_hold_of_no_more_than_was_charged_leaves_nothing_held(
    ledger: Ledger, submitted: str, theirs: str
):
    ledger.commit(submitted, usd("2"), is_part=True)
    assert ledger.hold(submitted, usd(theirs), reason="it reserved less").held == usd("0")
    assert standing(ledger, "film") == (usd("8"), usd("0"), usd("8"))


def test_a_hold_beyond_the_wallet_is_shown_and_admits_nothing_more(ledger: Ledger, submitted: str):
    ledger.budgets.set("all", usd("4"), scope=Scope())
    ledger.hold(submitted, usd("12"), reason="it reserved 12")
    assert standing(ledger, "film")[2] == usd("-2")
    assert ledger.budgets.get("all").reserved == usd("12")
    with pytest.raises(RefusedError):
        ledger.reserve("film", usd("0.000001"))


def test_a_hold_in_credits_counts_in_dollars_at_the_rate_of_the_quote(ledger: Ledger):
    ledger.wallets.create("ev", "evolink-credit")
    ledger.wallets.fund("ev", money("100 evolink-credit"))
    ledger.budgets.set("dollars", usd("5"), scope=Scope(wallet="ev"))
    made = ledger.reserve("ev", money("54 evolink-credit"), job=CREDITS)
    ledger.mark_submitting(made.id)
    now = ledger.hold(made.id, money("108 evolink-credit"), reason="it reserved twice")
    assert now.job.usd == usd("1.5")
    assert ledger.budgets.get("dollars").reserved == usd("1.5")


def test_an_ended_job_is_held_at_nothing_more(ledger: Ledger, submitted: str):
    ledger.commit(submitted, usd("3"))
    with pytest.raises(StateError):
        ledger.hold(submitted, usd("4"), reason="late")


def test_undoing_a_charge_gives_it_back_and_holds_what_was_held(ledger: Ledger, submitted: str):
    ledger.commit(submitted, usd("2"))
    (now,) = ledger.settle([undone(ledger, submitted, "3")])
    assert (now.state, now.held, now.spent) == (State.IN_DOUBT, usd("3"), usd("0"))
    assert standing(ledger, "film") == (usd("10"), usd("3"), usd("7"))
    assert transfers(ledger)[-2:] == ["refund 2", "reopen 3"]
    assert ledger.commit(submitted, usd("1")).spent == usd("1")


def test_undoing_a_roll_back_holds_the_credits_again(ledger: Ledger, submitted: str):
    ledger.roll_back(submitted, "the bill does not list it")
    (now,) = ledger.settle([undone(ledger, submitted, "3")])
    assert (now.state, now.held) == (State.IN_DOUBT, usd("3"))
    assert transfers(ledger)[-1] == "reopen 3"


def test_what_is_open_cannot_be_opened_again(ledger: Ledger, submitted: str):
    with pytest.raises(StateError):
        ledger.settle([undone(ledger, submitted, "3")])
    ledger.commit(submitted, usd("1"))
    with pytest.raises(StateError):
        ledger.mark_in_doubt(submitted, "never from an end")
