"""UniAll: one documented reply, and caution about everything else."""

from __future__ import annotations

from typing import Any

import pytest

from kling_ledger.errors import JobRefusedError, NoAnswerError
from kling_ledger.providers.base import TaskState
from tests.providers import KEY, TASK_ID, created, speaking, task

DONE: dict[str, Any] = {
    "id": TASK_ID,
    "task_id": TASK_ID,
    "object": "video.generation.job",
    "model": "kling-v3-pro-audio",
    "status": "completed",
    "progress": 100,
    "video_url": "https://example.com/output.mp4",
}


def test_a_job_is_created_where_uniall_documents_it():
    with speaking("uniall", (200, created("uniall"))) as rig:
        assert rig.submit().task_id == TASK_ID
    seen = rig.server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/v1/video/generations")
    assert seen.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("reply", [{"id": TASK_ID}, {"task_id": TASK_ID}, DONE])
def test_either_name_of_the_id_is_taken(reply: dict[str, Any]):
    with speaking("uniall", (200, reply)) as rig:
        assert rig.submit().task_id == TASK_ID


def test_the_documented_finished_task_is_read_whole():
    with speaking("uniall", (200, DONE)) as rig:
        status = rig.poll()
    assert rig.server.seen[0].path == f"/v1/videos/{TASK_ID}"
    assert (status.state, status.progress) == (TaskState.COMPLETED, 100)
    assert status.videos == ("https://example.com/output.mp4",)
    assert (status.cost, status.problem, status.videos_expire_at) == (None, None, None)


def test_a_failure_tells_its_reason_and_nobody_documents_that_it_is_free():
    failed = task("uniall", "failed", error={"message": "moderation"})
    with speaking("uniall", (200, failed)) as rig:
        status = rig.poll()
    assert (status.state, status.word) == (TaskState.FAILED, "failed")
    assert (status.problem, status.cost) == ("moderation", None)
    assert not rig.provider.facts.frees_failures


@pytest.mark.parametrize("url", [None, "", 7, [], {}, "x", [1]])
def test_odd_links_do_no_harm(url: object):
    with speaking("uniall", (200, {**DONE, "video_url": url})) as rig:
        status = rig.poll()
    assert (status.state, status.videos) == (TaskState.COMPLETED, ())


@pytest.mark.parametrize("body", [{"error": {"message": "no"}}, {"error": "no"}, {"message": "no"}])
def test_an_error_is_told_however_it_is_written(body: dict[str, Any]):
    with speaking("uniall", (422, body)) as rig, pytest.raises(JobRefusedError, match="422 no"):
        rig.submit()


@pytest.mark.parametrize("body", ["", "<html>no</html>", [], None, {"error": []}, {"error": 7}])
def test_an_error_without_words_is_judged_by_its_status(body: object):
    with (
        speaking("uniall", (422, body)) as rig,
        pytest.raises(JobRefusedError, match="422 without a message"),
    ):
        rig.submit()


def test_neither_balance_nor_estimate_is_documented_and_nothing_is_sent_for_one():
    with speaking("uniall", (200, {})) as rig:
        for ask in (rig.provider.balance, rig.estimate):
            with pytest.raises(NoAnswerError, match="it has no documented") as error:
                ask()
            assert error.value.is_final
        assert rig.server.seen == []
