"""Options that a body leaves to its provider, run against gateways that take something else now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from runapi.kling import KlingClient

from kling_ledger.jobs.batch import Batch
from kling_ledger.jobs.batch_jobs import BatchJob, attempts_to_do
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Reservation, State
from kling_ledger.providers.runapi.dialect import RunApi as Client
from kling_pricing.gateways import read_request
from tests.sandbox_rig import AT
from tests.witness.account import Create, End, Script
from tests.witness.crun import Crun
from tests.witness.evolink import EvoLink
from tests.witness.runapi import RunApi
from tests.witness_ledger import (
    KEYS,
    Bench,
    Opens,
    check_agrees,
    check_in_doubt,
    metered_client,
    opening,
    request_body,
)

DEAREST: Mapping[str, Any] = {"duration": 15, "quality": "1080p", "sound": "on"}
WRITTEN: Mapping[str, Any] = {"duration": 5, "quality": "720p", "sound": "off"}


@dataclass
class NewEvoLink(EvoLink):
    """EvoLink, having changed its defaults to the dearest without a word."""

    def price(self, body: Any) -> int:
        return super().price({**DEAREST, **body})


@dataclass
class OpenRunApi(RunApi):
    """RunAPI with some defaults for kling-3.0: nobody documents which."""

    usual: Mapping[str, Any] = field(default_factory=dict)

    def price(self, body: Any) -> int:
        return super().price({**self.usual, **body})


@dataclass
class LoudCrun(Crun):
    """Crun with sound as its default for a single shot."""

    def price(self, body: Any) -> int:
        return super().price({**body, "input": {"audio": True, **body["input"]}})


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opens]:
    with opening(tmp_path) as opens:
        yield opens


def without(body: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


# --- every way that a job is sent ---------------------------------------------------------------

Way = Callable[[Bench, dict[str, Any]], Reservation]


def by_run(found: Bench, body: dict[str, Any]) -> Reservation:
    return found.run(Script(), body)


def by_batch(found: Bench, body: dict[str, Any]) -> Reservation:
    found.account.next_job(Script())
    request = read_request(found.name, body)
    jobs = [BatchJob(1, request, request.quote(at=AT), "clips/1")]
    ended = Batch({found.name: found.meter()}, attempts_to_do(jobs, {})).run()[1]
    assert ended.reservation is not None
    return ended.reservation


def by_recovery(found: Bench, body: dict[str, Any]) -> Reservation:
    """Leave a job between the two: on disk as being sent, and never sent."""
    found.account.next_job(Script())
    reserved = found.meter().reserve(body)
    found.ledger.mark_submitting(reserved.id)
    found.recover()
    return found.reservation(reserved.id)


def by_metered_client(found: Bench, body: dict[str, Any]) -> Reservation:
    found.account.next_job(Script())
    client = KlingClient(KEYS["runapi"], base_url=found.url)
    with closing(Client(client)):
        metered_client(found, client).text_to_video.run(**body)
    return found.reservations()[0]


@pytest.mark.parametrize("way", [by_run, by_batch])
@pytest.mark.parametrize(
    "left_out", [names for count in (1, 2, 3) for names in combinations(WRITTEN, count)]
)
def test_evolink_charges_its_documented_default_whatever_it_takes_unasked_now(
    opened: Opens, way: Way, left_out: tuple[str, ...]
):
    found = opened("evolink", kind=NewEvoLink)
    body = {**without(request_body("evolink_text"), *left_out)}
    job = way(found, body)
    check_agrees(found, job)
    assert found.account.bodies == [{**body, **{name: WRITTEN[name] for name in left_out}}]
    assert job.spent.micro == 27_000_000


@pytest.mark.parametrize("way", [by_run, by_batch, by_recovery, by_metered_client])
def test_runapi_makes_no_sound_unasked_whatever_it_takes_unasked_now(opened: Opens, way: Way):
    found = opened("runapi", kind=OpenRunApi, usual={"enable_sound": True})
    body = without(request_body("runapi_text_to_video"), "enable_sound")
    job = way(found, body)
    check_agrees(found, job)
    assert found.account.bodies == [{**body, "enable_sound": False}]
    assert job.spent.micro == 450_000


def test_the_estimate_is_asked_for_what_will_be_sent(opened: Opens):
    found = opened("runapi", kind=OpenRunApi, usual={"enable_sound": True})
    body = without(request_body("runapi_text_to_video"), "enable_sound")
    assert found.held_for(body) == 450_000


# --- no documented default ----------------------------------------------------------------------


def silently(found: Bench) -> Meter:
    """A meter that does not ask what it will cost: the book alone decides."""
    return replace(found.meter(longest_s=0.5), asks_estimate=False)


@pytest.mark.parametrize("seconds", [3, 5, 15])
@pytest.mark.parametrize("size", ["720p", "1080p", "4k"])
@pytest.mark.parametrize("end", [End.COMPLETED, End.NEVER])
def test_no_default_of_runapi_costs_more_than_is_held(
    opened: Opens, seconds: int, size: str, end: End
):
    usual = {"duration_seconds": seconds, "output_resolution": size}
    found = opened("runapi", kind=OpenRunApi, usual=usual)
    body = {"model": "kling-3.0", "prompt": "a lake"}
    job = found.run(Script(end=end), body, meter=silently(found))
    assert found.account.bodies == [{**body, "enable_sound": False}]
    (task,) = found.account.tasks.values()
    assert job.amount.micro >= task.reserved
    if end is End.COMPLETED:
        check_agrees(found, job)
    else:
        check_in_doubt(found, job)


@pytest.mark.parametrize("has_sound", [True, False])
def test_several_shots_at_runapi_are_held_with_sound_and_settled_as_made(
    opened: Opens, has_sound: bool
):
    found = opened("runapi", kind=OpenRunApi, usual={"enable_sound": has_sound})
    body = {**request_body("runapi_text_to_video"), "multi_shots": True}
    body = without(body, "enable_sound")
    job = found.run(Script(), body, meter=silently(found))
    check_agrees(found, job)
    assert found.account.bodies == [body]
    assert (job.amount.micro, job.spent.micro) == (1_350_000, 675_000 if has_sound else 450_000)


def test_a_single_shot_at_crun_is_held_with_sound(opened: Opens):
    found = opened("crun", kind=LoudCrun)
    body = request_body("crun_text")
    body = {**body, "input": without(body["input"], "audio")}
    job = found.run(Script(), body, meter=silently(found))
    check_agrees(found, job)
    assert found.account.bodies == [body]
    assert job.amount.micro == 200_000_000


# --- the same key says the same again -----------------------------------------------------------


def test_a_job_is_sent_again_word_for_word(opened: Opens):
    found = opened("runapi")
    body = without(request_body("runapi_text_to_video"), "enable_sound")
    job = found.run(Script(create=(Create.TAKE_AND_CUT,) * 9), body)
    check_in_doubt(found, job)
    for _ in range(4):
        found.recover()
    check_agrees(found, found.reservation(job.id))
    assert len(found.account.bodies) > 1
    assert all(sent == {**body, "enable_sound": False} for sent in found.account.bodies)


@pytest.mark.parametrize("is_sent", [True, False])
def test_a_reservation_of_an_older_version_sends_what_it_keeps(opened: Opens, is_sent: bool):
    found = opened("runapi")
    body = without(request_body("runapi_text_to_video"), "enable_sound")
    meter = found.meter()
    asked = meter.asked(body, key="shot-7")
    # As it was kept before anything was written out.
    older = replace(asked, job=replace(asked.job, request=json.dumps(body)))
    (kept,) = found.ledger.reserve_many([older])
    if is_sent:
        found.ledger.mark_submitting(kept.id)
    found.account.next_job(Script())
    meter = replace(meter, patience=replace(meter.patience, sender_s=0))
    ended = meter.run(body, key="shot-7")
    assert (ended.id, ended.state) == (kept.id, State.COMMITTED)
    assert found.account.bodies == [body]
