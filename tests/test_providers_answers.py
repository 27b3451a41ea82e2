"""What an answer tells of a task: an error beside any state, a cost, links, and never the key."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest

from kling_ledger.errors import JobInDoubtError, NoAnswerError
from kling_ledger.providers.base import TaskState
from kling_ledger.providers.registry import FACTS, connect, read_callback
from kling_pricing.money import Money
from tests.loopback import answering
from tests.providers import BODIES, KEY, NAMES, NOW, TASK_ID, created, speaking, task

DONE = {"runapi": "completed", "crun": "success", "evolink": "completed", "uniall": "completed"}


def with_error(name: str, word: str, error: Any, **more: Any) -> dict[str, Any]:
    """A task with an error where its gateway writes one."""
    return task(name, word, **({"result": error} if name == "crun" else {"error": error}), **more)


def with_link(name: str, link: object) -> dict[str, Any]:
    """A completed task whose clip is at a link."""
    places: dict[str, dict[str, Any]] = {
        "runapi": {"videos": [{"url": link}]},
        "crun": {"result": {"media_urls": [link]}},
        "evolink": {"results": [link]},
        "uniall": {"video_url": link},
    }
    return task(name, DONE[name], **places[name])


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("word", ["completed", "failed", "pending", "odd"])
def test_an_error_is_told_beside_any_state(name: str, word: str):
    error = {"code": "moderation", "message": "not this prompt"}
    state = DONE[name] if word == "completed" else word
    with speaking(name, (200, with_error(name, state, error))) as rig:
        status = rig.poll()
    if (name, word) == ("runapi", "odd"):
        # Its client lets nothing through of a task in a state that it does not know.
        assert "Invalid status: odd" in (status.problem or "")
        return
    assert status.has_error
    assert "not this prompt" in (status.problem or "")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "error",
    [
        *(None, "", " ", [], {}, False, {"code": None, "message": None}, {"code": 0}),
        *({"code": 200, "message": "success"}, {"message": "success"}, {"code": "", "message": ""}),
    ],
)
def test_what_says_that_there_is_no_error_is_none(name: str, error: object):
    with speaking(name, (200, with_error(name, DONE[name], error))) as rig:
        status = rig.poll()
    assert (status.state, status.has_error) == (TaskState.COMPLETED, False)


def test_an_error_beside_a_cost_that_cannot_be_read_are_both_told():
    reply = with_error("crun", "success", {"code": 501, "message": "no clip"}, credits="many")
    with speaking("crun", (200, reply)) as rig:
        assert (rig.poll().problem or "").startswith("501 no clip; data.credits cannot be read")


# --- costs ------------------------------------------------------------------------------------

COSTS = [
    ("runapi", {"usage": {"cost": 0.05}}, Money.parse("0.05 USD")),
    ("crun", {"credits": 35}, Money.parse("35 crun-credit")),
]


@pytest.mark.parametrize(("name", "more", "cost"), COSTS)
@pytest.mark.parametrize("has_failed", [False, True])
def test_an_ended_task_names_its_cost_however_it_ended(
    name: str, more: dict[str, Any], cost: Money, has_failed: bool
):
    word = "failed" if has_failed else DONE[name]
    with speaking(name, (200, task(name, word, **more))) as rig:
        assert rig.poll().cost == cost


@pytest.mark.parametrize(
    ("name", "more"), [("runapi", {"usage": {"cost": "much"}}), ("crun", {"credits": -1})]
)
def test_a_failure_whose_cost_cannot_be_read_is_no_verdict(name: str, more: dict[str, Any]):
    with speaking(name, (200, task(name, "failed", **more))) as rig:
        status = rig.poll()
    assert (status.state, status.cost) == (TaskState.UNKNOWN, None)
    assert "cannot be read" in (status.problem or "")


@pytest.mark.parametrize(
    ("word", "rule", "cost"),
    [
        ("completed", "per_second", Money.parse("40.5 evolink-credit")),
        ("completed", "per_call", None),
        ("failed", "per_second", None),
        ("pending", "per_second", None),
    ],
)
def test_a_completed_task_of_evolink_cost_what_it_says_that_it_reserved(
    word: str, rule: str, cost: Money | None
):
    usage = {"billing_rule": rule, "credits_reserved": 405000}
    with speaking("evolink", (200, task("evolink", word, usage=usage))) as rig:
        assert rig.poll().cost == cost


def test_who_charges_what_it_holds_and_who_frees_failures():
    assert [name for name, facts in FACTS.items() if facts.charges_what_it_holds] == ["evolink"]
    assert [name for name, facts in FACTS.items() if not facts.frees_failures] == ["uniall"]


# --- links ------------------------------------------------------------------------------------

LINKS = [
    ("https://v.example/1.mp4", "https://v.example/1.mp4"),
    ("HTTPS://v.example/1.mp4", "HTTPS://v.example/1.mp4"),
    ("/files/1.mp4?x=1", "{root}/files/1.mp4?x=1"),
    ("files/1.mp4", "{root}/files/1.mp4"),
    ("1.mp4", "{root}/1.mp4"),
    ("//v.example/1.mp4", "http://v.example/1.mp4"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("link", "expected"), LINKS)
def test_a_relative_link_is_one_of_the_gateway(name: str, link: str, expected: str):
    with speaking(name, (200, with_link(name, link))) as rig:
        assert rig.poll().videos == (expected.format(root=rig.server.url),)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "link",
    [
        *("ftp://v/1.mp4", "javascript:alert(1)", "data:video/mp4,x", "file:///1.mp4", "n/a", "x"),
        *("", "pending", "/a\nb.mp4", "a b.mp4x y", "//[bad", None, 7, [["/1.mp4"]]),
    ],
)
def test_only_web_addresses_come_out(name: str, link: object):
    with speaking(name, (200, with_link(name, link))) as rig:
        assert rig.poll().videos == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_relative_link_in_a_callback_leads_nowhere(name: str):
    body = with_link(name, "/files/1.mp4")
    posted = body["data"] if name == "crun" else body
    assert read_callback(name, json.dumps(posted).encode(), now=NOW).status.videos == ()


# --- the key ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_key_in_a_link_is_not_told(name: str):
    with speaking(name, (200, with_link(name, f"https://v/{KEY}/1.mp4?key={KEY}"))) as rig:
        status = rig.poll()
    assert status.videos == ("https://v/***/1.mp4?key=***",)


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_an_address_has_to_write_otherwise_is_not_told_either(name: str):
    key = "ak_a/b+c=0123456789abcdefghij012345"
    with answering((200, with_link(name, f"https://v/1.mp4?key={quote(key, safe='')}"))) as server:
        opened = connect(name, api_key=key, base_url=server.url)
        with closing(opened) as provider:
            assert provider.poll("text_to_video", TASK_ID).videos == ("https://v/1.mp4?key=***",)


@pytest.mark.parametrize("name", NAMES)
def test_a_key_in_the_name_of_a_task_is_kept_nowhere(name: str):
    answer = (200, created(name, f"task-{KEY}"))
    with speaking(name, answer) as rig, pytest.raises(JobInDoubtError) as error:
        rig.submit()
    assert KEY not in f"{error.value} {vars(error.value)}"


@pytest.mark.parametrize("name", NAMES)
def test_a_key_in_a_state_is_not_told(name: str):
    key = "AK_Do-Not-Tell-0123456789abcdefghij"
    with (
        answering((200, task(name, key))) as server,
        closing(connect(name, api_key=key, base_url=server.url)) as provider,
    ):
        status = provider.poll("text_to_video", TASK_ID)
    assert key.lower() not in f"{status.problem} {status.word}".lower()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["a", "e", "1", "task"])
def test_a_short_key_does_not_change_what_is_read(name: str, key: str):
    link = "https://v/a/e/1.mp4"
    with answering((200, created(name)), (200, with_link(name, link))) as server:
        opened = connect(name, api_key=key, base_url=server.url)
        with closing(opened) as provider:
            assert provider.submit("text_to_video", BODIES[name], key="res_1").task_id == TASK_ID
            status = provider.poll("text_to_video", TASK_ID)
    assert (status.state, status.videos) == (TaskState.COMPLETED, (link,))


# --- estimates --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["runapi", "crun"])
@pytest.mark.parametrize("status", [404, 405, 501])
@pytest.mark.parametrize("body", ["<html>no</html>", "", {"message": "no route"}])
def test_an_estimate_that_is_nowhere_is_asked_for_once(name: str, status: int, body: object):
    with speaking(name, (status, body)) as rig:
        assert rig.provider.facts.estimates
        for _ in range(3):
            with pytest.raises(NoAnswerError):
                rig.estimate()
        assert len(rig.server.seen) == 1
        assert not rig.provider.facts.estimates


def test_an_estimate_that_crun_has_not_for_one_model_it_may_have_for_another():
    unknown = (200, {"code": 404, "message": "no such model"})
    known = (200, {"code": 200, "data": {"estimated_credits": 67.5}})
    with speaking("crun", unknown, known) as rig:
        for _ in range(2):
            with pytest.raises(NoAnswerError):
                rig.provider.estimate("text_to_video", {"model": "kling/v9"})
        assert len(rig.server.seen) == 1
        assert rig.estimate().amount == Money.parse("67.5 crun-credit")
        assert rig.provider.facts.estimates
