"""EvoLink: ten-thousandths of a credit, links that live a day, no settled cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from kling_ledger.errors import JobRefusedError, NoAnswerError
from kling_ledger.providers.base import Balance, TaskState
from kling_pricing import Money
from tests.providers import KEY, NOW, TASK_ID, created, speaking, task

CREATED: dict[str, Any] = {
    "created": 1757169743,
    "id": TASK_ID,
    "model": "kling-v3-text-to-video",
    "object": "video.generation.task",
    "progress": 0,
    "status": "pending",
    "task_info": {"can_cancel": True, "estimated_time": 300, "video_duration": 5},
    "type": "video",
    "usage": {"billing_rule": "per_second", "credits_reserved": 270000, "user_group": "default"},
}
CREDITS: dict[str, Any] = {
    "data": {
        "token": {
            "remaining_credits": 99416.4429,
            "unlimited_credits": False,
            "used_credits": 583.5571,
        },
        "user": {"remaining_credits": 1095.3996, "used_credits": 135.9048},
    },
    "message": "",
    "success": True,
}


def credits_(amount: str) -> Money:
    return Money(Decimal(amount), "evolink-credit")


def test_a_job_is_created_where_evolink_documents_it():
    with speaking("evolink", (200, CREATED)) as rig:
        submission = rig.submit()
    seen = rig.server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/v1/videos/generations")
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert submission.task_id == TASK_ID


def test_what_evolink_reserves_is_written_in_ten_thousandths_of_a_credit():
    with speaking("evolink", (200, CREATED)) as rig:
        assert rig.submit().held == credits_("27")


@pytest.mark.parametrize(
    "usage",
    [
        {"billing_rule": "per_call", "credits_reserved": 7},
        {"credits_reserved": 270000},
        {"billing_rule": "per_second"},
        {"billing_rule": "per_second", "credits_reserved": None},
        {"billing_rule": "per_second", "credits_reserved": "many"},
        {"billing_rule": "per_second", "credits_reserved": -1},
        None,
        "x",
    ],
)
def test_a_reserve_on_another_scale_is_not_read(usage: object):
    with speaking("evolink", (200, {**CREATED, "usage": usage})) as rig:
        assert rig.submit().held is None


def test_a_task_is_asked_for_by_its_id():
    with speaking("evolink", (200, task("evolink", "processing", progress=40))) as rig:
        status = rig.poll()
    assert rig.server.seen[0].path == f"/v1/tasks/{TASK_ID}"
    assert (status.state, status.word, status.progress) == ("running", "processing", 40)


@pytest.mark.parametrize("progress", [None, "40", -1, 101, True, [], 1e300])
def test_a_progress_that_is_none_is_none(progress: object):
    with speaking("evolink", (200, task("evolink", "processing", progress=progress))) as rig:
        assert rig.poll().progress is None


def test_a_finished_task_names_no_cost_and_that_is_no_problem():
    done = {**CREATED, "status": "completed", "progress": 100, "results": ["https://v/1.mp4"]}
    del done["usage"]
    with speaking("evolink", (200, done)) as rig:
        status = rig.poll()
    assert (status.state, status.cost, status.problem) == (TaskState.COMPLETED, None, None)
    assert status.videos == ("https://v/1.mp4",)
    assert status.progress == 100


@pytest.mark.parametrize(
    ("made", "expires"),
    [
        (1757169743, datetime.fromtimestamp(1757169743, UTC) + timedelta(hours=24)),
        (None, NOW + timedelta(hours=24)),
        ("soon", NOW + timedelta(hours=24)),
        (10**18, NOW + timedelta(hours=24)),
        (4102444800, NOW + timedelta(hours=24)),
    ],
)
def test_links_live_a_day_from_when_the_task_was_made(made: object, expires: datetime):
    done = task("evolink", "completed", created=made, results=["https://v/1.mp4"])
    with speaking("evolink", (200, done)) as rig:
        assert rig.poll().videos_expire_at == expires


def test_links_may_stand_in_result_data():
    done = task("evolink", "completed", result_data=[{"video_url": "https://v/1.mp4"}])
    with speaking("evolink", (200, done)) as rig:
        assert rig.poll().videos == ("https://v/1.mp4",)


@pytest.mark.parametrize("odd", [None, {}, "x", [1], [{"url": 1}], [{}], 7, ["data:,x"]])
def test_odd_links_do_no_harm(odd: object):
    done = task("evolink", "completed", results=odd, result_data=odd)
    with speaking("evolink", (200, done)) as rig:
        status = rig.poll()
    assert (status.videos, status.videos_expire_at) == ((), None)


@pytest.mark.parametrize(
    "code",
    ["content_policy_violation", "request_cancelled", "generation_timeout", "unknown_error", "new"],
)
def test_a_failed_task_tells_why(code: str):
    failed = task("evolink", "failed", error={"code": code, "message": "no"})
    with speaking("evolink", (200, failed)) as rig:
        status = rig.poll()
    assert (status.state, status.problem) == (TaskState.FAILED, f"{code}: no")


def test_the_balance_is_what_the_account_holds():
    with speaking("evolink", (200, CREDITS)) as rig:
        assert rig.provider.balance() == Balance(credits_("1095.3996"), credits_("135.9048"))
    assert rig.server.seen[0].path == "/v1/credits"


@pytest.mark.parametrize(("is_unlimited", "available"), [(False, "10.5"), (True, "1095.3996")])
def test_a_key_may_spend_less_than_the_account_holds(is_unlimited: bool, available: str):
    token = {"remaining_credits": 10.5, "unlimited_credits": is_unlimited}
    body = {**CREDITS, "data": {**CREDITS["data"], "token": token}}
    with speaking("evolink", (200, body)) as rig:
        assert rig.provider.balance().available == credits_(available)


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {"user": {}}}, {"success": False}])
def test_a_balance_that_cannot_be_read_is_an_error(body: object):
    with speaking("evolink", (200, body)) as rig, pytest.raises(NoAnswerError):
        rig.provider.balance()


def test_there_is_no_estimate_and_nothing_is_sent_for_one():
    with speaking("evolink", (200, {})) as rig:
        with pytest.raises(NoAnswerError, match="has no documented estimate API") as error:
            rig.estimate()
        assert rig.server.seen == []
    assert error.value.is_final


@pytest.mark.parametrize("code", [402, "insufficient_quota"])
def test_an_error_may_have_a_code_of_either_kind(code: object):
    error = {"code": code, "message": "top up", "type": "insufficient_quota_error", "param": None}
    with (
        speaking("evolink", (402, {"error": error})) as rig,
        pytest.raises(JobRefusedError, match="402 insufficient_quota_error: top up"),
    ):
        rig.submit()


@pytest.mark.parametrize("error", [None, "no", [], {"type": 7, "message": []}])
def test_an_odd_error_is_judged_by_its_status(error: object):
    with speaking("evolink", (400, {"error": error})) as rig, pytest.raises(JobRefusedError):
        rig.submit()


def test_a_create_reply_without_usage_is_taken():
    with speaking("evolink", (200, created("evolink"))) as rig:
        submission = rig.submit()
    assert (submission.task_id, submission.held) == (TASK_ID, None)
