"""Reservations: their life from state to state, and how they are kept, found and listed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import product

import pytest

from kling_ledger.errors import ConfigError, ConflictError, LedgerError, NotFoundError, StateError
from kling_ledger.ledger import OPEN_STATES, Change, Job, Ledger, Reservation, State
from kling_ledger.ledger.reservations import MAY_FOLLOW
from tests.ledgers import NOON, Chance, Clock, standing, transfers, unchanged, usd

JOB = Job(
    provider="crun",
    model="kling-v3",
    action="text2video",
    seconds="5",
    billed_seconds=5,
    resolution="1080p",
    sound=True,
    usd=usd("3"),
    quote='{"amount": "3"}',
    request='{"prompt": "a cat"}',
    payload_hash="sha256:one",
    address="https://api.crun.test",
)
TIME_IS_OVER = NOON + timedelta(hours=1)

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
CHARGED = ["commit 2", "return 1"]
TRANSFERS_OF: dict[tuple[State, State], list[str]] = {
    (RESERVED, SUBMITTING): [],
    (RESERVED, COMMITTED): CHARGED,
    (RESERVED, ROLLED_BACK): ["roll_back 3"],
    (RESERVED, EXPIRED): ["expire 3"],
    (SUBMITTING, SUBMITTED): [],
    (SUBMITTING, COMMITTED): CHARGED,
    (SUBMITTING, IN_DOUBT): [],
    (SUBMITTING, ROLLED_BACK): ["roll_back 3"],
    (SUBMITTED, COMMITTED): CHARGED,
    (SUBMITTED, ROLLED_BACK): ["roll_back 3"],
    (SUBMITTED, IN_DOUBT): [],
    (IN_DOUBT, SUBMITTED): [],
    (IN_DOUBT, COMMITTED): CHARGED,
    (IN_DOUBT, ROLLED_BACK): ["roll_back 3"],
    (ROLLED_BACK, COMMITTED): ["late_commit 2"],
    (EXPIRED, COMMITTED): ["late_commit 2"],
}
FORBIDDEN = [
    pair
    for pair in product(State, State)
    if pair not in TRANSFERS_OF and (pair[0] != pair[1] or pair[0] is SUBMITTING)
]


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
    return ledger.settle([Change(reservation_id, to_state)])[0]


@pytest.fixture
def in_state(ledger: Ledger, clock: Clock):
    """Return the id of a reservation of 3 USD for the job, led to a state."""

    def lead(state: State, job: Job = JOB) -> str:
        made = ledger.reserve("film", usd("3"), job=job, expires_at=TIME_IS_OVER)
        for step in WAY_TO[state]:
            clock.now = TIME_IS_OVER if step is EXPIRED else NOON
            move(ledger, made.id, step)
        return made.id

    return lead


# --- which state may follow which -----------------------------------------------------------


def test_the_table_of_states_is_the_one_that_is_walked_here():
    allowed = {(before, after) for before, followers in MAY_FOLLOW.items() for after in followers}
    assert allowed == set(TRANSFERS_OF)
    assert set(MAY_FOLLOW) == set(State)
    assert len(TRANSFERS_OF) + len(FORBIDDEN) + len(State) - 1 == len(State) ** 2


@pytest.mark.parametrize("pair", TRANSFERS_OF, ids=" to ".join)
def test_an_allowed_change_leads_to_its_state(ledger, clock, in_state, pair):
    reservation_id = in_state(pair[0])
    clock.now = TIME_IS_OVER if pair[1] is EXPIRED else clock.now
    moved = move(ledger, reservation_id, pair[1])
    assert moved.state is pair[1]
    assert moved == ledger.reservations.get(reservation_id)


@pytest.mark.parametrize("pair", TRANSFERS_OF, ids=" to ".join)
def test_an_allowed_change_moves_these_credits_and_no_others(ledger, clock, in_state, pair):
    reservation_id = in_state(pair[0])
    clock.now = TIME_IS_OVER if pair[1] is EXPIRED else clock.now
    before = transfers(ledger)
    move(ledger, reservation_id, pair[1])
    assert transfers(ledger) == before + TRANSFERS_OF[pair]
    spent = usd("2") if pair[1] is COMMITTED else usd("0")
    held = usd("3") if pair[1] in OPEN_STATES else usd("0")
    assert standing(ledger, "film") == (usd("10") - spent, held, usd("10") - spent - held)


@pytest.mark.parametrize("pair", FORBIDDEN, ids=" to ".join)
def test_any_other_change_is_refused(ledger, clock, in_state, pair):
    reservation_id = in_state(pair[0])
    clock.now = TIME_IS_OVER if pair[1] is EXPIRED else clock.now
    with unchanged(ledger), pytest.raises(StateError, match=f"{reservation_id} is {pair[0]}"):
        move(ledger, reservation_id, pair[1])


@pytest.mark.parametrize("state", [state for state in State if state is not SUBMITTING])
def test_asking_for_what_already_happened_is_harmless(ledger, in_state, state):
    reservation_id = in_state(state)
    with unchanged(ledger):
        assert move(ledger, reservation_id, state) == ledger.reservations.get(reservation_id)


@pytest.mark.parametrize("state", State)
def test_only_an_open_reservation_holds_credits(ledger, in_state, state):
    reservation = ledger.reservations.get(in_state(state))
    assert reservation.is_open is (state in OPEN_STATES)
    assert reservation.held == (usd("3") if state in OPEN_STATES else usd("0"))


def test_each_change_is_an_event_that_says_who_when_and_why(ledger, clock, in_state):
    made = in_state(SUBMITTING)
    clock.forward(seconds=1)
    with Ledger(ledger.database.url, clock=clock, actor="bob") as other:
        other.mark_in_doubt(made, "no reply")
    with ledger.database.read() as transaction:
        rows = transaction.rows(
            "SELECT step, from_state, to_state, actor, reason FROM job_event ORDER BY step"
        )
    assert [tuple(row.values()) for row in rows] == [
        (1, None, "reserved", "ada", None),
        (2, "reserved", "submitting", "ada", None),
        (3, "submitting", "in_doubt", "bob", "no reply"),
    ]


@pytest.mark.parametrize("to_state", [ROLLED_BACK, IN_DOUBT])
def test_a_change_that_expects_a_state_is_refused_from_another(ledger, in_state, to_state):
    reservation_id = in_state(SUBMITTED)
    change = ledger.roll_back if to_state is ROLLED_BACK else ledger.mark_in_doubt
    with unchanged(ledger), pytest.raises(StateError, match="is submitted"):
        change(reservation_id, "refused", only_from=SUBMITTING)
    assert change(reservation_id, "failed", only_from=SUBMITTED).state is to_state


# --- what is kept --------------------------------------------------------------------------


def test_a_reservation_keeps_what_it_is_for(ledger):
    made = ledger.reserve(
        "film", usd("3"), job=JOB, project="autumn/spot-1", labels={"shot": "7", "cut": "b"}
    )
    found = ledger.reservations.get(made.id)
    assert (found.job, found.project, found.wallet) == (JOB, "autumn/spot-1", "film")
    assert (found.labels, found.actor) == ({"shot": "7", "cut": "b"}, "ada")
    assert found == made


def test_a_job_of_which_nothing_is_known_is_kept_as_that(ledger):
    made = ledger.reserve("film", usd("3"))
    assert ledger.reservations.get(made.id).job == Job(usd=usd("3"))


def test_a_commit_keeps_the_videos_who_settled_it_and_the_problem(ledger, in_state):
    reservation_id = in_state(SUBMITTED)
    ledger.commit(
        reservation_id,
        usd("2"),
        settled_by="person",
        videos=("https://cdn.test/1.mp4",),
        problem="the provider forgot to say",
    )
    found = ledger.reservations.get(reservation_id)
    assert (found.settled_by, found.videos) == ("person", ("https://cdn.test/1.mp4",))
    assert found.problem == "the provider forgot to say"


def test_a_doubt_keeps_its_problem_and_its_task(ledger, in_state):
    doubted = ledger.mark_in_doubt(in_state(SUBMITTED), "no verdict in an hour")
    assert (doubted.problem, doubted.task_id) == ("no verdict in an hour", "task-1")


def test_a_change_is_dated_by_the_clock_and_the_beginning_stays(ledger, clock):
    made = ledger.reserve("film", usd("3"))
    clock.forward(microseconds=1)
    moved = ledger.mark_submitting(made.id)
    assert (moved.created_at, moved.updated_at) == (NOON, NOON + timedelta(microseconds=1))


def test_nothing_has_a_variance_until_it_is_settled(ledger, in_state):
    reservation_id = in_state(SUBMITTED)
    ledger.commit(reservation_id, usd("1"), is_part=True)
    assert ledger.reservations.get(reservation_id).variance is None
    assert ledger.commit(reservation_id, usd("2.5"), settled_by="provider").variance == usd("0.5")


def test_what_was_given_back_has_no_variance(ledger, in_state):
    assert ledger.reservations.get(in_state(ROLLED_BACK)).variance is None


@pytest.mark.parametrize("text", ["a\0b", "a\udcffb", "é 片 🎬"])
def test_a_message_of_others_is_kept_as_far_as_it_can_be_read(ledger, in_state, text):
    kept = text.replace("\0", "").replace("\udcff", "?")
    assert ledger.mark_in_doubt(in_state(SUBMITTING), text).problem == kept
    assert ledger.refund(in_state(COMMITTED), usd("1"), reason=text).refunded == usd("1")
    ledger.wallets.fund("film", usd("1"), reason=text)
    with ledger.database.read() as transaction:
        rows = transaction.rows("SELECT DISTINCT reason FROM transfer WHERE reason IS NOT NULL")
    assert [row["reason"] for row in rows] == [kept]


@pytest.mark.parametrize(
    "given", [{"project": "a\udcffb"}, {"key": "a\udcffb"}, {"job": Job(model="a\udcffb")}]
)
def test_what_is_no_text_is_refused_and_nothing_is_written(ledger, given):
    with unchanged(ledger), pytest.raises(ConfigError, match="invalid character"):
        ledger.reserve("film", usd("1"), **given)


# --- tasks ---------------------------------------------------------------------------------


def test_submitting_again_with_another_task_shows_both(ledger, in_state):
    reservation_id = in_state(SUBMITTED)
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.mark_submitted(reservation_id, "task-2")
    error = caught.value
    assert (error.field, error.stored, error.given) == ("task", "task-1", "task-2")


def test_a_task_that_is_known_is_not_replaced_after_a_doubt(ledger, in_state):
    reservation_id = in_state(SUBMITTED)
    ledger.mark_in_doubt(reservation_id, "no answer")
    with unchanged(ledger), pytest.raises(ConflictError, match="task task-1; task-2 differs"):
        ledger.mark_submitted(reservation_id, "task-2")
    assert ledger.mark_submitted(reservation_id, "task-1").state is SUBMITTED


def test_one_task_cannot_belong_to_two_reservations(ledger, in_state):
    in_state(SUBMITTED)
    second = in_state(SUBMITTING)
    with unchanged(ledger), pytest.raises(LedgerError, match="task task-1"):
        ledger.mark_submitted(second, "task-1")


def test_two_providers_may_use_the_same_task_name(ledger, in_state):
    first = in_state(SUBMITTED)
    second = in_state(SUBMITTED, job=Job(provider="runapi"))
    found = [ledger.reservations.of_task(provider, "task-1") for provider in ("crun", "runapi")]
    assert [reservation.id for reservation in found if reservation] == [first, second]


def test_a_task_that_is_not_ours_has_no_reservation(ledger):
    assert ledger.reservations.of_task("crun", "task-1") is None


def test_the_task_of_an_ended_reservation_is_kept_and_changes_nothing_else(ledger, in_state):
    reservation_id = in_state(ROLLED_BACK)
    ended = ledger.reservations.get(reservation_id)
    ledger.record_task(reservation_id, "task-9")
    ledger.record_task(reservation_id, "task-10")
    found = ledger.reservations.of_task("crun", "task-9")
    assert found is not None
    assert (found.id, found.state, found.held) == (ended.id, ended.state, ended.held)
    assert ledger.reservations.of_task("crun", "task-10") is None
    with ledger.database.read() as transaction:
        query = "SELECT step, from_state, to_state, task_id, reason, period FROM job_event"
        last = transaction.rows(f"{query} ORDER BY step")[-1]
    assert last.pop("period") == f"{ended.updated_at:%Y-%m}"
    assert last == {
        "step": ended.step + 1,
        "from_state": ROLLED_BACK,
        "to_state": ROLLED_BACK,
        "task_id": "task-9",
        "reason": "its task became known",
    }


# --- finding them --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["res_nothing", "", "nul\0", "'; DROP TABLE wallet"])
def test_an_unknown_reservation_is_named(ledger, name):
    with unchanged(ledger), pytest.raises(NotFoundError, match="no such reservation"):
        ledger.roll_back(name, "not wanted")


def test_the_latest_reservations_come_first_and_no_more_than_asked_for(ledger):
    made = [ledger.reserve("film", usd("1")).id for _ in range(4)]
    assert [one.id for one in ledger.reservations.latest(limit=3)] == made[:0:-1]
    assert ledger.reservations.latest(limit=0) == []


def test_reservations_are_listed_by_state_and_by_wallet(ledger, in_state):
    doubted, open_one = in_state(IN_DOUBT), in_state(RESERVED)
    assert [found.id for found in ledger.reservations.latest(state=IN_DOUBT)] == [doubted]
    for name in ("film", ledger.wallets.get("film").id):
        assert {found.id for found in ledger.reservations.latest(wallet=name)} == {
            doubted,
            open_one,
        }
    assert ledger.reservations.latest(wallet="other") == []


def test_open_reservations_come_oldest_first_whatever_their_open_state(ledger, in_state):
    made = [in_state(state) for state in (RESERVED, SUBMITTING)]
    in_state(ROLLED_BACK)
    assert [one.id for one in ledger.reservations.open()] == made
