"""Reservations: what is admitted, how each ends, and what the wallet holds after every change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_ledger.errors import (
    CeilingError,
    ConflictError,
    InsufficientCreditsError,
    LedgerError,
    NotFoundError,
    StateError,
)
from kling_ledger.ledger import OPEN_STATES, Job, Ledger, Reservation, State
from kling_ledger.ledger.journal import Stamp
from kling_ledger.ledger.reservations import change
from kling_pricing.errors import AmountError
from kling_pricing.money import MAX_MICRO, Money
from tests.ledgers import unchanged, usd

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
JOB = Job(
    provider="crun",
    model="kling-v3",
    action="text2video",
    seconds="5",
    billed_seconds=5,
    resolution="1080p",
    sound=True,
    usd=Money(Decimal(3), "USD"),
    quote='{"amount": "3"}',
    request='{"prompt": "a cat"}',
    payload_hash="sha256:one",
)

RESERVED, SUBMITTING, SUBMITTED = State.RESERVED, State.SUBMITTING, State.SUBMITTED
IN_DOUBT, COMMITTED = State.IN_DOUBT, State.COMMITTED
ROLLED_BACK, EXPIRED = State.ROLLED_BACK, State.EXPIRED

WAY_TO: dict[State, tuple[State, ...]] = {
    RESERVED: (),
    SUBMITTING: (SUBMITTING,),
    SUBMITTED: (SUBMITTING, SUBMITTED),
    IN_DOUBT: (SUBMITTING, IN_DOUBT),
    COMMITTED: (SUBMITTING, SUBMITTED, COMMITTED),
    ROLLED_BACK: (ROLLED_BACK,),
    EXPIRED: (EXPIRED,),
}
TRANSFERS_OF: dict[tuple[State, State], list[str]] = {
    (RESERVED, SUBMITTING): [],
    (RESERVED, ROLLED_BACK): ["roll_back 3"],
    (RESERVED, EXPIRED): ["roll_back 3"],
    (SUBMITTING, SUBMITTED): [],
    (SUBMITTING, IN_DOUBT): [],
    (SUBMITTING, ROLLED_BACK): ["roll_back 3"],
    (SUBMITTED, COMMITTED): ["commit 2", "return 1"],
    (SUBMITTED, ROLLED_BACK): ["roll_back 3"],
    (SUBMITTED, IN_DOUBT): [],
    (IN_DOUBT, SUBMITTED): [],
    (IN_DOUBT, COMMITTED): ["commit 2", "return 1"],
    (IN_DOUBT, ROLLED_BACK): ["roll_back 3"],
    (ROLLED_BACK, COMMITTED): ["late_commit 2"],
    (EXPIRED, COMMITTED): ["late_commit 2"],
}
FORBIDDEN = [
    pair
    for pair in product(State, State)
    if pair not in TRANSFERS_OF and (pair[0] != pair[1] or pair[0] is SUBMITTING)
]


def move(ledger: Ledger, reservation_id: str, to_state: State) -> Reservation:
    """Ask for a change as its caller would; a commit charges 2 of the 3 that were set aside."""
    if to_state is SUBMITTING:
        return ledger.mark_submitting(reservation_id)
    if to_state is SUBMITTED:
        return ledger.mark_submitted(reservation_id, "task-1")
    if to_state is IN_DOUBT:
        return ledger.mark_in_doubt(reservation_id, "no reply")
    if to_state is COMMITTED:
        return ledger.commit(reservation_id, usd("2"))
    if to_state is ROLLED_BACK:
        return ledger.roll_back(reservation_id, "it failed")
    with ledger.database.write() as transaction:
        return change(transaction, reservation_id, to_state, stamp=Stamp(at=NOON, actor="clock"))


def in_state(ledger: Ledger, state: State) -> str:
    """Return the id of a reservation of 3 USD for the job, led to a state."""
    reservation_id = ledger.reserve("film", usd("3"), job=JOB).id
    for step in WAY_TO[state]:
        move(ledger, reservation_id, step)
    return reservation_id


def transfers(ledger: Ledger) -> list[str]:
    with ledger.database.read() as transaction:
        rows = transaction.rows("SELECT kind, amount_micro FROM transfer ORDER BY rowid")
    return [f"{row['kind']} {Decimal(row['amount_micro']) / 1_000_000:f}" for row in rows]


def balances(ledger: Ledger) -> tuple[Money, Money, Money]:
    wallet = ledger.wallet("film")
    return wallet.posted, wallet.reserved, wallet.available


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(str(tmp_path / "ledger.sqlite"), actor="ada") as opened:
        opened.create_wallet("film", "USD")
        opened.fund_wallet("film", usd("10"))
        yield opened
        assert opened.verify().is_clean


def test_reserving_sets_credits_aside_and_spends_none(ledger):
    reservation = ledger.reserve("film", usd("3"))
    assert (reservation.state, reservation.is_open) == (RESERVED, True)
    assert balances(ledger) == (usd("10"), usd("3"), usd("7"))


def test_a_reservation_keeps_what_it_is_for(ledger):
    made = ledger.reserve("film", usd("3"), job=JOB, project="autumn/spot-1")
    found = ledger.reservation(made.id)
    assert (found.job, found.project, found.wallet) == (JOB, "autumn/spot-1", "film")
    assert found == made


def test_exactly_what_is_available_is_admitted(ledger):
    ledger.reserve("film", usd("3"))
    ledger.reserve("film", usd("7"))
    assert balances(ledger) == (usd("10"), usd("10"), usd("0"))


def test_a_millionth_more_than_is_available_is_refused(ledger):
    ledger.reserve("film", usd("3"))
    with unchanged(ledger), pytest.raises(InsufficientCreditsError) as caught:
        ledger.reserve("film", usd("7.000001"))
    assert (caught.value.needed, caught.value.available) == (usd("7.000001"), usd("7"))
    assert "short by 0.000001 USD" in str(caught.value)


def test_a_millionth_is_refused_by_an_empty_wallet(ledger):
    ledger.create_wallet("empty", "USD")
    with unchanged(ledger), pytest.raises(InsufficientCreditsError):
        ledger.reserve("empty", usd("0.000001"))


def test_a_job_that_costs_as_much_as_its_ceiling_is_admitted(ledger):
    assert ledger.reserve("film", usd("3"), ceiling=usd("3")).amount == usd("3")


def test_a_job_that_costs_a_millionth_more_than_its_ceiling_is_refused(ledger):
    with unchanged(ledger), pytest.raises(CeilingError) as caught:
        ledger.reserve("film", usd("3.000001"), ceiling=usd("3"))
    assert (caught.value.cost, caught.value.ceiling) == (usd("3.000001"), usd("3"))


def test_a_ceiling_in_another_unit_is_refused(ledger):
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.reserve("film", usd("3"), ceiling=Money(Decimal(30), "CNY"))


@pytest.mark.parametrize("amount", ["0", "-0.000001", "-3"])
def test_reserving_nothing_or_less_is_refused(ledger, amount):
    with unchanged(ledger), pytest.raises(AmountError, match="more than nothing"):
        ledger.reserve("film", usd(amount))


def test_reserving_in_another_unit_is_refused(ledger):
    with unchanged(ledger), pytest.raises(AmountError, match=r"USD.*CNY"):
        ledger.reserve("film", Money(Decimal(1), "CNY"))


def test_reserving_from_an_unknown_wallet_is_refused(ledger):
    with unchanged(ledger), pytest.raises(NotFoundError):
        ledger.reserve("nobody", usd("1"))


def test_an_unknown_reservation_is_named(ledger):
    with unchanged(ledger), pytest.raises(NotFoundError, match="res_nothing"):
        ledger.roll_back("res_nothing", "not wanted")


@pytest.mark.parametrize("pair", TRANSFERS_OF, ids=" to ".join)
def test_an_allowed_change_leads_to_its_state(ledger, pair):
    reservation_id = in_state(ledger, pair[0])
    moved = move(ledger, reservation_id, pair[1])
    assert moved.state is pair[1]
    assert moved == ledger.reservation(reservation_id)


@pytest.mark.parametrize("pair", TRANSFERS_OF, ids=" to ".join)
def test_an_allowed_change_moves_these_credits_and_no_others(ledger, pair):
    reservation_id = in_state(ledger, pair[0])
    before = transfers(ledger)
    move(ledger, reservation_id, pair[1])
    assert transfers(ledger) == before + TRANSFERS_OF[pair]


@pytest.mark.parametrize("pair", TRANSFERS_OF, ids=" to ".join)
def test_after_a_change_the_wallet_holds_what_the_state_says(ledger, pair):
    move(ledger, in_state(ledger, pair[0]), pair[1])
    spent = usd("2") if pair[1] is COMMITTED else usd("0")
    held = usd("3") if pair[1] in OPEN_STATES else usd("0")
    assert balances(ledger) == (usd("10") - spent, held, usd("10") - spent - held)


@pytest.mark.parametrize("pair", FORBIDDEN, ids=" to ".join)
def test_any_other_change_is_refused(ledger, pair):
    reservation_id = in_state(ledger, pair[0])
    with unchanged(ledger), pytest.raises(StateError, match=f"{reservation_id} is {pair[0]}"):
        move(ledger, reservation_id, pair[1])


@pytest.mark.parametrize("state", [state for state in State if state is not SUBMITTING])
def test_asking_for_what_already_happened_is_harmless(ledger, state):
    reservation_id = in_state(ledger, state)
    with unchanged(ledger):
        assert move(ledger, reservation_id, state) == ledger.reservation(reservation_id)


def test_only_one_caller_may_begin_to_submit(ledger):
    reservation_id = in_state(ledger, SUBMITTING)
    with unchanged(ledger), pytest.raises(StateError, match="is submitting"):
        ledger.mark_submitting(reservation_id)


def test_committing_less_returns_the_rest(ledger):
    committed = ledger.commit(in_state(ledger, SUBMITTED), usd("2.999999"))
    assert balances(ledger) == (usd("7.000001"), usd("0"), usd("7.000001"))
    assert committed.variance == usd("-0.000001")
    assert transfers(ledger)[-2:] == ["commit 2.999999", "return 0.000001"]


def test_committing_exactly_what_was_reserved_returns_nothing(ledger):
    committed = ledger.commit(in_state(ledger, SUBMITTED), usd("3"))
    assert balances(ledger) == (usd("7"), usd("0"), usd("7"))
    assert committed.variance == usd("0")
    assert transfers(ledger)[-2:] == ["reserve 3", "commit 3"]


def test_committing_nothing_returns_everything(ledger):
    committed = ledger.commit(in_state(ledger, SUBMITTED), usd("0"))
    assert (committed.state, committed.committed) == (COMMITTED, usd("0"))
    assert balances(ledger) == (usd("10"), usd("0"), usd("10"))
    assert transfers(ledger)[-1] == "return 3"


def test_committing_more_charges_the_whole(ledger):
    committed = ledger.commit(in_state(ledger, SUBMITTED), usd("3.000001"))
    assert balances(ledger) == (usd("6.999999"), usd("0"), usd("6.999999"))
    assert committed.variance == usd("0.000001")
    assert transfers(ledger)[-2:] == ["commit 3", "overrun 0.000001"]


def test_a_wallet_that_is_overrun_shows_it_and_admits_nothing_more(ledger):
    ledger.commit(in_state(ledger, SUBMITTED), usd("10.000001"))
    assert ledger.wallet("film").available == usd("-0.000001")
    with unchanged(ledger), pytest.raises(InsufficientCreditsError):
        ledger.reserve("film", usd("0.000001"))


def test_an_overrun_may_take_what_others_have_reserved_and_they_still_end_well(ledger):
    other = ledger.reserve("film", usd("7"))
    ledger.commit(in_state(ledger, SUBMITTED), usd("5"))
    assert ledger.wallet("film").available == usd("-2")
    ledger.roll_back(other.id, "not wanted")
    assert balances(ledger) == (usd("5"), usd("0"), usd("5"))


def test_an_overrun_wallet_that_is_funded_admits_what_it_holds_again(ledger):
    ledger.commit(in_state(ledger, SUBMITTED), usd("12"))
    ledger.fund_wallet("film", usd("5"))
    assert ledger.reserve("film", usd("3")).state is RESERVED


@pytest.mark.parametrize("ended", [ROLLED_BACK, EXPIRED])
def test_a_late_commit_may_overrun_the_wallet(ledger, ended):
    reservation_id = in_state(ledger, ended)
    ledger.reserve("film", usd("10"))
    ledger.commit(reservation_id, usd("2"))
    assert balances(ledger) == (usd("8"), usd("10"), usd("-2"))


@pytest.mark.parametrize("ended", [ROLLED_BACK, EXPIRED])
def test_a_late_commit_of_nothing_moves_nothing(ledger, ended):
    reservation_id = in_state(ledger, ended)
    before = transfers(ledger)
    assert ledger.commit(reservation_id, usd("0")).state is COMMITTED
    assert transfers(ledger) == before


def test_a_negative_settled_cost_is_refused(ledger):
    reservation_id = in_state(ledger, SUBMITTED)
    with unchanged(ledger), pytest.raises(AmountError, match="settled cost"):
        ledger.commit(reservation_id, usd("-0.000001"))


def test_a_settled_cost_in_another_unit_is_refused(ledger):
    reservation_id = in_state(ledger, SUBMITTED)
    with unchanged(ledger), pytest.raises(AmountError, match="unit"):
        ledger.commit(reservation_id, Money(Decimal(2), "CNY"))


def test_committing_again_with_another_amount_shows_both(ledger):
    reservation_id = in_state(ledger, COMMITTED)
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.commit(reservation_id, usd("2.000001"))
    assert (caught.value.field, caught.value.stored) == ("settled cost", usd("2"))


def test_submitting_again_with_another_task_shows_both(ledger):
    reservation_id = in_state(ledger, SUBMITTED)
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.mark_submitted(reservation_id, "task-2")
    assert (caught.value.field, caught.value.stored, caught.value.given) == (
        "task",
        "task-1",
        "task-2",
    )


def test_one_task_cannot_belong_to_two_reservations(ledger):
    in_state(ledger, SUBMITTED)
    second = in_state(ledger, SUBMITTING)
    with unchanged(ledger), pytest.raises(LedgerError):
        ledger.mark_submitted(second, "task-1")


def test_two_providers_may_use_the_same_task_name(ledger):
    first = in_state(ledger, SUBMITTED)
    second = ledger.reserve("film", usd("1"), job=Job(provider="runapi")).id
    ledger.mark_submitting(second)
    ledger.mark_submitted(second, "task-1")
    found = [ledger.reservation_of_task(provider, "task-1") for provider in ("crun", "runapi")]
    assert [reservation.id for reservation in found if reservation] == [first, second]


def test_a_task_that_is_not_ours_has_no_reservation(ledger):
    assert ledger.reservation_of_task("crun", "task-1") is None


def test_a_commit_keeps_the_videos_and_who_settled_it(ledger):
    ids = in_state(ledger, SUBMITTED)
    ledger.commit(ids, usd("2"), settled_by="person", videos=("https://cdn.test/1.mp4",))
    found = ledger.reservation(ids)
    assert (found.settled_by, found.videos) == ("person", ("https://cdn.test/1.mp4",))


def test_a_doubt_keeps_its_problem_and_its_task(ledger):
    reservation_id = in_state(ledger, SUBMITTED)
    doubted = ledger.mark_in_doubt(reservation_id, "no verdict in an hour")
    assert (doubted.problem, doubted.task_id) == ("no verdict in an hour", "task-1")


def test_a_doubt_about_a_known_task_may_end_with_that_task(ledger):
    reservation_id = in_state(ledger, SUBMITTED)
    ledger.mark_in_doubt(reservation_id, "no verdict in an hour")
    assert ledger.mark_submitted(reservation_id, "task-1").state is SUBMITTED


def test_a_change_is_dated_by_the_clock_and_the_beginning_stays(tmp_path):
    instants = iter(NOON + timedelta(microseconds=tick) for tick in range(99))
    with Ledger(str(tmp_path / "ticking.sqlite"), clock=lambda: next(instants)) as ledger:
        ledger.create_wallet("film", "USD")
        ledger.fund_wallet("film", usd("10"))
        made = ledger.reserve("film", usd("3"))
        moved = ledger.mark_submitting(made.id)
    assert (moved.created_at, moved.updated_at) == (
        made.created_at,
        made.created_at + timedelta(microseconds=1),
    )


def test_the_latest_reservations_come_first_and_no_more_than_asked_for(ledger):
    made = [ledger.reserve("film", usd("1")).id for _ in range(4)]
    latest = [reservation.id for reservation in ledger.reservations(limit=3)]
    assert latest == made[:0:-1]


def test_reservations_are_listed_by_state_and_by_wallet(ledger):
    doubted, open_one = in_state(ledger, IN_DOUBT), in_state(ledger, RESERVED)
    assert [found.id for found in ledger.reservations(state=IN_DOUBT)] == [doubted]
    assert {found.id for found in ledger.reservations(wallet="film")} == {doubted, open_one}
    assert ledger.reservations(wallet="other") == []


AMOUNTS = st.integers(min_value=0, max_value=6_000_000)
HISTORIES = st.lists(
    st.tuples(st.sampled_from(["fund", "reserve", *State]), st.integers(0, 4), AMOUNTS),
    max_size=14,
)


def play(ledger: Ledger, step: str, reservation_id: str, amount: Money) -> None:
    """Do one step of a history as far as the ledger allows it."""
    try:
        if step == "fund":
            ledger.fund_wallet("film", amount)
        elif step == "reserve":
            ledger.reserve("film", amount)
        elif step == COMMITTED:
            ledger.commit(reservation_id, amount)
        elif step == SUBMITTED:
            ledger.mark_submitted(reservation_id, f"task-{reservation_id}")
        else:
            move(ledger, reservation_id, State(step))
    except (LedgerError, AmountError):
        pass


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Ledger]:
    """One file for all random histories: each empties its tables before it begins."""
    path = tmp_path_factory.mktemp("histories") / "ledger.sqlite"
    with Ledger(str(path)) as opened:
        with opened.database.write() as transaction:
            for table in ("transfer", "job_event"):
                transaction.run(f"DROP TRIGGER {table}_is_never_deleted")
        yield opened


def start_again(ledger: Ledger) -> None:
    with ledger.database.write() as transaction:
        for table in ("idempotency", "job_event", "transfer", "reservation", "wallet"):
            transaction.run(f"DELETE FROM {table}")
    ledger.create_wallet("film", "USD")
    ledger.fund_wallet("film", usd("10"))


@given(history=HISTORIES)
@settings(max_examples=250, deadline=None)
def test_after_any_history_the_wallet_is_what_was_funded_less_what_was_spent(shared, history):
    start_again(shared)
    made = [shared.reserve("film", usd("1.5")).id for _ in range(5)]
    for step, which, micro in history:
        play(shared, step, made[which], Money.from_micro(micro, "USD"))
    found = shared.reservations(limit=99)
    spent = sum(each.committed.micro for each in found if each.committed)
    held = sum(each.amount.micro for each in found if each.is_open)
    wallet = shared.wallet("film")
    assert (wallet.posted.micro, wallet.reserved.micro) == (wallet.funded.micro - spent, held)
    assert wallet.available.micro == wallet.funded.micro - spent - held
    assert shared.verify().findings == ()


@given(amounts=st.lists(AMOUNTS.filter(bool), max_size=12))
@settings(max_examples=100, deadline=None)
def test_a_reservation_is_admitted_if_and_only_if_the_rest_holds_it(shared, amounts):
    start_again(shared)
    left = usd("10").micro
    for micro in amounts:
        if micro <= left:
            shared.reserve("film", Money.from_micro(micro, "USD"))
            left -= micro
        else:
            with pytest.raises(InsufficientCreditsError):
                shared.reserve("film", Money.from_micro(micro, "USD"))
    assert shared.wallet("film").available.micro == left


def test_a_task_that_is_known_is_not_replaced_by_another(ledger):
    held = ledger.reserve("film", usd("1"), job=Job(provider="runapi"))
    ledger.mark_submitting(held.id)
    ledger.mark_submitted(held.id, "t1")
    ledger.mark_in_doubt(held.id, "no answer")
    with unchanged(ledger), pytest.raises(ConflictError, match="task t1, now with t2"):
        ledger.mark_submitted(held.id, "t2")


def test_a_charge_past_what_the_ledger_can_hold_is_refused(ledger):
    first, second = (ledger.reserve("film", usd("1")) for _ in range(2))
    for held, task in ((first, "t1"), (second, "t2")):
        ledger.mark_submitting(held.id)
        ledger.mark_submitted(held.id, task)
    ledger.commit(first.id, Money.from_micro(MAX_MICRO, "USD"))
    with unchanged(ledger), pytest.raises(AmountError, match="settled cost"):
        ledger.commit(second.id, usd("1"))
    assert ledger.wallet("film").spent == Money.from_micro(MAX_MICRO, "USD")
