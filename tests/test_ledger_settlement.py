"""Settlement: what a job really cost is charged, the rest comes back, and every end comes once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest

from kling_ledger.errors import (
    ConflictError,
    InsufficientCreditsError,
    NotFoundError,
    StateError,
)
from kling_ledger.ledger import Change, Job, Ledger, Scope, State
from kling_pricing.errors import AmountError
from kling_pricing.money import MAX_MICRO, Money
from tests.ledgers import NOON, Chance, Clock, found, money, standing, transfers, unchanged, usd

LARGEST = Money.from_micro(MAX_MICRO, "USD")
SOON = NOON + timedelta(hours=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(empty_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=clock, chance=Chance(), actor="ada") as opened:
        opened.wallets.create("film", "USD")
        opened.wallets.fund("film", usd("10"))
        yield opened
        assert opened.verify().is_clean


@pytest.fixture
def submitted(ledger: Ledger) -> str:
    """The id of a reservation of 3 USD whose job was taken."""
    made = ledger.reserve("film", usd("3"))
    ledger.mark_submitting(made.id)
    return ledger.mark_submitted(made.id, "task-1").id


def test_what_is_settled_together_moves_the_window_that_admitted_each_job(ledger, clock):
    ledger.budgets.set("daily", usd("9"), window="day")
    first = [ledger.reserve("film", usd(amount)).id for amount in ("1", "2")]
    clock.forward(minutes=7)
    first.append(ledger.reserve("film", usd("0.5")).id)
    clock.forward(days=1)
    next_day = ledger.reserve("film", usd("4")).id
    clock.forward(days=-1)

    costs = ("0.75", "1.5", "0.25")
    ledger.settle(
        [
            *(Change(id_, State.SUBMITTING) for id_ in first),
            *(
                Change(id_, State.COMMITTED, usd(cost))
                for id_, cost in zip(first, costs, strict=True)
            ),
        ]
    )

    daily = ledger.budgets.get("daily")
    assert (daily.spent, daily.reserved, daily.left) == (usd("2.5"), usd("0"), usd("6.5"))
    clock.forward(days=1)
    daily = ledger.budgets.get("daily")
    assert (daily.spent, daily.reserved) == (usd("0"), usd("4"))
    ledger.roll_back(next_day, "not wanted")
    assert ledger.budgets.get("daily").left == usd("9")


@pytest.mark.parametrize("limits", [("1 USD", "50 crun-credit"), ("50 crun-credit", "1 USD")])
def test_a_budget_in_credits_follows_each_move_whatever_other_budgets_there_are(ledger, limits):
    """One in USD that came after a job of unknown worth does not count it."""
    ledger.wallets.create("crun", "crun-credit")
    ledger.wallets.fund("crun", Money.parse("100 crun-credit"))
    made = ledger.reserve("crun", Money.parse("10 crun-credit"))
    for limit in map(Money.parse, limits):
        ledger.budgets.set(f"of-{limit.unit}", limit)
    # From now on each budget has a window, with what was admitted before.
    worth = Job(usd=usd("0.25"))
    other = ledger.reserve("crun", Money.parse("5 crun-credit"), job=worth)

    def spent_and_left() -> object:
        budget = ledger.budgets.get("of-crun-credit")
        return budget.spent.amount, budget.left.amount

    ledger.commit(made.id, Money.parse("8 crun-credit"))
    assert spent_and_left() == (8, 37)
    ledger.refund(made.id, Money.parse("3 crun-credit"), reason="half of it was black")
    assert spent_and_left() == (5, 40)
    ledger.refund(made.id, Money.parse("1 crun-credit"), reason="and the end of it")
    assert spent_and_left() == (4, 41)
    assert ledger.budgets.get("of-USD").left == usd("0.75")
    ledger.roll_back(other.id, "not wanted")
    assert (spent_and_left(), ledger.budgets.get("of-USD").left) == ((4, 46), usd("1"))


# --- commit --------------------------------------------------------------------------------


def test_committing_less_than_reserved_returns_the_rest(ledger, submitted):
    committed = ledger.commit(submitted, usd("2.999999"), settled_by="provider")
    assert standing(ledger, "film") == (usd("7.000001"), usd("0"), usd("7.000001"))
    assert committed.variance == usd("-0.000001")
    assert transfers(ledger)[-2:] == ["commit 2.999999", "return 0.000001"]


def test_committing_exactly_what_was_reserved_returns_nothing(ledger, submitted):
    committed = ledger.commit(submitted, usd("3"), settled_by="provider")
    assert standing(ledger, "film") == (usd("7"), usd("0"), usd("7"))
    assert committed.variance == usd("0")
    assert transfers(ledger)[-2:] == ["reserve 3", "commit 3"]


def test_committing_a_millionth_charges_a_millionth(ledger, submitted):
    assert ledger.commit(submitted, usd("0.000001")).committed == usd("0.000001")
    assert transfers(ledger)[-2:] == ["commit 0.000001", "return 2.999999"]


def test_committing_nothing_returns_everything(ledger, submitted):
    committed = ledger.commit(submitted, usd("0"), settled_by="provider")
    assert (committed.state, committed.committed) == (State.COMMITTED, usd("0"))
    assert committed.variance == usd("-3")
    assert standing(ledger, "film") == (usd("10"), usd("0"), usd("10"))
    assert transfers(ledger)[-1] == "return 3"


def test_committing_more_charges_the_whole(ledger, submitted):
    committed = ledger.commit(submitted, usd("3.000001"), settled_by="provider")
    assert standing(ledger, "film") == (usd("6.999999"), usd("0"), usd("6.999999"))
    assert committed.variance == usd("0.000001")
    assert transfers(ledger)[-2:] == ["commit 3", "overrun 0.000001"]


def test_a_wallet_that_is_overrun_shows_it_and_admits_nothing_more(ledger, submitted):
    ledger.commit(submitted, usd("10.000001"))
    assert ledger.wallets.get("film").available == usd("-0.000001")
    with unchanged(ledger), pytest.raises(InsufficientCreditsError) as caught:
        ledger.reserve("film", usd("0.000001"))
    assert (caught.value.available, caught.value.fits) == (usd("-0.000001"), usd("0"))


def test_an_overrun_may_take_what_others_have_reserved_and_they_still_end_well(ledger, submitted):
    other = ledger.reserve("film", usd("7"))
    ledger.commit(submitted, usd("5"))
    assert ledger.wallets.get("film").available == usd("-2")
    ledger.roll_back(other.id, "not wanted")
    assert standing(ledger, "film") == (usd("5"), usd("0"), usd("5"))


def test_an_overrun_wallet_that_is_funded_admits_what_it_holds_again(ledger, submitted):
    ledger.commit(submitted, usd("12"))
    ledger.wallets.fund("film", usd("5"))
    assert ledger.reserve("film", usd("3")).state is State.RESERVED


def test_a_script_may_commit_what_it_reserved_and_never_submitted(ledger):
    made = ledger.reserve("film", usd("3"))
    assert ledger.commit(made.id, usd("1")).state is State.COMMITTED
    assert standing(ledger, "film") == (usd("9"), usd("0"), usd("9"))


def test_committing_again_with_the_same_amount_is_the_same_commit(ledger, submitted):
    first = ledger.commit(submitted, usd("2"))
    with unchanged(ledger):
        assert ledger.commit(submitted, usd("2.000")) == first


def test_committing_again_with_another_amount_shows_both(ledger, submitted):
    ledger.commit(submitted, usd("2"))
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.commit(submitted, usd("2.000001"))
    error = caught.value
    assert (error.field, error.stored, error.given) == ("settled cost", usd("2"), usd("2.000001"))


@pytest.mark.parametrize("is_part", [False, True])
@pytest.mark.parametrize("amount", [2, 2.0, "2 USD", float("nan"), float("inf"), True])
def test_only_money_can_be_charged(ledger, submitted, amount, is_part):
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.commit(submitted, amount, is_part=is_part)


def test_without_an_amount_a_job_costs_what_is_still_held(ledger, submitted):
    ledger.commit(submitted, usd("1"), is_part=True)
    assert ledger.commit(submitted).committed == usd("3")
    assert transfers(ledger)[-2:] == ["commit 1", "commit 2"]


def test_a_part_needs_an_amount(ledger, submitted):
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.commit(submitted, None, is_part=True)


def test_what_came_back_is_only_charged_after_all_at_an_amount(ledger, submitted):
    ledger.roll_back(submitted, "it failed")
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.commit(submitted)


def test_a_task_that_another_reservation_has_cannot_be_kept(ledger, submitted):
    first, second = (
        ledger.reserve("film", usd("1"), job=Job(provider="crun")).id for _ in range(2)
    )
    ledger.record_task(first, "t")
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.record_task(second, "t")
    assert (caught.value.field, caught.value.stored) == ("reservation", first)


@pytest.mark.parametrize("amount", [2, 2.0, "2 USD", float("nan"), None])
def test_only_money_can_be_refunded(ledger, submitted, amount):
    ledger.commit(submitted, usd("3"))
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.refund(submitted, amount, reason="x")


@pytest.mark.parametrize("is_part", [False, True])
def test_a_negative_settled_cost_is_refused(ledger, submitted, is_part):
    with unchanged(ledger), pytest.raises(AmountError, match="settled cost"):
        ledger.commit(submitted, usd("-0.000001"), is_part=is_part)


@pytest.mark.parametrize("is_part", [False, True])
def test_a_settled_cost_in_another_unit_is_refused(ledger, submitted, is_part):
    with unchanged(ledger), pytest.raises(AmountError, match="unit"):
        ledger.commit(submitted, Money(Decimal(2), "CNY"), is_part=is_part)


def test_charges_may_reach_the_largest_amount(ledger):
    first, second = (ledger.reserve("film", usd("1")) for _ in range(2))
    ledger.commit(first.id, LARGEST - usd("1"))
    ledger.commit(second.id, usd("1"))
    assert ledger.wallets.get("film").spent == LARGEST


# --- in parts ------------------------------------------------------------------------------


def test_a_part_is_charged_and_the_rest_stays_reserved(ledger, submitted):
    part = ledger.commit(submitted, usd("1"), is_part=True)
    assert (part.state, part.held, part.committed) == (State.SUBMITTED, usd("2"), usd("1"))
    assert standing(ledger, "film") == (usd("9"), usd("2"), usd("7"))
    assert transfers(ledger)[-1] == "commit 1"


def test_the_last_commit_returns_what_the_parts_left(ledger, submitted):
    ledger.commit(submitted, usd("1"), is_part=True, key="part 1")
    ledger.commit(submitted, usd("0.5"), is_part=True, key="part 2")
    ended = ledger.commit(submitted, usd("1"))
    assert (ended.state, ended.committed, ended.held) == (State.COMMITTED, usd("2.5"), usd("0"))
    assert standing(ledger, "film") == (usd("7.5"), usd("0"), usd("7.5"))
    assert transfers(ledger)[-2:] == ["commit 1", "return 0.5"]


def test_the_last_commit_after_a_part_twice_in_one_call_is_made_once(ledger, submitted):
    ledger.commit(submitted, usd("1"), is_part=True)
    last = Change(submitted, State.COMMITTED, usd("0.5"), settled_by="provider")
    first, again = ledger.settle([last, last])
    assert first == again
    assert (first.committed, ledger.wallets.get("film").spent) == (usd("1.5"), usd("1.5"))


def test_the_same_last_commit_after_parts_again_changes_nothing(ledger, submitted):
    ledger.commit(submitted, usd("1"), is_part=True, key="part 1")
    ended = ledger.commit(submitted, usd("1.5"))
    with unchanged(ledger):
        assert ledger.commit(submitted, usd("1.5")) == ended
        assert ledger.commit(submitted, usd("2.5")) == ended
    for other in ("1", "0.5", "3"):
        with unchanged(ledger), pytest.raises(ConflictError):
            ledger.commit(submitted, usd(other))


def test_the_same_part_without_a_key_is_another_part_and_with_one_the_same(ledger, submitted):
    for key in (None, None, "part", "part"):
        ledger.commit(submitted, usd("0.5"), is_part=True, key=key)
    assert ledger.reservations.get(submitted).committed == usd("1.5")


def test_parts_up_to_all_that_was_reserved_leave_it_open_and_empty(ledger, submitted):
    part = ledger.commit(submitted, usd("3"), is_part=True)
    assert (part.is_open, part.held) == (True, usd("0"))
    assert ledger.commit(submitted, usd("0")).committed == usd("3")


def test_a_part_of_more_than_is_held_is_charged_whole(ledger, submitted):
    part = ledger.commit(submitted, usd("3.000001"), is_part=True)
    assert (part.is_open, part.held, part.committed) == (True, usd("0"), usd("3.000001"))
    assert transfers(ledger)[-2:] == ["commit 3", "overrun 0.000001"]


def test_rolling_back_returns_what_the_parts_left(ledger, submitted):
    ledger.commit(submitted, usd("1"), is_part=True)
    ended = ledger.roll_back(submitted, "the second shot failed")
    assert (ended.state, ended.committed) == (State.ROLLED_BACK, usd("1"))
    assert standing(ledger, "film") == (usd("9"), usd("0"), usd("9"))
    assert transfers(ledger)[-1] == "roll_back 2"


@pytest.mark.parametrize("end", ["commit", "roll_back", "expire"])
def test_nothing_is_committed_in_part_once_it_has_ended(ledger, clock, end):
    made = ledger.reserve("film", usd("3"), expires_at=SOON)
    if end == "commit":
        ledger.commit(made.id, usd("1"))
    elif end == "roll_back":
        ledger.roll_back(made.id, "not wanted")
    else:
        clock.now = SOON
        ledger.expire()
    with unchanged(ledger), pytest.raises(StateError, match="cannot be committed in part"):
        ledger.commit(made.id, usd("1"), is_part=True)


def test_a_part_may_be_charged_in_every_open_state(ledger):
    made = ledger.reserve("film", usd("3"))
    for step in (
        lambda: None,
        lambda: ledger.mark_submitting(made.id),
        lambda: ledger.mark_in_doubt(made.id, "no reply"),
    ):
        step()
        before = ledger.reservations.get(made.id).state
        assert ledger.commit(made.id, usd("0.5"), is_part=True).state is before
    assert ledger.reservations.get(made.id).committed == usd("1.5")


# --- refunds -------------------------------------------------------------------------------


def test_a_refund_brings_back_some_of_what_was_charged(ledger, submitted):
    ledger.commit(submitted, usd("3"))
    after = ledger.refund(submitted, usd("1"), reason="a black clip")
    assert (after.state, after.committed) == (State.COMMITTED, usd("3"))
    assert (after.refunded, ledger.wallets.get("film").spent) == (usd("1"), usd("2"))
    assert transfers(ledger)[-1] == "refund 1"


def test_all_of_a_charge_may_be_refunded_and_a_millionth_more_not(ledger, submitted):
    ledger.commit(submitted, usd("3"))
    ledger.refund(submitted, usd("1"), reason="x")
    with unchanged(ledger), pytest.raises(AmountError, match="at most 2 USD"):
        ledger.refund(submitted, usd("2.000001"), reason="x")
    ledger.refund(submitted, usd("2"), reason="x")
    assert standing(ledger, "film") == (usd("10"), usd("0"), usd("10"))
    with unchanged(ledger), pytest.raises(AmountError, match="at most 0 USD"):
        ledger.refund(submitted, usd("0.000001"), reason="x")


@pytest.mark.parametrize("amount", ["0", "-0.000001"])
def test_refunding_nothing_or_less_is_refused(ledger, submitted, amount):
    ledger.commit(submitted, usd("3"))
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.refund(submitted, usd(amount), reason="x")


def test_a_refund_in_another_unit_is_refused(ledger, submitted):
    ledger.commit(submitted, usd("3"))
    with unchanged(ledger), pytest.raises(AmountError, match="unit"):
        ledger.refund(submitted, money("1 CNY"), reason="x")


def test_what_was_never_charged_cannot_be_refunded(ledger, submitted):
    with unchanged(ledger), pytest.raises(AmountError, match="at most 0 USD"):
        ledger.refund(submitted, usd("0.000001"), reason="x")


def test_a_part_may_be_refunded_while_the_rest_is_held(ledger, submitted):
    ledger.commit(submitted, usd("1"), is_part=True)
    after = ledger.refund(submitted, usd("0.4"), reason="x")
    assert (after.held, after.refunded, after.is_open) == (usd("2"), usd("0.4"), True)
    assert standing(ledger, "film") == (usd("9.4"), usd("2"), usd("7.4"))


def test_a_refund_lets_what_it_brought_be_reserved_again(ledger, submitted):
    ledger.commit(submitted, usd("10"))
    ledger.refund(submitted, usd("1"), reason="x")
    assert ledger.reserve("film", usd("1")).held == usd("1")


# --- corrections ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "transfer", "committed", "refunded"),
    [
        ("2.000001", "late_commit 0.000001", "2.000001", "0"),
        ("5", "late_commit 3", "5", "0"),
        ("1.999999", "refund 0.000001", "2", "0.000001"),
        ("0", "refund 2", "2", "2"),
    ],
)
def test_a_correction_moves_the_difference(ledger, submitted, to, transfer, committed, refunded):
    ledger.commit(submitted, usd("2"))
    after = ledger.correct(submitted, usd(to), reason="the bill says so")
    assert (after.committed, after.refunded) == (usd(committed), usd(refunded))
    assert transfers(ledger)[-1] == transfer
    assert ledger.wallets.get("film").spent == usd(to)


def test_a_correction_counts_from_what_was_refunded_before(ledger, submitted):
    ledger.commit(submitted, usd("3"))
    ledger.refund(submitted, usd("1"), reason="x")
    ledger.correct(submitted, usd("2.5"), reason="x")
    assert transfers(ledger)[-1] == "late_commit 0.5"
    ledger.correct(submitted, usd("0"), reason="x")
    assert standing(ledger, "film") == (usd("10"), usd("0"), usd("10"))


def test_a_correction_to_what_it_cost_changes_nothing(ledger, submitted):
    ledger.commit(submitted, usd("2"))
    with unchanged(ledger):
        ledger.correct(submitted, usd("2"), reason="x")


def test_a_correction_to_what_it_cost_still_keeps_who_says_so(ledger, submitted):
    ledger.commit(submitted, usd("2"), settled_by="quote")
    moved = transfers(ledger)
    assert ledger.correct(submitted, usd("2"), reason="x", settled_by="provider").spent == usd("2")
    assert ledger.reservations.get(submitted).settled_by == "provider"
    assert transfers(ledger) == moved


def test_a_correction_of_an_open_reservation_is_refused(ledger, submitted):
    ledger.commit(submitted, usd("1"), is_part=True)
    with unchanged(ledger), pytest.raises(StateError, match="cannot be corrected"):
        ledger.correct(submitted, usd("2"), reason="x")


@pytest.mark.parametrize("amount", [money("2 CNY"), usd("-0.000001"), 2.0, None])
def test_a_correction_to_an_impossible_cost_is_refused(ledger, submitted, amount):
    ledger.commit(submitted, usd("3"))
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.correct(submitted, amount, reason="x")


def test_a_correction_happens_once_per_key(ledger, submitted):
    ledger.commit(submitted, usd("3"))
    ledger.correct(submitted, usd("2"), reason="x", key="bill 7")
    ledger.correct(submitted, usd("1"), reason="x")
    with unchanged(ledger):
        ledger.correct(submitted, usd("2"), reason="x", key="bill 7")
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.correct(submitted, usd("1"), reason="x", key="bill 7")
    assert caught.value.field == "amount"


# --- late ----------------------------------------------------------------------------------


@pytest.fixture(params=["rolled back", "expired"])
def ended(request: pytest.FixtureRequest, ledger: Ledger, clock: Clock) -> str:
    """The id of a reservation of 3 USD whose credits all went back."""
    made = ledger.reserve("film", usd("3"), expires_at=SOON)
    if request.param == "rolled back":
        ledger.roll_back(made.id, "it seemed to fail")
    else:
        clock.now = SOON
        ledger.expire()
    return made.id


def test_a_late_commit_charges_after_all(ledger, ended):
    late = ledger.commit(ended, usd("2"))
    assert (late.state, late.committed, late.held) == (State.COMMITTED, usd("2"), usd("0"))
    assert transfers(ledger)[-1] == "late_commit 2"
    assert standing(ledger, "film") == (usd("8"), usd("0"), usd("8"))


def test_a_late_commit_may_overrun_the_wallet(ledger, ended):
    ledger.reserve("film", usd("10"))
    ledger.commit(ended, usd("2"))
    assert standing(ledger, "film") == (usd("8"), usd("10"), usd("-2"))


def test_a_late_commit_of_nothing_moves_nothing(ledger, ended):
    before = transfers(ledger)
    assert ledger.commit(ended, usd("0")).state is State.COMMITTED
    assert transfers(ledger) == before


def test_a_late_commit_adds_to_the_parts_that_were_charged(ledger, submitted):
    ledger.commit(submitted, usd("1"), is_part=True)
    ledger.roll_back(submitted, "it seemed to fail")
    assert ledger.commit(submitted, usd("2")).committed == usd("3")
    assert ledger.wallets.get("film").spent == usd("3")


def test_a_late_commit_comes_once(ledger, ended):
    ledger.commit(ended, usd("2"))
    with unchanged(ledger):
        ledger.commit(ended, usd("2"))


def test_a_late_commit_after_parts_comes_once_in_one_call_too(ledger, submitted):
    ledger.commit(submitted, usd("1"), is_part=True)
    ledger.roll_back(submitted, "it seemed to fail")
    late = Change(submitted, State.COMMITTED, usd("2"))
    first, second = ledger.settle([late, late])
    assert first.committed == second.committed == usd("3")
    with pytest.raises(ConflictError):
        ledger.settle([late, Change(submitted, State.COMMITTED, usd("2.5"))])


def test_a_late_commit_and_another_of_one_call_contradict_each_other(ledger, submitted):
    ledger.commit(submitted, usd("1"), is_part=True)
    ledger.roll_back(submitted, "it seemed to fail")
    amounts = (usd("2"), usd("2.5"))
    with unchanged(ledger), pytest.raises(ConflictError):
        ledger.settle([Change(submitted, State.COMMITTED, one) for one in amounts])


def test_that_a_rolled_back_job_cost_nothing_leaves_it_rolled_back(ledger, ended):
    state = ledger.reservations.get(ended).state
    after = ledger.correct(ended, usd("0"), reason="the bill says so", settled_by="provider")
    assert (after.state, after.settled_by, after.spent) == (state, "provider", usd("0"))


def test_a_correction_charges_what_had_been_given_back(ledger, ended):
    after = ledger.correct(ended, usd("2"), reason="the bill says so")
    assert (after.state, after.committed) == (State.COMMITTED, usd("2"))
    assert transfers(ledger)[-1] == "late_commit 2"


def test_a_late_commit_may_be_refunded(ledger, ended):
    ledger.commit(ended, usd("2"))
    ledger.refund(ended, usd("2"), reason="not our job")
    assert standing(ledger, "film") == (usd("10"), usd("0"), usd("10"))


# --- expiry --------------------------------------------------------------------------------


def test_the_clock_ends_a_reservation_exactly_at_its_expiry_and_not_before(ledger, clock):
    made = ledger.reserve("film", usd("3"), expires_at=SOON)
    clock.now = SOON - timedelta(microseconds=1)
    with unchanged(ledger):
        assert ledger.expire() == []
    clock.now = SOON
    (gone,) = ledger.expire()
    assert (gone.id, gone.state, gone.held) == (made.id, State.EXPIRED, usd("0"))
    assert transfers(ledger)[-1] == "expire 3"


def test_a_reservation_without_an_expiry_stays(ledger, clock):
    ledger.reserve("film", usd("3"))
    clock.forward(days=9999)
    with unchanged(ledger):
        assert ledger.expire() == []


@pytest.mark.parametrize("state", [State.SUBMITTING, State.SUBMITTED, State.IN_DOUBT])
def test_the_clock_never_ends_what_may_have_been_sent(ledger, clock, state):
    made = ledger.reserve("film", usd("3"), expires_at=SOON)
    ledger.mark_submitting(made.id)
    if state is State.SUBMITTED:
        ledger.mark_submitted(made.id, "task-1")
    elif state is State.IN_DOUBT:
        ledger.mark_in_doubt(made.id, "no reply")
    clock.forward(days=9999)
    with unchanged(ledger):
        assert ledger.expire() == []


def test_what_is_past_its_expiry_is_not_sent_any_more(ledger, clock):
    made = ledger.reserve("film", usd("3"), expires_at=SOON)
    clock.now = SOON
    with unchanged(ledger), pytest.raises(StateError, match="past its expiry"):
        ledger.mark_submitting(made.id)


def test_what_is_just_before_its_expiry_may_be_sent(ledger, clock):
    made = ledger.reserve("film", usd("3"), expires_at=SOON)
    clock.now = SOON - timedelta(microseconds=1)
    assert ledger.mark_submitting(made.id).state is State.SUBMITTING


def test_nobody_expires_by_hand_what_the_clock_has_not_ended(ledger, clock):
    made = ledger.reserve("film", usd("3"), expires_at=SOON)
    for change in (Change(made.id, State.EXPIRED),):
        with unchanged(ledger), pytest.raises(StateError, match="not past its expiry"):
            ledger.settle([change])


def test_a_clock_set_back_expires_nothing(ledger, clock):
    ledger.reserve("film", usd("3"), expires_at=SOON)
    clock.now = NOON - timedelta(days=1)
    with unchanged(ledger):
        assert ledger.expire() == []


def test_everything_that_is_due_expires_together(ledger, clock):
    made = [ledger.reserve("film", usd("1"), expires_at=SOON).id for _ in range(3)]
    clock.now = SOON
    assert sorted(one.id for one in ledger.expire()) == made
    assert standing(ledger, "film") == (usd("10"), usd("0"), usd("10"))
    with unchanged(ledger):
        assert ledger.expire() == []


def test_an_expiry_after_parts_returns_what_they_left(ledger, clock):
    made = ledger.reserve("film", usd("3"), expires_at=SOON)
    ledger.commit(made.id, usd("1"), is_part=True)
    clock.now = SOON
    (gone,) = ledger.expire()
    assert (gone.committed, standing(ledger, "film")) == (
        usd("1"),
        (usd("9"), usd("0"), usd("9")),
    )


# --- many at a time ------------------------------------------------------------------------


def test_many_changes_are_made_together(ledger):
    made = [ledger.reserve("film", usd("2")).id for _ in range(3)]
    ended = ledger.settle(
        [
            Change(made[0], State.COMMITTED, usd("1")),
            Change(made[1], State.ROLLED_BACK),
            Change(made[2], State.SUBMITTING),
        ]
    )
    assert [one.state for one in ended] == [State.COMMITTED, State.ROLLED_BACK, State.SUBMITTING]
    assert standing(ledger, "film") == (usd("9"), usd("2"), usd("7"))


def test_one_change_that_is_refused_undoes_all_of_them(ledger):
    made = [ledger.reserve("film", usd("2")).id for _ in range(2)]
    changes = [Change(made[0], State.COMMITTED, usd("1")), Change(made[1], State.SUBMITTED)]
    with unchanged(ledger), pytest.raises(StateError):
        ledger.settle(changes)


def test_an_unknown_reservation_among_many_undoes_all_of_them(ledger):
    made = ledger.reserve("film", usd("2")).id
    changes = [Change(made, State.COMMITTED, usd("1")), Change("res_none", State.ROLLED_BACK)]
    with unchanged(ledger), pytest.raises(NotFoundError):
        ledger.settle(changes)


def test_changes_of_one_reservation_follow_one_another_in_one_call(ledger):
    made = ledger.reserve("film", usd("3")).id
    changes = [
        Change(made, State.SUBMITTING),
        Change(made, State.SUBMITTED, task_id="task-1"),
        Change(made, State.COMMITTED, usd("1"), is_part=True),
        Change(made, State.COMMITTED, usd("1.5")),
        Change(made, None, usd("0.5")),
    ]
    assert {one.committed for one in ledger.settle(changes)} == {usd("2.5")}
    assert ledger.reservations.get(made).refunded == usd("0.5")
    assert transfers(ledger)[-4:] == ["commit 1", "commit 1.5", "return 0.5", "refund 0.5"]


def test_one_key_twice_in_one_call_is_one_change(ledger):
    made = ledger.reserve("film", usd("3")).id
    part = Change(made, State.COMMITTED, usd("1"), is_part=True, key="part 1")
    ledger.settle([part, part])
    assert ledger.reservations.get(made).committed == usd("1")


def test_one_key_twice_in_one_call_for_other_content_names_the_difference(ledger):
    made = ledger.reserve("film", usd("3")).id
    parts = [
        Change(made, State.COMMITTED, usd(amount), is_part=True, key="part 1")
        for amount in ("1", "2")
    ]
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.settle(parts)
    assert caught.value.field == "amount"


def test_settling_nothing_changes_nothing(ledger):
    with unchanged(ledger):
        assert ledger.settle([]) == []


def test_of_many_that_commit_with_one_key_one_charges(ledger, submitted):
    def commit(_: int) -> object:
        return ledger.commit(submitted, usd("1"), is_part=True, key="part 1").committed

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(commit, range(24))) == {usd("1")}
    assert standing(ledger, "film") == (usd("9"), usd("2"), usd("7"))


# --- amounts in US dollars of what is counted in another unit ---------------------------------


@pytest.mark.parametrize(
    ("charged", "spent"),
    [("10", "0.333333"), ("5", "0.166667"), ("15", "0.5"), ("0", "0"), ("20", "0.666666")],
)
def test_a_cost_in_another_unit_is_worth_its_share_of_the_quote(ledger, charged, spent):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("100 crun-credit"))
    ledger.budgets.set("all", usd("5"), scope=Scope(wallet="credits"))
    made = ledger.reserve("credits", money("10 crun-credit"), job=Job("crun", usd=usd("0.333333")))
    assert ledger.budgets.get("all").reserved == usd("0.333333")
    ledger.commit(made.id, money(f"{charged} crun-credit"))
    status = ledger.budgets.get("all")
    assert (status.reserved, status.spent) == (usd("0"), usd(spent))


def test_jobs_settled_in_one_call_add_up_in_budgets_of_every_unit(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("100 crun-credit"))
    made = [ledger.reserve("credits", money(f"{held} crun-credit")).id for held in (10, 20)]
    # Reserved before it was set, and without a value in dollars: it never counts them.
    ledger.budgets.set("dollars", usd("5"), scope=Scope(wallet="credits"))
    ledger.budgets.set("credits", money("50 crun-credit"), scope=Scope(wallet="credits"))
    ledger.budgets.set("films", usd("50"), scope=Scope(wallet="film"))
    made += [ledger.reserve("film", usd(held)).id for held in ("3", "2")]
    costs = [money("4 crun-credit"), money("5 crun-credit"), usd("1"), usd("0.5")]
    ledger.settle(
        [Change(one, State.COMMITTED, cost) for one, cost in zip(made, costs, strict=True)]
    )
    standings = [ledger.budgets.get(name) for name in ("dollars", "credits", "films")]
    assert [(str(one.reserved), str(one.spent)) for one in standings] == [
        ("0 USD", "0 USD"),
        ("0 crun-credit", "9 crun-credit"),
        ("0 USD", "1.5 USD"),
    ]


def test_a_charge_past_what_a_wallet_can_show_is_refused(ledger):
    first, second = (ledger.reserve("film", usd("1")) for _ in range(2))
    ledger.commit(first.id, LARGEST)
    told = '^settled cost: got "0.000001", allowed: at most 9007199254.740991 spent in one wallet'
    with unchanged(ledger), pytest.raises(AmountError, match=told):
        ledger.commit(second.id, usd("0.000001"))
    assert ledger.wallets.get("film").spent == LARGEST
    assert found(ledger, "SELECT posted_micro FROM wallet")[0]["posted_micro"] < 0


def test_a_charge_past_what_a_wallet_can_show_as_left_is_refused(ledger):
    first, _ = (ledger.reserve("film", usd("5")).id for _ in range(2))
    ledger.wallets.adjust("film", usd("0") - LARGEST, reason="counted")
    assert ledger.wallets.get("film").available == usd("0") - LARGEST
    with unchanged(ledger), pytest.raises(AmountError, match="settled cost"):
        ledger.commit(first, usd("5.000001"))
    ledger.commit(first, usd("5"))


def test_two_reservations_given_one_task_in_one_call_are_refused_together(ledger):
    made = [ledger.reserve("film", usd("1"), job=Job("crun")).id for _ in range(2)]
    ledger.settle([Change(one, State.SUBMITTING) for one in made])
    with unchanged(ledger), pytest.raises(ConflictError, match="task t-1") as caught:
        ledger.settle([Change(one, State.SUBMITTED, task_id="t-1") for one in made])
    assert (caught.value.field, caught.value.stored) == ("reservation", made[0])
