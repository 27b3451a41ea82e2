"""Recovery: what a crash, a time-out or a lost reply left open comes to its end, once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kling_ledger.cli.next_steps import to_do
from kling_ledger.config import SENDING_S
from kling_ledger.errors import ConfigError
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.recovery import KEY_LIVES_S, Meters, Recovered
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import Job, Reservation, State
from tests.ledgers import usd
from tests.metering import QUICK, House, house
from tests.sandbox_rig import HOLDS, PRICES, PROVIDERS, body
from tests.waiting import until

KNOW_NO_REPEATS = ("crun", "evolink", "uniall")
DAY = timedelta(days=1)

every_provider = pytest.mark.parametrize("provider", PROVIDERS)


@pytest.fixture
def here(tmp_path: Path, empty_file: Path) -> Iterator[House]:
    with house(str(shutil.copy(empty_file, tmp_path / "ledger.sqlite"))) as made:
        yield made


@pytest.fixture
def anywhere(empty_url: str) -> Iterator[House]:
    """The same on each engine in turn."""
    with house(empty_url) as made:
        yield made


def only(found: list[Recovered]) -> Recovered:
    (one,) = found
    return one


# --- never sent -----------------------------------------------------------------------------


@every_provider
def test_what_was_never_sent_is_rolled_back(here: House, provider: str):
    here.reserved(provider)
    recovered = only(here.recover())
    assert (recovered.reservation.state, recovered.did) == (
        State.ROLLED_BACK,
        "rolled back: it was never sent",
    )
    assert here.standing(provider) == ("0", "0")
    assert here.tasks(provider) == []


@pytest.mark.parametrize("kind", ["reserved", "submitting"])
def test_what_may_just_be_under_way_is_left_alone(here: House, kind: str):
    found: Reservation = getattr(here, kind)("runapi")
    for later in (0, SENDING_S - 5):
        recovered = only(here.recover(later=timedelta(seconds=later)))
        assert recovered.did == "unchanged: it may still be in progress"
        assert here.ledger.reservations.get(found.id) == found
    assert only(here.recover(later=timedelta(seconds=SENDING_S + 5))).reservation != found


def test_no_grace_leaves_nothing_alone(here: House):
    here.reserved("runapi")
    recovered = only(here.recover(later=timedelta(0), grace_s=0))
    assert recovered.reservation.state is State.ROLLED_BACK


# --- a submission without an answer ---------------------------------------------------------


def test_losing_the_reply_of_an_accepted_runapi_create_gives_one_task(anywhere: House):
    found = anywhere.sent("runapi")
    assert [task["key"] for task in anywhere.tasks("runapi")] == [found.id]
    ended = only(anywhere.recover(waits=True)).reservation
    (task,) = anywhere.tasks("runapi")
    assert (ended.state, ended.task_id) == (State.COMMITTED, task["id"])
    assert anywhere.standing("runapi") == (PRICES["runapi"], "0")


def test_a_runapi_create_that_never_arrived_is_sent_then(here: House):
    here.submitting("runapi")
    assert only(here.recover(waits=True)).reservation.state is State.COMMITTED
    assert len(here.tasks("runapi")) == 1


@pytest.mark.parametrize("provider", KNOW_NO_REPEATS)
def test_losing_the_reply_elsewhere_gives_one_task_and_one_doubt_that_names_the_next_step(
    anywhere: House, provider: str
):
    found = anywhere.sent(provider)
    for _ in range(2):
        recovered = only(anywhere.recover(waits=True))
        assert recovered.reservation.state is State.IN_DOUBT
        assert len(anywhere.tasks(provider)) == 1
        assert f"check {provider} for a task of" in (to_do(recovered) or "")
        assert f"kling-ledger reservation submitted {found.id} TASK" in (to_do(recovered) or "")
        assert f"kling-ledger reservation rollback {found.id} --reason" in (to_do(recovered) or "")
    assert anywhere.standing(provider) == ("0", PRICES[provider])


@pytest.mark.parametrize("provider", KNOW_NO_REPEATS)
def test_the_task_that_a_person_found_is_followed_to_its_end(here: House, provider: str):
    found = here.sent(provider)
    here.recover()
    (task,) = here.tasks(provider)
    here.ledger.mark_submitted(found.id, task["id"])
    assert only(here.recover(waits=True)).reservation.state is State.COMMITTED
    assert here.standing(provider) == (PRICES[provider], "0")


@every_provider
def test_a_submission_that_got_no_answer_is_not_doubted_twice_in_other_words(
    here: House, provider: str
):
    doubtful = here.run(provider, "a lake [refuse 500] [poll 500]")
    if provider == "runapi":
        assert doubtful.state is State.IN_DOUBT
    before = here.ledger.reservations.get(doubtful.id).problem
    recovered = only(here.recover())
    assert recovered.reservation.problem == before
    assert recovered.next_step is not None


def test_a_key_that_may_be_forgotten_is_not_sent_again(here: House):
    here.submitting("runapi")
    old = timedelta(seconds=KEY_LIVES_S + 60)
    recovered = only(here.recover(later=old))
    assert recovered.reservation.state is State.IN_DOUBT
    assert "may have forgotten its key after 24 h" in (recovered.reservation.problem or "")
    assert "check runapi" in (to_do(recovered) or "")
    assert here.tasks("runapi") == []
    assert only(here.recover(later=timedelta(seconds=KEY_LIVES_S - 60))).reservation.task_id


def test_a_repeated_submission_that_is_refused_gives_nothing_back_and_names_the_next_step(
    here: House,
):
    here.submitting("runapi", "a lake [refuse 402]")
    recovered = only(here.recover())
    assert recovered.reservation.state is State.IN_DOUBT
    assert "402" in (recovered.problem or "")
    assert "reservation rollback" in (to_do(recovered) or "")
    assert here.standing("runapi") == ("0", HOLDS["runapi"])


# --- what the provider took -----------------------------------------------------------------


@every_provider
def test_a_job_that_ended_meanwhile_is_settled(here: House, provider: str):
    here.submitted(provider)
    here.sandbox.finish()
    assert only(here.recover()).did == "ended: committed"
    assert here.standing(provider) == (PRICES[provider], "0")


def test_a_job_that_failed_meanwhile_gives_everything_back(here: House):
    here.submitted("crun", "a lake [fail] [takes 60]")
    here.sandbox.finish()
    assert only(here.recover()).did == "ended: rolled_back"
    assert here.standing("crun") == ("0", "0")


def test_a_young_job_that_was_taken_is_asked_for_at_once(here: House):
    here.submitted("crun")
    here.sandbox.finish()
    assert only(here.recover(later=timedelta(0))).reservation.state is State.COMMITTED


def test_a_job_that_still_runs_stays_submitted(here: House):
    found = here.submitted("crun")
    recovered = only(here.recover(later=timedelta(0)))
    assert (recovered.did, recovered.is_running) == ("polled: it is still running", True)
    assert here.state(found) is State.SUBMITTED


def test_an_overdue_job_is_in_doubt_and_says_how_old_it_is(here: House):
    found = here.submitted("crun")
    recovered = only(here.recover(later=timedelta(hours=49)))
    assert recovered.reservation.state is State.IN_DOUBT
    assert recovered.reservation.problem == "no verdict after 49 h: it is still running"
    assert here.standing("crun") == ("0", PRICES["crun"])
    here.sandbox.finish()
    here.recover()
    assert here.state(found) is State.COMMITTED


@pytest.mark.parametrize("age_s", [-1, 1])
def test_a_job_is_overdue_just_past_its_longest_life(here: House, age_s: int):
    found = here.submitted("crun")
    here.meters["crun"] = replace(here.meter("crun"), patience=Patience(longest_s=900))
    later = found.created_at + timedelta(seconds=900 + age_s)
    list(replace(here.recovery(), now=later).run())
    assert here.state(found) is (State.IN_DOUBT if age_s > 0 else State.SUBMITTED)


def test_an_overdue_job_that_its_provider_does_not_know_is_in_doubt_too(here: House):
    found = here.submitting("crun")
    here.ledger.mark_submitted(found.id, "task-that-never-was")
    recovered = only(here.recover())
    assert recovered.reservation.state is State.IN_DOUBT
    assert "404" in (recovered.problem or "")
    assert "check crun for task task-that-never-was" in (to_do(recovered) or "")


def test_a_provider_that_does_not_answer_changes_nothing(here: House):
    found = here.submitted("crun")
    here.sandbox.close()
    recovered = only(here.recover(later=timedelta(0)))
    assert recovered.problem
    assert recovered.did == "polled: it got no answer"
    assert here.ledger.reservations.get(found.id) == found


def test_a_state_that_nobody_documented_names_the_next_step(here: House):
    here.submitted("uniall", "a lake [fail] [takes 60]")
    here.sandbox.finish()
    recovered = only(here.recover(waits=True))
    assert recovered.reservation.state is State.IN_DOUBT
    assert "kling-ledger reconcile --provider uniall" in (to_do(recovered) or "")


# --- waiting --------------------------------------------------------------------------------


@every_provider
def test_waiting_follows_a_job_to_its_end(here: House, provider: str):
    here.submitted(provider, "a lake [takes 0.15]")
    assert only(here.recover(waits=True)).reservation.state is State.COMMITTED


def test_waiting_ends_with_the_jobs_longest_life(here: House):
    here.submitted("crun")
    recovered = only(here.recover(later=timedelta(0), waits=True))
    assert recovered.reservation.problem == "no verdict within 0.3 s"
    assert recovered.reservation.state is State.IN_DOUBT


def test_what_has_ended_is_told_of_before_anything_is_waited_for(here: House):
    running = here.submitted("crun")
    done = here.submitted("crun", "a hill [takes 0]")
    order = [one.reservation.id for one in here.recovery(waits=True).run()]
    assert order == [done.id, running.id]


def test_however_many_are_followed_each_is_seen_to_end(here: House):
    patient = Patience(poll_every_s=0.01, longest_s=6)
    here.meters["crun"] = replace(here.meter("crun"), patience=patient)
    for number in range(8):
        here.submitted("crun", f"a lake {number} [never]")
    ninth = here.submitted("crun", "a hill [takes 0.3]")
    with closing(here.recovery(later=timedelta(0), waits=True).run()) as telling:
        first = next(telling).reservation
    assert (first.id, first.state) == (ninth.id, State.COMMITTED)


def test_who_stops_listening_stops_the_waiting(here: House):
    here.meters["crun"] = replace(here.meter("crun"), patience=Patience(0.01, longest_s=600))
    for number in range(20):
        here.submitted("crun", f"a lake {number} [never]")
    here.submitted("crun", "a hill [takes 0]")
    telling = here.recovery(later=timedelta(0), waits=True).run()
    assert next(telling).reservation.state is State.COMMITTED
    telling.close()
    assert [thread for thread in threading.enumerate() if "recovery" in thread.name] == []


# --- what is left to others -----------------------------------------------------------------


def test_what_a_script_submits_by_itself_is_left_to_it(here: House):
    found = here.ledger.reserve("runapi", usd("1"))
    recovered = only(here.recover(later=DAY))
    assert recovered.reservation == found
    assert f"kling-ledger reservation commit|rollback {found.id}" in (to_do(recovered) or "")


@pytest.mark.parametrize("state", [State.RESERVED, State.SUBMITTING])
def test_a_body_that_a_script_had_priced_is_not_sent_for_it(here: House, state: State):
    asked = here.reserved("runapi").job
    here.recover()
    job = Job(provider="runapi", model=asked.model, request=asked.request)
    found = here.ledger.reserve("runapi", usd("1"), job=job)
    if state is State.SUBMITTING:
        found = here.ledger.mark_submitting(found.id)
    assert only(here.recover(later=DAY)).reservation == found
    assert here.tasks("runapi") == []


def test_a_job_elsewhere_is_not_asked_for_here_and_not_touched(here: House):
    found = here.submitted("crun")
    other = replace(found.job, address="https://api.crun.ai")
    elsewhere = here.ledger.reserve("crun", found.amount, job=other)
    here.ledger.mark_submitting(elsewhere.id)
    elsewhere = here.ledger.mark_submitted(elsewhere.id, "task-elsewhere")
    told = {one.reservation.id: one for one in here.recover(later=timedelta(0))}
    assert isinstance(told[elsewhere.id].error, ConfigError)
    assert told[elsewhere.id].reservation == elsewhere


def test_an_ended_reservation_is_left_as_it_is(here: House):
    ended = here.run("crun")
    assert here.recovery().finish(ended).did == "already ended"


def test_one_that_fails_does_not_keep_the_others_from_their_end(here: House):
    here.submitted("crun")
    here.submitted("evolink")
    here.sandbox.finish()

    def meter_for(found: Reservation) -> Meter:
        if found.job.provider == "crun":
            raise ConfigError("no key", hint="give one")
        return here.meter_for(found)

    recovery = replace(here.recovery(), meter_for=meter_for)
    told = {one.reservation.job.provider: one for one in recovery.run()}
    assert told["crun"].problem == "no key: give one"
    assert told["evolink"].reservation.state is State.COMMITTED


# --- several at once ------------------------------------------------------------------------


@every_provider
def test_two_recoveries_at_once_double_nothing(anywhere: House, provider: str):
    for number in range(4):
        anywhere.sent(provider, f"sent {number}")
        anywhere.submitting(provider, f"lost {number}")
        anywhere.submitted(provider, f"running {number} [takes 0]")
        anywhere.reserved(provider, f"reserved {number}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: anywhere.recover(waits=True), range(4)))
    anywhere.recover(waits=True)
    prompts = [task["prompt"] for task in anywhere.tasks(provider)]
    assert len(prompts) == len(set(prompts)) == (12 if provider == "runapi" else 8)
    charged = sum(float(task["charged"]) for task in anywhere.tasks(provider))
    settled = [one for one in anywhere.ledger.reservations.at_provider(provider) if one.committed]
    assert len(settled) == (12 if provider == "runapi" else 4)
    assert charged == pytest.approx(len(prompts) * float(PRICES[provider]))
    assert anywhere.ledger.verify().is_clean


def test_a_recovery_beside_a_live_sender_starts_nothing_a_second_time(here: House):
    with ThreadPoolExecutor(9) as pool:
        jobs = [
            pool.submit(here.run, provider, f"{provider} {number} [latency 0.02]")
            for number in range(6)
            for provider in ("runapi", "crun")
        ]
        while not all(job.done() for job in jobs):
            # Without any grace it takes every sender for dead.
            here.recover(later=timedelta(0), grace_s=0)
    for _ in range(2):
        here.recover(waits=True, grace_s=0)
    for provider in ("runapi", "crun"):
        tasks = here.tasks(provider)
        by_task = {one.task_id: one for one in here.ledger.reservations.at_provider(provider)}
        assert len({task["prompt"] for task in tasks}) == len(tasks)
        assert all(by_task[task["id"]].committed for task in tasks)
    assert here.ledger.verify().is_clean


def test_a_sender_that_was_only_late_keeps_its_word(here: House):
    stale = here.submitting("crun")
    now = here.ledger.mark_submitted(stale.id, "task-1")
    recovered = here.recovery().finish(stale)
    assert (recovered.did, recovered.reservation) == ("another process updated it", now)


def test_each_place_has_one_meter_until_they_are_closed(here: House):
    asked: list[tuple[str, str | None]] = []

    def connect(provider: str, address: str | None) -> Meter:
        asked.append((provider, address))
        return here.meter(provider)

    found = here.submitted("crun")
    meters = Meters(connect)
    assert meters(found) is meters(found)
    assert asked == [("crun", here.sandbox.url)]
    meters.close()
    meters(found)
    assert len(asked) == 2


def test_a_body_is_sent_again_just_as_it_was(here: House):
    found = here.submitting("runapi", 'a lake, "quoted" — 湖')
    here.recover(waits=True)
    (task,) = here.tasks("runapi")
    assert task["prompt"] == body("runapi", 'a lake, "quoted" — 湖')["prompt"]
    assert task["key"] == found.id


def test_who_asks_again_while_a_job_is_sent_leaves_the_verdict_to_its_sender(here):
    prompt = "a lake [latency 0.5] [refuse 422]"
    meter = replace(
        here.meter("crun"), patience=replace(here.meter("crun").patience, longest_s=5, sender_s=5)
    )
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(meter.run, body("crun", prompt), key="shot")
        submitting = {State.SUBMITTING}
        until(lambda: {one.state for one in here.ledger.reservations.latest()} & submitting)
        second = threads.submit(meter.run, body("crun", prompt), key="shot")
        ended = (first.result(30), second.result(30))
    assert [one.state for one in ended] == [State.ROLLED_BACK] * 2
    assert ended[0].id == ended[1].id


def test_who_asks_again_after_a_crash_waits_no_longer_than_it_may(here):
    left = here.submitting("crun")
    meter = replace(here.meter("crun"), patience=replace(here.meter("crun").patience, sender_s=0))
    assert meter.carry_on(left, body("crun", "a lake")).state is State.IN_DOUBT


def test_looking_at_one_brings_it_as_far_as_it_can_be_brought(here: House):
    ended, runs = here.submitted("crun", "a lake [takes 60]"), here.submitted("evolink")
    told = here.recovery(later=timedelta(0)).look_at(runs)
    assert (told.is_running, told.again_in_s) == (True, QUICK.poll_every_s)
    here.sandbox.finish()
    told = here.recovery().look_at(ended)
    assert (told.reservation.state, told.again_in_s) == (State.COMMITTED, None)


def test_a_job_that_still_runs_past_its_longest_life_is_not_doubted_again(anywhere: House):
    found = anywhere.submitted("crun")
    anywhere.recover(later=timedelta(hours=49))
    doubtful = anywhere.ledger.reservations.get(found.id)
    assert doubtful.state is State.IN_DOUBT
    told = only(anywhere.recover(later=timedelta(hours=50)))
    assert told.is_running
    assert anywhere.ledger.reservations.get(found.id) == doubtful
    anywhere.sandbox.finish()
    assert only(anywhere.recover()).reservation.state is State.COMMITTED
