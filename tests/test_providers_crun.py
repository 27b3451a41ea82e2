"""Crun: the code decides, the key goes into its own header, credits are exact."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kling_ledger.errors import JobRefusedError, NoAnswerError, PollError
from kling_ledger.providers.base import Balance, Estimate, TaskState
from kling_pricing import Money
from tests.providers import BODIES, KEY, TASK_ID, created, speaking, task


def credits_(amount: str) -> Money:
    return Money(Decimal(amount), "crun-credit")


def ok(data: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"code": 200, "message": "success", "data": data}


def test_a_job_is_created_where_crun_documents_it():
    with speaking("crun", (200, created("crun"))) as rig:
        assert rig.submit().task_id == TASK_ID
    seen = rig.server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/api/v1/client/job/CreateTask")
    assert seen.headers["x-api-key"] == KEY
    assert "Idempotency-Key" not in seen.headers
    assert not rig.provider.repeats_safely


def test_a_task_is_asked_for_by_its_id():
    with speaking("crun", (200, task("crun", "running"))) as rig:
        rig.poll()
    assert rig.server.seen[0].path == f"/api/v1/client/job/TaskInfo?task_id={TASK_ID}"


def test_the_documented_finished_task_is_read_whole():
    data = {
        "task_id": TASK_ID,
        "provider": "kling",
        "model_version": "v3",
        "status": "success",
        "param": {"model": "kling/v3", "callback_url": None, "input": {}},
        "create_at": 1760000000,
        "complete_at": 1760000120,
        "duration_s": 120,
        "result": {"media_urls": ["https://v/1.mp4"], "media_info": {}, "usage": {}},
        "source": "api",
        "credits": 100,
    }
    with speaking("crun", ok(data)) as rig:
        status = rig.poll()
    assert (status.state, status.word) == (TaskState.COMPLETED, "success")
    assert (status.cost, status.problem) == (credits_("100"), None)
    assert status.videos == ("https://v/1.mp4",)
    assert status.videos_expire_at is None


def finished_with_credits(written: str) -> str:
    task_text = f'{{"task_id": "{TASK_ID}", "status": "success", "credits": {written}}}'
    return f'{{"code": 200, "data": {task_text}}}'


def test_a_number_that_no_reader_takes_makes_the_reply_unreadable():
    with (
        speaking("crun", (200, finished_with_credits("9" * 5000))) as rig,
        pytest.raises(PollError, match="without a code"),
    ):
        rig.poll()


@pytest.mark.parametrize(
    ("written", "read"),
    [("1.5", "1.5"), ("0.1000001", "0.1"), ("135", "135"), ("1e2", "100"), ("0", "0")],
)
def test_credits_are_exactly_what_was_written(written: str, read: str):
    with speaking("crun", (200, finished_with_credits(written))) as rig:
        assert rig.poll().cost == credits_(read)


@pytest.mark.parametrize(
    "written",
    ["null", "true", '""', '"a lot"', "[]", "{}", "-1", "1e999999", "1e300", "1e-30"],
)
def test_credits_that_cannot_be_read_are_unknown_and_never_zero(written: str):
    with speaking("crun", (200, finished_with_credits(written))) as rig:
        status = rig.poll()
    assert status.state is TaskState.COMPLETED
    assert status.cost is None
    assert "data.credits" in str(status.problem)


def test_a_failed_task_tells_why_and_what_it_cost():
    data = task("crun", "failed", result={"code": 501, "message": "moderation"}, credits=0)
    with speaking("crun", (200, data)) as rig:
        status = rig.poll()
    assert (status.state, status.problem, status.cost) == (
        "failed",
        "501 moderation",
        credits_("0"),
    )


@pytest.mark.parametrize("result", [None, "x", [], {"message": 7}, {"message": ["x"]}])
def test_a_failed_task_without_a_reason_is_still_failed(result: object):
    with speaking("crun", (200, task("crun", "failed", result=result))) as rig:
        status = rig.poll()
    assert (status.state, status.problem) == ("failed", "no reason given")


@pytest.mark.parametrize("urls", [None, {}, "x", [1], [None], ["javascript:alert(1)"], [["x"]]])
def test_odd_links_do_no_harm(urls: object):
    data = task("crun", "success", credits=1, result={"media_urls": urls})
    with speaking("crun", (200, data)) as rig:
        assert rig.poll().videos == ()


@pytest.mark.parametrize("data", [None, [], "x", 7, {}])
def test_a_task_without_data_is_no_verdict(data: object):
    with speaking("crun", ok(data)) as rig:
        assert rig.poll().state is TaskState.UNKNOWN


def test_an_estimate_sends_the_body_without_its_callback():
    data = {"estimated_credits": 67.5, "balance": 1000, "affordable": True}
    with speaking("crun", ok(data)) as rig:
        body = {**BODIES["crun"], "callback_url": "https://example.com/done"}
        found = rig.provider.estimate("text_to_video", body)
    assert found == Estimate(credits_("67.5"), is_affordable=True)
    assert rig.server.seen[0].path == "/api/v1/client/job/EstimateTask"
    assert rig.server.seen[0].body == BODIES["crun"]


def test_the_balance_is_in_credits():
    with speaking("crun", ok({"balance": 1000.25})) as rig:
        assert rig.provider.balance() == Balance(credits_("1000.25"))
    assert rig.server.seen[0].path == "/api/v1/client/account/balance"


@pytest.mark.parametrize("data", [None, {}, {"balance": None}, {"balance": "x"}, [1]])
def test_a_balance_or_estimate_that_cannot_be_read_is_an_error(data: object):
    with speaking("crun", ok(data)) as rig:
        with pytest.raises(NoAnswerError, match="cannot be read"):
            rig.provider.balance()
        with pytest.raises(NoAnswerError, match="cannot be read"):
            rig.estimate()


@pytest.mark.parametrize(
    ("code", "is_final"), [(401, True), (422, True), (429, False), (455, False)]
)
def test_an_estimate_that_is_refused_says_whether_for_good(code: int, is_final: bool):
    with speaking("crun", (200, {"code": code, "message": "no"})) as rig:
        with pytest.raises(NoAnswerError) as error:
            rig.estimate()
        assert len(rig.server.seen) == (1 if is_final else 3)
    assert error.value.is_final is is_final


def test_an_empty_account_is_said_in_words():
    answer = (200, {"code": 402, "message": "credits insufficient"})
    with speaking("crun", answer) as rig, pytest.raises(JobRefusedError) as error:
        rig.submit()
    assert str(error.value) == "crun: 402 credits insufficient"
    assert error.value.hint == "top up the account at crun: this is its balance, not the wallet's"
