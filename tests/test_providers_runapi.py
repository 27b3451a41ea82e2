"""RunAPI as a provider: what each answer, and each missing answer, means for the money."""

from __future__ import annotations

import socket
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from kling_ledger.errors import JobInDoubtError, JobRefusedError, NoAnswerError, PollError
from kling_ledger.providers.base import Pacing, TaskState
from kling_ledger.providers.runapi.dialect import ACTIONS, RunApi, connect
from kling_pricing import Money
from tests.ledgers import usd
from tests.loopback import HANG_UP, answering
from tests.providers import NOW, TASK_ID, created, speaking, task

KEY = "rk-do-not-tell"
BODY = {"model": "kling-3.0", "prompt": "a lake", "duration_seconds": 5}


def provider(url: str) -> RunApi:
    found = connect(KEY, base_url=url, timeout_s=2)
    return RunApi(found.client, pacing=Pacing(sleep=lambda _: None))


def submit(url: str) -> Any:
    with closing(provider(url)) as opened:
        return opened.submit("text_to_video", BODY, key="res_1")


@pytest.mark.parametrize("reply", [{"id": "t1", "status": "pending"}, {"task_id": "t1"}])
def test_either_documented_create_reply_names_the_task(reply: dict[str, str]):
    with answering((200, reply)) as server:
        assert submit(server.url).task_id == "t1"


@pytest.mark.parametrize(
    "reply",
    [
        {"id": "task_7", "status": "odd"},
        {"id": "task_7", "status": "pending", "videos": 7},
        {"id": "task_7", "status": "completed", "videos": ["not an object"]},
        {"task_id": "task_7", "status": {"word": "pending"}},
        [{"id": "task_7", "status": "odd"}],
        {"data": {"task_id": "task_7", "status": "odd"}},
    ],
    ids=str,
)
def test_a_task_that_is_named_is_known_whatever_else_the_client_cannot_read(reply: Any):
    with answering((200, reply)) as server:
        assert submit(server.url).task_id == "task_7"


def test_the_reservation_id_is_idempotency_key_and_client_request_id():
    with answering((200, {"id": "t1"})) as server:
        submit(server.url)
    headers = server.seen[0].headers
    assert headers["Idempotency-Key"] == headers["X-Client-Request-Id"] == "res_1"
    assert headers["Authorization"] == f"Bearer {KEY}"


def test_the_body_is_sent_as_it_was_given():
    with answering((200, {"id": "t1"})) as server:
        submit(server.url)
    assert server.seen[0].body == BODY
    assert server.seen[0].path == "/api/v1/kling/text_to_video"


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
def test_a_definite_refusal_is_a_refusal_and_is_not_repeated(status: int):
    with answering((status, {"error": {"code": "no", "message": "not this one"}})) as server:
        with pytest.raises(JobRefusedError, match=f"{status} not this one"):
            submit(server.url)
        assert len(server.seen) == 1


def test_too_many_requests_is_repeated_and_then_a_refusal():
    with answering((429, {"error": "slow down"})) as server:
        with pytest.raises(JobRefusedError, match="slow down"):
            submit(server.url)
        assert len(server.seen) == 3


def test_too_many_requests_once_is_no_harm():
    with answering((429, {}), (200, {"id": "t1"})) as server:
        assert submit(server.url).task_id == "t1"


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504])
def test_an_answer_that_decides_nothing_leaves_the_job_in_doubt(status: int):
    with answering((status, {"error": "hm"})) as server, pytest.raises(JobInDoubtError):
        submit(server.url)


def test_a_lost_reply_is_asked_for_again_under_the_same_key():
    with answering(HANG_UP, (200, {"id": "t1"})) as server:
        assert submit(server.url).task_id == "t1"
        assert {seen.headers["Idempotency-Key"] for seen in server.seen} == {"res_1"}


def test_a_reply_that_never_comes_leaves_the_job_in_doubt():
    with answering(HANG_UP) as server, pytest.raises(JobInDoubtError):
        submit(server.url)


def test_a_refusal_after_a_lost_reply_says_nothing_of_the_first_request():
    with answering(HANG_UP, (401, {"error": "no"})) as server, pytest.raises(JobInDoubtError):
        submit(server.url)


@pytest.mark.parametrize("reply", ["<html>hello</html>", "[]", {"status": "pending"}, {"id": True}])
def test_a_reply_that_names_no_task_leaves_the_job_in_doubt(reply: Any):
    with answering((200, reply)) as server, pytest.raises(JobInDoubtError):
        submit(server.url)


def test_where_nobody_listens_nothing_was_sent():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(JobRefusedError, match="could not be reached"):
        submit(f"http://127.0.0.1:{port}")


def test_an_address_that_is_none_means_that_nothing_was_sent():
    with pytest.raises(JobRefusedError, match="could not be reached"):
        submit("runapi.ai")


def test_a_key_that_the_provider_repeats_is_not_repeated_by_us():
    with (
        answering((401, {"error": f"bad key {KEY}"})) as server,
        pytest.raises(JobRefusedError) as refusal,
    ):
        submit(server.url)
    assert KEY not in str(refusal.value)
    assert "***" in str(refusal.value)


def poll(*answers: Any) -> Any:
    with answering(*answers) as server, closing(provider(server.url)) as opened:
        return opened.poll("text_to_video", "t1")


def completed(**more: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"id": "t1", "status": "completed", "videos": [{"url": "https://v/1.mp4"}], **more}


@pytest.mark.parametrize("word", ["pending", "processing"])
def test_a_job_that_is_on_its_way_is_running(word: str):
    assert poll((200, {"id": "t1", "status": word})).state is TaskState.RUNNING


def test_the_settled_cost_is_exactly_what_was_written():
    status = poll(completed(usage={"cost": 0.1}))
    assert status.cost == Money(Decimal("0.1"), "USD")
    assert status.videos == ("https://v/1.mp4",)


def test_a_cost_with_the_dust_of_binary_floats_is_rounded_to_the_millionth():
    assert poll(completed(usage={"cost": 0.1 + 0.2})).cost == Money(Decimal("0.3"), "USD")


@pytest.mark.parametrize("usage", [{}, {"cost": None}, {"cost": -1}, {"cost": "a lot"}, "free"])
def test_a_cost_that_cannot_be_read_is_unknown_and_never_zero(usage: Any):
    status = poll(completed(usage=usage))
    assert status.state in {TaskState.COMPLETED, TaskState.UNKNOWN}
    assert status.cost is None
    assert status.problem


def test_a_failed_job_tells_why():
    status = poll((200, {"id": "t1", "status": "failed", "error": "moderation"}))
    assert (status.state, status.problem) == (TaskState.FAILED, "moderation")


@pytest.mark.parametrize("reply", [{"id": "t1", "status": "paused"}, {"id": "t1"}])
def test_a_word_that_nobody_documented_is_no_verdict(reply: Any):
    assert poll((200, reply)).state is TaskState.UNKNOWN


@pytest.mark.parametrize("reply", ["", "hello", "<html>hello</html>", "null", [1]])
def test_a_reply_that_is_no_task_is_no_answer_and_asked_for_again(reply: Any):
    with pytest.raises(PollError) as error:
        poll((200, reply))
    assert not error.value.is_final
    assert poll((200, reply), (200, {"id": "t1", "status": "pending"})).state == "running"


@pytest.mark.parametrize("videos", [None, {}, "x", [1], [{"url": 1}], [{}]])
def test_odd_videos_do_no_harm(videos: Any):
    status = poll(
        (200, {"id": "t1", "status": "completed", "videos": videos, "usage": {"cost": 1}})
    )
    assert status.videos == ()


@pytest.mark.parametrize(
    ("status", "is_final"), [(401, True), (404, False), (429, False), (503, False)]
)
def test_a_poll_without_an_answer_says_whether_asking_again_may_help(status: int, is_final: bool):
    with pytest.raises(PollError) as error:
        poll((status, {"error": "hm"}))
    assert error.value.is_final is is_final


def test_a_poll_that_is_cut_off_may_be_repeated():
    with pytest.raises(PollError) as error:
        poll(HANG_UP)
    assert not error.value.is_final


@pytest.mark.parametrize("task_id", ["a\nb", " ", "x" * 513])
def test_a_task_that_cannot_be_asked_for_leaves_the_job_in_doubt(task_id: str):
    with answering((200, {"id": task_id})) as server, pytest.raises(JobInDoubtError):
        submit(server.url)


def test_a_reply_about_another_task_is_no_verdict():
    done = {"id": "other", "status": "completed", "usage": {"cost": 1}}
    assert poll((200, done)).state is TaskState.UNKNOWN


@pytest.mark.parametrize("cost", ["1e999999", "1e999", 1e300])
def test_a_cost_beyond_all_measure_is_unknown(cost: Any):
    assert poll(completed(usage={"cost": cost})).cost is None


def test_what_a_provider_writes_cannot_steer_a_terminal():
    failed = {"id": "t1", "status": "failed", "error": "red \x1b[31m\nalert"}
    assert poll((200, failed)).problem == "red \\x1b[31m\\nalert"


# --- every action, the account and the quote --------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_has_an_address_of_its_own(action: str):
    with speaking("runapi", (200, created("runapi")), (200, task("runapi", "pending"))) as rig:
        rig.provider.submit(action, BODY, key="res_1")
        rig.provider.poll(action, TASK_ID)
    posted, asked = rig.server.seen
    assert (posted.method, posted.path) == ("POST", f"/api/v1/kling/{action}")
    assert (asked.method, asked.path) == ("GET", f"/api/v1/kling/{action}/{TASK_ID}")
    assert (posted.body, asked.body) == (BODY, None)


@pytest.mark.parametrize("action", ["lip_sync", "reference_to_video", "account", "_http", ""])
def test_an_action_that_runapi_has_not_is_refused_unsent(action: str):
    with speaking("runapi", (200, created("runapi"))) as rig:
        with pytest.raises(JobRefusedError, match="unknown action"):
            rig.provider.submit(action, BODY, key="res_1")
        with pytest.raises(PollError, match="unknown action"):
            rig.provider.poll(action, TASK_ID)
        assert rig.server.seen == []


@pytest.mark.parametrize("task_id", ["", " ", "a\nb", "x" * 513])
def test_what_is_no_id_of_a_task_is_not_asked_for(task_id: str):
    with speaking("runapi", (200, {})) as rig:
        with pytest.raises(PollError) as error:
            rig.provider.poll("text_to_video", task_id)
        assert rig.server.seen == []
    assert error.value.is_final


def test_links_are_promised_for_a_week():
    done = task("runapi", "completed", videos=[{"url": "https://v/1.mp4"}], usage={"cost": 1})
    with speaking("runapi", (200, done)) as rig:
        assert rig.poll().videos_expire_at == NOW + timedelta(days=7)


BALANCE = {
    "balance_cents": 5000,
    "paid_balance_cents": 4000,
    "bonus_balance_cents": 1000,
    "spent_cents_today": 100,
    "spent_cents_total": 2000.5,
}


def test_the_balance_is_written_in_cents():
    with speaking("runapi", (200, BALANCE)) as rig:
        found = rig.provider.balance()
    assert (found.available, found.spent) == (usd("50"), usd("20.005"))
    assert rig.server.seen[0].path == "/api/v1/me/balance"


@pytest.mark.parametrize(
    "body", ["", "<html>", [], {}, {**BALANCE, "balance_cents": "x"}, {"balance_cents": 5}]
)
def test_a_balance_that_cannot_be_read_is_an_error(body: Any):
    with speaking("runapi", (200, body)) as rig, pytest.raises(NoAnswerError):
        rig.provider.balance()


QUOTE = {
    "service": "kling",
    "action": "text_to_video",
    "model": "kling-3.0",
    "pricing_status": "available",
    "currency": "USD",
    "reservation_amount_cents": 67.5,
    "estimate_basis": "exact",
    "as_of": "2026-11-20T00:00:00Z",
}


def test_an_estimate_asks_for_a_quote_and_creates_no_task():
    with speaking("runapi", (200, {"price_quote": QUOTE})) as rig:
        body = {**BODY, "callback_url": "https://example.com/done"}
        found = rig.provider.estimate("text_to_video", body)
    assert found.amount == usd("0.675")
    seen = rig.server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/api/v1/price_quotes")
    assert seen.body == {
        "service": "kling",
        "action": "text_to_video",
        "model": "kling-3.0",
        "params": {"prompt": "a lake", "duration_seconds": 5},
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"pricing_status": "unavailable"},
        {"currency": "CNY"},
        {"reservation_amount_cents": None},
        {"reservation_amount_cents": "x"},
        {"reservation_amount_cents": -1},
    ],
)
def test_a_quote_that_names_no_dollars_is_no_estimate(wrong: dict[str, Any]):
    with (
        speaking("runapi", (200, {"price_quote": {**QUOTE, **wrong}})) as rig,
        pytest.raises(NoAnswerError),
    ):
        rig.estimate()


@pytest.mark.parametrize("body", ["", "<html>", [], {}, {"price_quote": None}, {"price_quote": 7}])
def test_a_quote_that_cannot_be_read_is_no_estimate(body: Any):
    with speaking("runapi", (200, body)) as rig, pytest.raises(NoAnswerError):
        rig.estimate()


@pytest.mark.parametrize(("status", "is_final", "times"), [(422, True, 1), (503, False, 3)])
def test_a_quote_that_is_refused_says_whether_for_good(status: int, is_final: bool, times: int):
    with speaking("runapi", (status, {"error": "no"})) as rig:
        with pytest.raises(NoAnswerError) as error:
            rig.estimate()
        assert len(rig.server.seen) == times
    assert error.value.is_final is is_final
