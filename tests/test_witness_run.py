"""One job after another against the witness: our ledger says what the gateway's account says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.witness.account import Create, End, Poll, Script
from tests.witness.crun import SECONDS as CRUN_SECONDS
from tests.witness.evolink import SECONDS as EVOLINK_SECONDS
from tests.witness.runapi import JULY, JUNE
from tests.witness_ledger import (
    NAMES,
    TYPICAL,
    Opens,
    check_agrees,
    check_given_back,
    check_in_doubt,
    check_rules,
    opening,
    request_body,
    request_names,
)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opens]:
    with opening(tmp_path) as opens:
        yield opens


NAMES_ITS_COST = {"runapi", "crun"}
"""The gateways that say what a task was charged in the end."""


# Every published request.


@pytest.mark.parametrize("request_name", request_names())
def test_a_published_request_costs_in_our_ledger_what_the_gateway_charged(
    opened: Opens, request_name: str
) -> None:
    found = opened(request_name.partition("_")[0])
    body = request_body(request_name)
    job = found.run(Script(polls=(Poll.WAIT, Poll.WORK)), body)
    check_agrees(found, job)
    assert found.account.bodies == [body]
    assert job.videos == (f"https://files.example/{job.task_id}.mp4",)


@pytest.mark.parametrize("request_name", request_names())
def test_what_is_set_aside_is_what_the_gateway_sets_aside(opened: Opens, request_name: str) -> None:
    found = opened(request_name.partition("_")[0])
    body = request_body(request_name)
    job = found.run(Script(end=End.NEVER), body, meter=found.meter(longest_s=0.1))
    check_in_doubt(found, job)
    if found.name == "runapi":
        # It quotes whole cents, 67.5 of which are 68, and we hold the higher of that and the book.
        assert job.amount.micro == 680_000
        assert found.account.reserved == 675_000
    elif found.name != "uniall":
        assert job.amount.micro == found.account.reserved


@pytest.mark.parametrize("request_name", request_names())
def test_a_published_request_that_fails_costs_nothing(opened: Opens, request_name: str) -> None:
    found = opened(request_name.partition("_")[0])
    job = found.run(Script(polls=(Poll.WORK,), end=End.FAILED), request_body(request_name))
    assert job.task_id in found.account.tasks
    if found.name == "uniall" and job.is_open:
        # It publishes no word for a failure, so "failed" may be left to a person.
        check_in_doubt(found, job)
    else:
        check_given_back(found, job)


# Every price, cell by cell.

LENGTHS = (3, 4, 7, 15)


def priced_bodies(name: str) -> list[dict[str, Any]]:
    """Bodies for every cell of a gateway's tables, each at some lengths."""
    body = request_body(TYPICAL[name])
    match name:
        case "runapi":
            return [
                {**body, "duration_seconds": s, "output_resolution": size, "enable_sound": sound}
                for (sound, size), s in product(JUNE, LENGTHS)
            ]
        case "evolink":
            del body["negative_prompt"]  # which the pages of o3 do not have
            return [
                {**body, "model": model, "duration": s, "quality": quality, "sound": sound}
                for (quality, sound), s in product(EVOLINK_SECONDS, LENGTHS)
                for model in ("kling-v3-text-to-video", "kling-o3-text-to-video")
            ]
        case _:
            return [
                {**crun, "input": {**crun["input"], "mode": mode, "duration": s, "audio": audio}}
                for mode, s in product(CRUN_SECONDS, LENGTHS)
                for crun, audio in (
                    (request_body("crun_text"), True),
                    # Several shots have sound whatever is asked for, and are charged for it.
                    (request_body("crun_intelligence"), False),
                )
            ]


@pytest.mark.parametrize("name", ["crun", "evolink", "runapi"])
def test_every_published_price_is_held_to_the_millionth(opened: Opens, name: str) -> None:
    found = opened(name, splits_cents=True) if name == "runapi" else opened(name)
    bodies = priced_bodies(name)
    dialect: Any = found.dialect
    held = [found.held_for(body) for body in bodies]
    assert held == [dialect.price(body) for body in bodies]
    assert len(set(held)) > len(LENGTHS)


# What it costs in the end.


@pytest.mark.parametrize("name", sorted(NAMES_ITS_COST))
@pytest.mark.parametrize("settled", [1, 333_333, 405_000, 999_999_999])
def test_a_gateway_that_names_the_cost_is_believed(opened: Opens, name: str, settled: int) -> None:
    found = opened(name)
    check_agrees(found, found.run(Script(polls=(Poll.WORK,), settled=settled)))


@pytest.mark.parametrize("name", sorted(NAMES_ITS_COST))
def test_a_completed_task_that_cost_nothing_costs_nothing(opened: Opens, name: str) -> None:
    found = opened(name)
    job = found.run(Script(settled=0))
    check_rules(found)
    assert not job.is_open
    assert found.standing() == (0, 0)


def test_a_failure_that_was_charged_is_charged(opened: Opens) -> None:
    found = opened("crun")
    check_agrees(found, found.run(Script(end=End.FAILED_AND_CHARGED, settled=35_000_000)))


def test_runapi_may_charge_by_either_of_its_tables(opened: Opens) -> None:
    found = opened("runapi", table=JULY)
    job = found.run()
    check_agrees(found, job)
    assert job.amount.micro == 1_350_000, "its own estimate is higher than the book, and is held"


@pytest.mark.parametrize("name", ["crun", "runapi"])
def test_a_higher_estimate_of_the_gateway_is_what_is_held(opened: Opens, name: str) -> None:
    found = opened(name)
    script = Script(reserved=500_000_000, end=End.NEVER)
    job = found.run(script, meter=found.meter(longest_s=0.1))
    check_in_doubt(found, job)
    assert job.amount.micro == 500_000_000


# Refusals: no task, no charge, every credit back.


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_request_gives_its_credits_back(opened: Opens, name: str) -> None:
    found = opened(name)
    check_given_back(found, found.run(Script(create=(Create.REFUSE,))))


@pytest.mark.parametrize("name", NAMES)
def test_an_account_without_credits_at_the_gateway_gives_ours_back(
    opened: Opens, name: str
) -> None:
    found = opened(name)
    found.account.funded = 1
    check_given_back(found, found.run())


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_key_gives_the_credits_back(opened: Opens, name: str) -> None:
    found = opened(name)
    wrong = "ak_" + "f" * 32
    check_given_back(found, found.run(meter=found.meter(api_key=wrong)))
    assert found.account.bodies == []


def test_crun_may_repeat_its_code_in_the_http_status(opened: Opens) -> None:
    found = opened("crun", repeats_code=True)
    check_given_back(found, found.run(Script(create=(Create.REFUSE,))))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("retry_after", [None, "0", "1"])
def test_a_busy_gateway_is_asked_again_or_gives_the_credits_back(
    opened: Opens, name: str, retry_after: str | None
) -> None:
    found = opened(name, retry_after=retry_after)
    job = found.run(Script(create=(Create.BUSY,)))
    if job.state == "committed":
        check_agrees(found, job)
    else:
        check_given_back(found, job)


# A create without a clear answer.

TAKEN = [
    Create.TAKE_AND_CUT,
    Create.TAKE_AND_SEND_HALF,
    Create.TAKE_AND_FAIL,
    Create.TAKE_AND_PROXY_FAILS,
]
NOT_TAKEN = [Create.CUT, Create.FAIL, Create.PROXY_FAILS]


@pytest.mark.parametrize("step", TAKEN + NOT_TAKEN)
def test_runapi_is_sent_the_same_key_again_and_takes_the_job_once(
    opened: Opens, step: Create
) -> None:
    found = opened("runapi")
    check_agrees(found, found.run(Script(create=(step,))))
    assert len(found.account.bodies) == 2


@pytest.mark.parametrize("name", ["crun", "evolink", "uniall"])
@pytest.mark.parametrize("step", TAKEN + NOT_TAKEN)
def test_a_create_that_may_have_been_taken_is_never_sent_again(
    opened: Opens, name: str, step: Create
) -> None:
    found = opened(name)
    job = found.run(Script(create=(step,)))
    check_in_doubt(found, job)
    found.recover()
    check_in_doubt(found, found.reservation(job.id))
    assert len(found.account.bodies) == 1


@pytest.mark.parametrize("step", TAKEN + NOT_TAKEN)
def test_runapi_is_asked_again_by_recovery_where_every_answer_was_lost(
    opened: Opens, step: Create
) -> None:
    found = opened("runapi")
    job = found.run(Script(create=(step,) * 9))
    check_in_doubt(found, job)
    for _ in range(4):
        found.recover()
    check_agrees(found, found.reservation(job.id))


# Polls without a clear answer.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [Poll.CUT, Poll.FAIL, Poll.PROXY_FAILS, Poll.BUSY])
def test_a_poll_without_an_answer_is_asked_again(opened: Opens, name: str, step: Poll) -> None:
    found = opened(name)
    check_agrees(found, found.run(Script(polls=(Poll.WORK, step, Poll.WORK, step))))


@pytest.mark.parametrize("name", NAMES)
def test_a_task_that_never_ends_keeps_its_credits(opened: Opens, name: str) -> None:
    found = opened(name)
    job = found.run(Script(end=End.NEVER), meter=found.meter(longest_s=0.1))
    check_in_doubt(found, job)
    assert job.task_id in found.account.tasks


@pytest.mark.parametrize("name", NAMES)
def test_a_job_whose_time_was_over_is_charged_by_recovery(opened: Opens, name: str) -> None:
    found = opened(name)
    job = found.run(Script(polls=(Poll.WORK,) * 20), meter=found.meter(longest_s=0.05))
    check_in_doubt(found, job)
    found.recover()
    check_agrees(found, found.reservation(job.id))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [Poll.MISSING, Poll.ODD])
def test_recovery_finishes_a_task_that_was_unknown_or_odd_for_a_moment(
    opened: Opens, name: str, step: Poll
) -> None:
    found = opened(name)
    job = found.run(Script(polls=(step, Poll.WORK)))
    found.recover()
    check_agrees(found, found.reservation(job.id))


# The same job twice.


@pytest.mark.parametrize("name", NAMES)
def test_the_same_key_is_the_same_job(opened: Opens, name: str) -> None:
    found = opened(name)
    first = found.run(key="shot-7")
    second = found.run(key="shot-7")
    assert second.id == first.id
    check_agrees(found, second)
