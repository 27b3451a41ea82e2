"""Callbacks: real ones of a real sandbox to a real receiver, and those that somebody made up."""

from __future__ import annotations

import base64
import json
import math
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kling_ledger import Ledger
from kling_ledger.callbacks.listener import STATUSES, Listener
from kling_ledger.callbacks.receiver import CallbackOutcome, Receiver
from kling_ledger.errors import ConfigError, ProviderError
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.recovery import Meters
from kling_ledger.jobs.watch import Patience
from kling_ledger.ledger import Job, Reservation, State
from kling_ledger.providers.replies import LARGEST_CALLBACK
from kling_ledger.sandbox.jobs import Job as SandboxJob
from kling_pricing import Money
from kling_pricing.gateways import read_request
from tests.callbacks import KEY, SECRET, receiving, signed, task
from tests.ledgers import Clock, money, transfers, unchanged, usd
from tests.sandbox_rig import AT as NOW
from tests.sandbox_rig import HOLDS, PRICES, PROVIDERS, UNITS, WORDS, body
from tests.sandbox_rig import Clock as SandboxClock
from tests.waiting import until

OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret").decode()
COSTS: dict[str, dict[str, Any]] = {"runapi": {"usage": {"cost": 0.675}}, "crun": {"credits": 135}}


def price(provider: str) -> Money:
    return money(f"{PRICES[provider]} {UNITS[provider]}")


def committed(ledger: Ledger) -> list[str]:
    return [line for line in transfers(ledger) if "commit" in line]


# What providers send


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_callback_charges_the_job_that_it_tells_of(ledger: Ledger, provider: str):
    with receiving(ledger) as rig:
        made = rig.submitted(provider)
        ended = rig.ended(made)
        assert (ended.state, ended.committed) == (State.COMMITTED, price(provider))
        assert ended.videos[0].startswith(rig.sandbox.url)
        assert rig.called(made) == ["200"]
    assert ended.settled_by == ("quote" if provider == "uniall" else "provider")
    assert [str(receipt.outcome) for receipt in rig.receipts] == ["done"]
    assert ended.id in rig.receipts[0].said


@pytest.mark.parametrize("provider", ["runapi", "crun", "evolink"])
def test_a_callback_of_a_failure_gives_everything_back(ledger: Ledger, provider: str):
    with receiving(ledger) as rig:
        ended = rig.ended(rig.submitted(provider, "[fail moderation]"))
    assert ended.state is State.ROLLED_BACK
    assert ledger.wallets.get(UNITS[provider]).available == money(f"10000 {UNITS[provider]}")


def test_a_failure_that_no_document_knows_keeps_the_credits_in_doubt(ledger: Ledger):
    with receiving(ledger) as rig:
        made = rig.submitted("uniall", "[fail]")
        assert rig.called(made) == ["202"]
    now = ledger.reservations.get(made.id)
    assert (now.state, now.held) == (State.IN_DOUBT, price("uniall"))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_callback_that_comes_twice_charges_once(ledger: Ledger, provider: str):
    with receiving(ledger) as rig:
        made = rig.submitted(provider, "[callback twice]")
        assert rig.called(made, 2) == ["200", "200"]
        assert rig.job(made).polls == 1
    assert committed(ledger) == [f"commit {PRICES[provider]}"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_running_after_completed_changes_nothing(ledger: Ledger, provider: str):
    with receiving(ledger) as rig:
        made = rig.submitted(provider, "[callback reordered]")
        assert rig.called(made, 2) == ["200", "200"]
    assert ledger.reservations.get(made.id).state is State.COMMITTED
    assert committed(ledger) == [f"commit {PRICES[provider]}"]


@pytest.mark.parametrize("provider", ["runapi", "crun", "evolink"])
@pytest.mark.parametrize("secrets", [(), (SECRET,)])
def test_a_failure_after_the_success_changes_nothing(
    ledger: Ledger, provider: str, secrets: tuple[str, ...]
):
    secret = secrets[0] if secrets else None
    with receiving(ledger, secrets=secrets, webhook_secret=secret) as rig:
        made = rig.submitted(provider, "[revive 0.1] [callback reordered]")
        assert rig.called(made, 3) == ["200", "200", "200"]
    assert committed(ledger) == [f"commit {PRICES[provider]}"]


@pytest.mark.parametrize("provider", ["runapi", "crun", "evolink"])
@pytest.mark.parametrize("secrets", [(), (SECRET,)])
def test_a_job_that_succeeds_after_it_failed_is_charged_late_once_its_provider_was_asked(
    ledger: Ledger, provider: str, secrets: tuple[str, ...]
):
    secret = secrets[0] if secrets else None
    clock = SandboxClock()
    with receiving(ledger, secrets=secrets, clock=clock, webhook_secret=secret) as rig:
        made = rig.submitted(provider, "[revive 1]")
        clock.now_s += 1
        assert rig.called(made) == ["200"]
        assert ledger.reservations.get(made.id).state is State.ROLLED_BACK
        clock.now_s += 1
        assert rig.called(made, 2) == ["200", "200"]
        assert rig.job(made).polls == (1 if secrets else 2)
    assert ledger.reservations.get(made.id).committed == price(provider)
    assert committed(ledger) == [f"late_commit {PRICES[provider]}"]


@pytest.mark.parametrize("provider", ["runapi", "crun"])
def test_the_settled_cost_is_charged_and_not_the_quote(ledger: Ledger, provider: str):
    with receiving(ledger) as rig:
        made = rig.submitted(provider, "[cost 120%]")
        ended = rig.ended(made)
    assert ended.committed is not None
    assert ended.committed.amount == price(provider).amount * 6 / 5


def test_a_callback_is_sent_again_until_its_provider_answers(ledger: Ledger):
    with receiving(ledger) as rig:
        made = rig.submitted("runapi", "[poll 500 4]")
        assert rig.ended(made).state is State.COMMITTED
        assert rig.called(made, 2) == ["503", "200"]
    assert committed(ledger) == ["commit 0.675"]


# Signed ones


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_signed_end_is_believed_without_asking(ledger: Ledger, provider: str):
    with receiving(ledger, secrets=(SECRET,), webhook_secret=SECRET) as rig:
        made = rig.submitted(provider)
        ended = rig.ended(made)
        assert rig.called(made) == ["200"]
        assert rig.job(made).polls == 0
    assert ended.committed == price(provider)
    assert "signed callback" in rig.receipts[0].said


@pytest.mark.parametrize("provider", ["runapi", "crun", "evolink"])
def test_a_signed_failure_is_believed_without_asking(ledger: Ledger, provider: str):
    with receiving(ledger, secrets=(SECRET,), webhook_secret=SECRET) as rig:
        made = rig.submitted(provider, "[fail]")
        assert rig.ended(made).state is State.ROLLED_BACK
        assert rig.job(made).polls == 0


@pytest.mark.parametrize("provider", ["runapi", "crun"])
def test_a_signed_success_without_its_cost_says_too_little(ledger: Ledger, provider: str):
    with receiving(ledger, secrets=(SECRET,), webhook_secret=SECRET) as rig:
        made = rig.submitted(provider, "[takes 0] [callback never]")
        told = task(provider, made.task_id, WORDS[provider][2])
        assert rig.post(provider, told, secret=SECRET).status_code == 200
        assert rig.job(made).polls == 1
    assert ledger.reservations.get(made.id).settled_by == "provider"


def test_a_signed_state_that_nobody_documented_is_asked_for(ledger: Ledger):
    with receiving(ledger, secrets=(SECRET,), webhook_secret=SECRET) as rig:
        made = rig.submitted("evolink", "[takes 0] [state archived 1] [callback never]")
        told = task("evolink", made.task_id, "archived")
        assert rig.post("evolink", told, secret=SECRET).status_code == 202
        assert "unknown task status 'archived'" in str(rig.receipts[-1])
        assert ledger.reservations.get(made.id).state is State.SUBMITTED
        assert rig.post("evolink", told, secret=SECRET).status_code == 200
    assert ledger.reservations.get(made.id).state is State.COMMITTED


@pytest.mark.parametrize("secret", [None, OTHER_SECRET])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_the_secret_did_not_sign_changes_nothing(
    ledger: Ledger, provider: str, secret: str | None
):
    settings: dict[str, Any] = {"webhook_secret": secret, "callback_retries_s": ()}
    with receiving(ledger, secrets=(SECRET,), **settings) as rig:
        made = rig.submitted(provider)
        assert rig.called(made) == ["401"]
        assert rig.job(made).polls == 0
    assert ledger.reservations.get(made.id).state is State.SUBMITTED
    assert committed(ledger) == []


def test_an_end_that_the_provider_answers_with_an_odd_word_is_to_come_again(ledger: Ledger):
    with receiving(ledger) as rig:
        made = rig.submitted("evolink", "[takes 0] [state archived 1] [callback never]")
        told = task("evolink", made.task_id, "completed")
        assert rig.post("evolink", told).status_code == 503
        assert ledger.reservations.get(made.id).state is State.SUBMITTED
        assert rig.post("evolink", told).status_code == 200
    assert ledger.reservations.get(made.id).state is State.COMMITTED


def test_one_secret_may_replace_another(ledger: Ledger):
    with receiving(ledger, secrets=(OTHER_SECRET, SECRET), webhook_secret=SECRET) as rig:
        assert rig.ended(rig.submitted("runapi")).state is State.COMMITTED


def test_an_old_message_is_no_proof(ledger: Ledger):
    with receiving(ledger, secrets=(SECRET,)) as rig:
        made = rig.submitted("runapi", "[takes 0] [callback never]")
        told = json.dumps(task("runapi", made.task_id, "completed", **COSTS["runapi"])).encode()
        headers = signed(told, SECRET, at=datetime.now(UTC) - timedelta(minutes=6))
        reply = rig.http.post(rig.listener.address("runapi"), content=told, headers=headers)
        assert reply.status_code == 401
    assert ledger.reservations.get(made.id).state is State.SUBMITTED


def never(provider: str, address: str | None) -> Meter:
    raise AssertionError("nothing is to be asked")


PUBLISHED = (
    b'{"id":"1234567890","status":"succeeded","message":"",'
    b'"create_time":1781080778802,"update_time":1781080794151}'
)
PUBLISHED_HEADERS = {
    "Webhook-Id": "9876543210",
    "Webhook-Timestamp": "1781080794",
    "Webhook-Signature": "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=",
}
"""Published at klingai.com/document-api/api/get-started/callbacks, checked 2026-11-20."""


def test_the_published_message_is_taken_and_any_other_is_not(ledger: Ledger):
    clock = Clock(datetime.fromtimestamp(1781080794, UTC))
    receiver = Receiver(ledger, Meters(never), (SECRET,), clock=clock)
    taken = receiver.receive("runapi", PUBLISHED_HEADERS, PUBLISHED)
    assert (taken.outcome, taken.task_id) == (CallbackOutcome.UNKNOWN, "1234567890")
    forged = receiver.receive(
        "runapi", PUBLISHED_HEADERS, PUBLISHED.replace(b"succeeded", b"failed")
    )
    assert (forged.outcome, forged.task_id) == (CallbackOutcome.UNSIGNED, None)
    clock.forward(seconds=301)
    late = receiver.receive("runapi", PUBLISHED_HEADERS, PUBLISHED)
    assert late.outcome is CallbackOutcome.UNSIGNED


def test_a_secret_that_is_none_is_refused_at_once(ledger: Ledger):
    with pytest.raises(ConfigError, match="secret"):
        Receiver(ledger, Meters(never), ("whsec_not base64!",))


def test_a_secret_is_shown_nowhere(ledger: Ledger):
    receiver = Receiver(ledger, Meters(never), (SECRET,))
    receipt = receiver.receive("runapi", {}, b"{}")
    assert SECRET not in f"{receiver} {receipt} {receipt!r}"
    assert SECRET.removeprefix("whsec_") not in f"{receiver} {receipt} {receipt!r}"


# What somebody made up, or sent at another time


@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_callback_a_hundred_times_at_once_has_one_effect(ledger: Ledger, provider: str):
    with receiving(ledger) as rig:
        made = rig.submitted(provider, "[takes 0] [callback never]")
        told = task(provider, made.task_id, WORDS[provider][2], **COSTS.get(provider, {}))
        with ThreadPoolExecutor(20) as pool:
            replies = list(pool.map(lambda _: rig.post(provider, told), range(100)))
        assert {reply.status_code for reply in replies} == {200}
        assert rig.job(made).polls == 1
    assert committed(ledger) == [f"commit {PRICES[provider]}"]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("word", [2, 3])
def test_an_end_that_the_provider_does_not_confirm_moves_nothing(
    ledger: Ledger, provider: str, word: int
):
    with receiving(ledger) as rig:
        made = rig.submitted(provider, "[never]")
        told = task(provider, made.task_id, WORDS[provider][word], **COSTS.get(provider, {}))
        reply = rig.post(provider, told)
        assert (reply.status_code, "Retry-After" in reply.headers) == (503, True)
    now = ledger.reservations.get(made.id)
    assert (now.state, now.held) == (State.SUBMITTED, money(f"{HOLDS[provider]} {UNITS[provider]}"))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_job_that_is_running_is_not_asked_for(ledger: Ledger, provider: str):
    with receiving(ledger) as rig:
        made = rig.submitted(provider, "[never]")
        assert rig.post(provider, task(provider, made.task_id, "pending")).status_code == 202
        assert rig.job(made).polls == 0


def test_a_running_job_that_was_in_doubt_is_so_no_more_once_its_provider_was_asked(ledger: Ledger):
    with receiving(ledger) as rig:
        made = rig.submitted("crun", "[never]")
        ledger.mark_in_doubt(made.id, "no verdict within 900 s")
        assert rig.post("crun", task("crun", made.task_id, "running")).status_code == 202
        assert rig.job(made).polls == 1
    assert ledger.reservations.get(made.id).state is State.SUBMITTED


def test_completed_after_rolled_back_is_charged_only_if_the_provider_says_so_too(ledger: Ledger):
    with receiving(ledger) as rig:
        failed = rig.submitted("runapi", "[takes 0] [fail]")
        assert rig.ended(failed).state is State.ROLLED_BACK
        told = task("runapi", failed.task_id, "completed", **COSTS["runapi"])
        assert rig.post("runapi", told).status_code == 200
        running = rig.submitted("runapi", "[never]")
        ledger.roll_back(running.id, "a person was wrong")
        told = task("runapi", running.task_id, "completed", **COSTS["runapi"])
        assert rig.post("runapi", told).status_code == 503
    assert committed(ledger) == []


def test_a_task_of_nobody_is_unknown(ledger: Ledger):
    with receiving(ledger) as rig, unchanged(ledger):
        reply = rig.post("runapi", task("runapi", "tsk_1", "completed"))
        assert (reply.status_code, reply.json()) == (404, {"outcome": "unknown"})


def test_a_task_of_another_provider_is_unknown(ledger: Ledger):
    with receiving(ledger) as rig:
        made = rig.submitted("evolink", "[takes 0] [callback never]")
        told = task("uniall", made.task_id, "completed")
        assert rig.post("uniall", told).status_code == 404
    assert ledger.reservations.get(made.id).state is State.SUBMITTED


@pytest.mark.parametrize("name", ["fal", "RunAPI", "%0d%0aX: 1", "runapi/more", ""])
def test_a_provider_that_is_none_is_unknown(ledger: Ledger, name: str):
    with receiving(ledger) as rig, unchanged(ledger):
        assert rig.post(name, task("runapi", "tsk_1", "completed")).status_code == 404
    assert all("\n" not in str(receipt) for receipt in rig.receipts)


def test_a_job_at_another_address_is_not_asked_for(ledger: Ledger):
    with receiving(ledger, base_url="http://127.0.0.1:9") as rig:
        made = rig.submitted("runapi", "[takes 0] [callback never]")
        told = task("runapi", made.task_id, "completed", **COSTS["runapi"])
        assert rig.post("runapi", told).status_code == 409
    assert ledger.reservations.get(made.id).state is State.SUBMITTED


def test_where_nobody_answers_the_callback_is_to_come_again(ledger: Ledger):
    with receiving(ledger) as rig:
        made = rig.submitted("crun", "[takes 0] [callback never]")
        rig.sandbox.close()
        reply = rig.post("crun", task("crun", made.task_id, "success", credits=135))
        assert (reply.status_code, int(reply.headers["Retry-After"])) == (503, 1)
    assert ledger.reservations.get(made.id).state is State.SUBMITTED
    assert "could not be polled" in rig.receipts[-1].said


def test_a_missing_key_says_so_and_the_callback_is_to_come_again(ledger: Ledger):
    from kling_ledger.cli.connections import Connection

    with receiving(ledger) as rig:
        made = rig.submitted("runapi", "[takes 0] [callback never]")
        told = json.dumps(task("runapi", made.task_id, "completed")).encode()
        with Connection().meters(ledger) as meters:
            receipt = Receiver(ledger, meters).receive("runapi", {}, told)
    assert receipt.outcome is CallbackOutcome.UNANSWERED
    assert "RUNAPI_API_KEY" in receipt.said


def test_two_costs_of_one_job_are_told_and_the_first_one_stays(ledger: Ledger):
    with receiving(ledger, secrets=(SECRET,)) as rig:
        made = rig.submitted("runapi", "[takes 0] [callback never]")
        for cost in (0.5, 0.6):
            told = task("runapi", made.task_id, "completed", usage={"cost": cost})
            assert rig.post("runapi", told, secret=SECRET).status_code == 200
    assert ledger.reservations.get(made.id).committed == usd("0.5")


def test_two_receivers_of_one_ledger_charge_once(ledger: Ledger):
    with receiving(ledger) as rig:
        made = rig.submitted("runapi", "[takes 0] [revive 0] [callback never]")
        ledger.roll_back(made.id, "the provider says that it failed")
        told = json.dumps(task("runapi", made.task_id, "completed", **COSTS["runapi"])).encode()
        receivers = [Receiver(ledger, lambda _: rig.meter("runapi")) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            receipts = list(pool.map(lambda one: one.receive("runapi", {}, told), receivers))
    assert {receipt.outcome for receipt in receipts} == {CallbackOutcome.DONE}
    assert committed(ledger) == ["late_commit 0.675"]


def test_a_job_that_somebody_else_follows_is_charged_once(ledger: Ledger):
    with receiving(ledger) as rig:
        reservation, content = rig.reserved("runapi", "[takes 0.3] [callback twice]")
        meter = replace(rig.meter("runapi"), patience=Patience(poll_every_s=0.05))
        ended = meter.carry_on(reservation, content)
        assert rig.called(ended, 2) == ["200", "200"]
    assert ended.state is State.COMMITTED
    assert committed(ledger) == ["commit 0.675"]


def test_a_job_of_a_script_with_its_own_client_is_settled_too(ledger: Ledger):
    with receiving(ledger) as rig:
        meter = rig.meter("crun")
        content = body("crun", "a lake [takes 0]")
        with ledger.reserving(
            read_request("crun", content).quote(at=NOW), wallet="crun-credit"
        ) as (reserved):
            reserved.submitted(meter.provider.submit("text_to_video", content, key="k").task_id)
        told = json.dumps(task("crun", reserved.reservation.task_id, "success")).encode()
        receipt = Receiver(ledger, lambda _: meter).receive("crun", {}, told)
    assert receipt.outcome is CallbackOutcome.DONE
    assert ledger.reservations.get(reserved.id).committed == price("crun")


PROMPTS = 25


@pytest.mark.parametrize("provider", ["runapi", "crun"])
def test_whatever_goes_wrong_what_callbacks_have_charged_is_what_the_provider_did(
    ledger: Ledger, provider: str
):
    with receiving(ledger, misbehave="callbacks", hang_s=0.1, job_s=0.05) as rig:
        for number in range(PROMPTS):
            with suppress(ProviderError):
                rig.submitted(provider, f"clip {number}")
        jobs = [job for job in rig.sandbox.stores[provider].jobs() if is_called_about(job)]
        until(lambda: all(is_settled(ledger, provider, job) for job in jobs))
    assert len(jobs) > PROMPTS / 3


def is_called_about(job: SandboxJob) -> bool:
    """Whether a job ends by itself, and somebody is told of it."""
    return "never" not in job.order.markers.callbacks and math.isfinite(job.ends_s)


def is_settled(ledger: Ledger, provider: str, job: SandboxJob) -> bool:
    """Whether a job has cost what the provider charged, or its sender was told that it has not."""
    if job.deliveries and job.deliveries[-1].outcome != "200":
        return True
    found = ledger.reservations.of_task(provider, job.id)
    if found is None or found.is_open:
        return False
    return (found.committed or Money.zero(found.amount.unit)) == job.charged


# Before our own reply


def test_a_callback_that_overtakes_the_reply_waits_for_it(ledger: Ledger):
    with receiving(ledger) as rig:
        reservation, content = rig.reserved("crun", "[takes 0] [latency 0.5] [callback never]")
        meter = rig.meter("crun")
        ledger.mark_submitting(reservation.id)
        taken = meter.provider.submit("text_to_video", content, key=reservation.id)
        timer = threading.Timer(0.3, ledger.mark_submitted, (reservation.id, taken.task_id))
        timer.start()
        told = task("crun", taken.task_id, "success", credits=135)
        assert rig.post("crun", told).status_code == 200
        timer.join()
    assert ledger.reservations.get(reservation.id).state is State.COMMITTED
    assert len(rig.receipts) == 1


def test_a_callback_that_waited_in_vain_is_to_come_again(ledger: Ledger):
    with receiving(ledger) as rig:
        reservation, _ = rig.reserved("evolink")
        ledger.mark_submitting(reservation.id)
        assert rig.post("evolink", task("evolink", "task-1", "completed")).status_code == 503
    assert rig.receipts[-1].outcome is CallbackOutcome.EARLY


def waiting(ledger: Ledger, state: State, provider: str = "crun") -> Reservation:
    """Make a reservation that has no task, in a state."""
    job = Job(provider=provider, model="kling/v3", address="http://127.0.0.1:9")
    made = ledger.reserve("team", usd("0.5"), job=job)
    if state is not State.RESERVED:
        ledger.mark_submitting(made.id)
    return ledger.mark_in_doubt(made.id, "no answer") if state is State.IN_DOUBT else made


@pytest.mark.parametrize(
    ("state", "provider", "minutes", "outcome"),
    [
        (State.RESERVED, "crun", 0, CallbackOutcome.UNKNOWN),
        (State.SUBMITTING, "crun", 0, CallbackOutcome.EARLY),
        (State.SUBMITTING, "crun", 3, CallbackOutcome.NOTED),
        (State.SUBMITTING, "evolink", 0, CallbackOutcome.UNKNOWN),
        (State.IN_DOUBT, "crun", 0, CallbackOutcome.NOTED),
    ],
)
def test_a_task_without_a_reservation_may_be_of_a_job_without_a_task(
    ledger: Ledger, team: str, state: State, provider: str, minutes: int, outcome: CallbackOutcome
):
    made = waiting(ledger, state, provider)
    clock = Clock(datetime.now(UTC) + timedelta(minutes=minutes))
    receiver = Receiver(ledger, Meters(never), clock=clock)
    told = json.dumps(task("crun", "task-1", "success", credits=1)).encode()
    with unchanged(ledger):
        receipt = receiver.receive("crun", {}, told)
    assert receipt.outcome is outcome
    next_step = f"kling-ledger reservation submitted {made.id} task-1"
    assert (next_step in receipt.said) is (outcome is CallbackOutcome.NOTED)


def test_a_task_that_may_be_of_several_jobs_is_given_to_none_of_them(ledger: Ledger, team: str):
    made = [waiting(ledger, State.IN_DOUBT) for _ in range(4)]
    told = json.dumps(task("crun", "task-1", "success", credits=1)).encode()
    with unchanged(ledger):
        receipt = Receiver(ledger, Meters(never)).receive("crun", {}, told)
    assert all(one.id in receipt.said for one in made[:3])
    assert "and 1 more" in receipt.said
    assert "reservation submitted ID task-1" in receipt.said


def test_where_asking_again_is_safe_resume_finds_out_whose_a_task_is(ledger: Ledger, team: str):
    waiting(ledger, State.IN_DOUBT, "runapi")
    told = json.dumps(task("runapi", "task-1", "completed")).encode()
    receipt = Receiver(ledger, Meters(never)).receive("runapi", {}, told)
    assert receipt.outcome is CallbackOutcome.NOTED
    assert receipt.said.endswith("kling-ledger resume finds out")


# What is no callback


ODD: list[bytes] = [b"", b"null", b"[]", b"<html>", b"\xff\xfe", b"[" * 100_000, b"{}"]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("content", ODD, ids=lambda content: content[:6].hex())
def test_what_is_no_callback_is_refused(ledger: Ledger, provider: str, content: bytes):
    receiver = Receiver(ledger, Meters(never))
    with unchanged(ledger):
        assert receiver.receive(provider, {}, content).outcome is CallbackOutcome.UNREADABLE


def test_what_is_no_callback_is_refused_over_http(ledger: Ledger):
    with receiving(ledger) as rig, unchanged(ledger):
        assert [rig.post("crun", content).status_code for content in ODD] == [400] * len(ODD)
        assert rig.http.get(rig.listener.address("crun")).status_code == 405


def test_a_callback_beyond_all_measure_is_not_read(ledger: Ledger):
    huge = b" " * (LARGEST_CALLBACK + 1)
    with receiving(ledger) as rig, unchanged(ledger):
        assert rig.post("runapi", huge).status_code == 413
        parts = (huge[start : start + 65_536] for start in range(0, len(huge), 65_536))
        chunked = rig.http.post(rig.listener.address("runapi"), content=parts)
        assert chunked.status_code == 413
        longest = b" " * LARGEST_CALLBACK
        assert rig.post("runapi", longest).status_code == 400


def test_a_sender_that_hangs_up_half_way_stops_nothing(ledger: Ledger):
    with receiving(ledger) as rig:
        port = int(rig.listener.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as half:
            half.sendall(b"POST /callbacks/crun HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert rig.post("crun", b"").status_code == 400


def test_a_provider_that_hangs_holds_nobody_elses_callback_up(ledger: Ledger):
    with receiving(ledger, hang_s=60) as rig:
        slow = rig.submitted("evolink", "[takes 0] [poll hang 9] [callback never]")
        quick = rig.submitted("crun", "[takes 0] [callback never]")
        told = task("evolink", slow.task_id, "completed")
        with ThreadPoolExecutor(1) as pool:
            waiting_for = pool.submit(rig.post, "evolink", told)
            until(lambda: rig.job(slow).polls > 0)
            done = rig.post("crun", task("crun", quick.task_id, "success", credits=135))
            assert (done.status_code, waiting_for.done()) == (200, False)
            rig.sandbox.close()
            assert waiting_for.result().status_code == 503


def test_a_sender_that_waits_no_longer_is_answered_and_the_work_goes_on(ledger: Ledger):
    with receiving(ledger) as rig:
        made = rig.submitted("crun", "[takes 0] [poll hang] [callback never]")
        receiver = Receiver(ledger, lambda _: rig.meter("crun"))
        with Listener(receiver, answer_s=0.2) as impatient:
            told = task("crun", made.task_id, "success", credits=135)
            reply = rig.http.post(impatient.address("crun"), json=told)
            assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
    assert ledger.reservations.get(made.id).state is State.COMMITTED


def test_every_outcome_has_its_status():
    assert set(STATUSES) == set(CallbackOutcome)
    again = {outcome for outcome, status in STATUSES.items() if status >= 500}
    assert again == {CallbackOutcome.EARLY, CallbackOutcome.UNANSWERED}


def test_no_key_is_in_what_is_told_or_kept(ledger: Ledger):
    with receiving(ledger) as rig:
        made = rig.submitted("crun", "[takes 0] [poll 401 9] [callback never]")
        told = task("crun", made.task_id, "success", credits=135)
        replies = [rig.post("crun", told), rig.post("crun", {"task_id": KEY * 9})]
    said = " ".join(map(str, rig.receipts)) + " ".join(reply.text for reply in replies)
    assert KEY not in said
    assert KEY not in repr(ledger.reservations.get(made.id))


def test_a_listener_that_is_closed_lets_its_port_go(ledger: Ledger):
    receiver = Receiver(ledger, Meters(never))
    with Listener(receiver) as first:
        port = int(first.url.rsplit(":", 1)[1])
        with pytest.raises(ConfigError, match="cannot be received"):
            Listener(receiver, port=port).start()
    with Listener(receiver, port=port) as second:
        assert second.url == f"http://127.0.0.1:{port}"


def test_whoever_listens_to_the_receiver_cannot_break_it(ledger: Ledger):
    def broken(receipt: Any) -> None:
        raise BrokenPipeError

    with Listener(Receiver(ledger, Meters(never)), on_receipt=broken) as listener:
        import httpx

        assert httpx.post(listener.address("crun"), content=b"").status_code == 400
