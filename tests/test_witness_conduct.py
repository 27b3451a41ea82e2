"""Where gateways do what no page says: the money is right all the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.witness.account import Create, End, Poll, Script, Task
from tests.witness.evolink import EvoLink
from tests.witness.gateway import Zipping
from tests.witness.runapi import RunApi
from tests.witness.server import Gateway, Reply, Request, proxy_page
from tests.witness.uniall import UniAll
from tests.witness_ledger import (
    NAMES,
    Opens,
    check_agrees,
    check_given_back,
    check_in_doubt,
    opening,
)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opens]:
    with opening(tmp_path) as opens:
        yield opens


# Whatever names the task is its name.


@pytest.mark.parametrize("name", NAMES)
def test_a_task_may_be_a_number(opened: Opens, name: str) -> None:
    found = opened(name, new_id=lambda number: str(987_654_000 + number), wire_id=int)
    check_agrees(found, found.run(Script(polls=(Poll.WORK,))))


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_task_may_need_quoting_in_an_address(opened: Opens, name: str) -> None:
    found = opened(name, new_id=lambda number: f"a/b+c={number}")
    check_agrees(found, found.run(Script(polls=(Poll.WORK,))))


@pytest.mark.parametrize("name", NAMES)
def test_replies_may_be_compressed(opened: Opens, name: str) -> None:
    found = opened(name, front=Zipping)
    check_agrees(found, found.run(Script(polls=(Poll.WORK,))))


@pytest.mark.parametrize("name", NAMES)
def test_a_task_that_an_error_names_is_followed(opened: Opens, name: str) -> None:
    found = opened(name, names_task_in_errors=True)
    check_agrees(found, found.run(Script(create=(Create.TAKE_AND_FAIL,))))


def test_crun_may_write_its_codes_as_text(opened: Opens) -> None:
    found = opened("crun", wire_code=str)
    check_agrees(found, found.run(Script(polls=(Poll.WORK,))))


@pytest.mark.parametrize("fields", [("task_id",), ("id", "task_id")])
def test_runapi_may_call_a_new_task_as_its_page_does(
    opened: Opens, fields: tuple[str, ...]
) -> None:
    found = opened("runapi", id_fields=fields)
    check_agrees(found, found.run(Script(polls=(Poll.WORK,))))


# Refusals that come from in front of the gateway: the request went no further.


@dataclass(frozen=True)
class Guarded:
    """A gateway behind a proxy that lets nobody create anything."""

    gateway: Gateway
    reply: Reply

    def answer(self, request: Request) -> Reply:
        if request.method == "POST" and not request.path.endswith(("EstimateTask", "price_quotes")):
            return self.reply
        return self.gateway.answer(request)


PAGES = {
    403: "403 Forbidden",
    404: "404 Not Found",
    407: "407 Proxy Authentication Required",
    413: "413 Request Entity Too Large",
    429: "429 Too Many Requests",
}


@pytest.mark.parametrize("status", PAGES)
@pytest.mark.parametrize("name", NAMES)
def test_what_a_proxy_refuses_gives_its_credits_back(opened: Opens, name: str, status: int) -> None:
    reply = proxy_page(status, PAGES[status])
    found = opened(name, front=lambda gateway: Guarded(gateway, reply))
    check_given_back(found, found.run())


@pytest.mark.parametrize("name", NAMES)
def test_a_redirected_create_is_not_followed_and_gives_its_credits_back(
    opened: Opens, name: str
) -> None:
    reply = Reply(307, b"", {"Location": "/elsewhere"})
    found = opened(name, front=lambda gateway: Guarded(gateway, reply))
    check_given_back(found, found.run())
    assert found.account.bodies == []


@pytest.mark.parametrize("code", [400, 403])
def test_codes_of_crun_below_500_are_refusals(opened: Opens, code: int) -> None:
    reply = Reply(200, {"code": code, "message": "no", "data": None})
    found = opened("crun", front=lambda gateway: Guarded(gateway, reply))
    check_given_back(found, found.run())


# Following.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [Poll.MISSING, Poll.ODD])
def test_a_task_that_is_unknown_or_odd_for_a_moment_is_followed(
    opened: Opens, name: str, step: Poll
) -> None:
    found = opened(name)
    check_agrees(found, found.run(Script(polls=(step, Poll.WORK))))


@pytest.mark.parametrize("word", ["queued", "in_progress", "PROCESSING"])
def test_uniall_publishes_no_words_for_work_so_any_is_followed(opened: Opens, word: str) -> None:
    found = opened("uniall", odd_word=word)
    check_agrees(found, found.run(Script(polls=(Poll.ODD, Poll.ODD))))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("retry_after", ["3600", "9000000000"])
def test_a_wish_to_be_left_alone_is_not_obeyed_for_hours(
    opened: Opens, name: str, retry_after: str
) -> None:
    found = opened(name, retry_after=retry_after)
    pauses = found.pauses(Script(polls=(Poll.WORK, Poll.BUSY)), longest_s=900.0)
    assert max(pauses) <= 300, "one wish must not take all the time that the job has"


# What the create reply says of money, and what the end says.


@pytest.mark.parametrize("reserved", [13_500_000, 108_000_000])
def test_evolink_charges_what_it_said_that_it_reserved(opened: Opens, reserved: int) -> None:
    found = opened("evolink")
    check_agrees(found, found.run(Script(reserved=reserved)))


def test_runapi_may_quote_half_cents(opened: Opens) -> None:
    found = opened("runapi", splits_cents=True)
    check_agrees(found, found.run())


class Nested(EvoLink):
    """Some pages show the clip one level deeper."""

    def told(self, task: Task, word: str, end: End | None) -> Reply:
        said = super().told(task, word, end)
        links = said.content.pop("results", [])
        deeper = {"result_data": [{"video_url": link} for link in links]}
        return replace(said, content={**said.content, **deeper})


def test_evolink_may_tell_its_clips_one_level_deeper(opened: Opens) -> None:
    found = opened("evolink", kind=Nested)
    job = found.run(Script(polls=(Poll.WORK,)))
    check_agrees(found, job)
    assert job.videos == (f"https://files.example/{job.task_id}.mp4",)


class Cancelling(EvoLink):
    """Its callbacks name a state that its page on tasks does not."""

    words: ClassVar[Mapping[Poll | End, str]] = {**EvoLink.words, End.FAILED: "cancelled"}


def test_a_task_that_evolink_cancelled_costs_nothing(opened: Opens) -> None:
    found = opened("evolink", kind=Cancelling)
    check_given_back(found, found.run(Script(end=End.FAILED)))


class Linkless(RunApi):
    """Completed and charged, with links that lead nowhere by themselves, or with none."""

    videos: ClassVar[list[dict[str, Any]]] = []

    def told(self, task: Task, word: str, end: End | None) -> Reply:
        said = super().told(task, word, end)
        if end is End.COMPLETED:
            said.content["videos"] = self.videos
        return said


class Relative(Linkless):
    videos: ClassVar[list[dict[str, Any]]] = [{"url": "/files/clip.mp4"}]


@pytest.mark.parametrize("kind", [Linkless, Relative])
def test_what_was_charged_is_charged_whether_there_is_a_clip_or_not(
    opened: Opens, kind: type[RunApi]
) -> None:
    found = opened("runapi", kind=kind)
    check_agrees(found, found.run())


def test_a_relative_link_is_one_of_the_gateway(opened: Opens) -> None:
    found = opened("runapi", kind=Relative)
    assert found.run().videos == (f"{found.url}/files/clip.mp4",)


class Unnamed(UniAll):
    """A gateway that takes a job and does not say what it calls it."""

    def taken(self, task: Task) -> Reply:
        return Reply(200, {"object": "video.generation.job", "status": "pending"})


def test_a_job_that_was_taken_without_a_name_keeps_its_credits(opened: Opens) -> None:
    found = opened("uniall", kind=Unnamed)
    check_in_doubt(found, found.run())
