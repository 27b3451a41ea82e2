"""RunAPI's words: its actions, its states, what its errors mean, and how a task is read.

Source: the packages runapi-core 0.10.1 and runapi-kling 0.5.1, and
https://runapi.ai/zh-CN/openclaw-kling.md, checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from runapi.core import Error, ValidationError
from runapi.core.response import ApiResponse

from kling_ledger.providers.base import Callback, TaskState, TaskStatus
from kling_ledger.providers.http import is_never_sent
from kling_ledger.providers.replies import (
    HTTP_VERDICTS,
    Answer,
    Json,
    Verdict,
    error_in,
    first_id,
    inner,
    is_of_a_request,
    links_in,
    only_object,
    read_posted,
    read_task_id,
    settled_cost,
    task_or_data,
    task_status,
)
from kling_ledger.providers.runapi.facts import FACTS as RUNAPI

ACTIONS: Final = (
    "text_to_video",
    "image_to_video",
    "motion_control",
    "extend_video",
    "edit_video",
    "ai_avatar",
)
"""The actions of RunAPI's client, each with its own address."""

ID_NAMES: Final = ("id", "task_id")
"""The names of a task's id: the client's and the published page's."""

STATES: Final[Mapping[str, TaskState]] = {
    "pending": TaskState.RUNNING,
    "processing": TaskState.RUNNING,
    "completed": TaskState.COMPLETED,
    "failed": TaskState.FAILED,
}
"""Each documented state, and its TaskState."""

VERDICTS: Final[Mapping[int, Verdict]] = {
    **HTTP_VERDICTS,
    409: Verdict.UNKNOWN,
    500: Verdict.UNKNOWN,
    502: Verdict.UNKNOWN,
    503: Verdict.UNKNOWN,
    504: Verdict.UNKNOWN,
}
"""The verdict of each HTTP status, and of those after which there may be a task: 409 means that
something was taken under the same key."""

TASK_HEADER: Final = "X-RunAPI-Task-Id"
"""The header in which RunAPI names the task of an answer."""
_WORTH_REPEATING: Final = frozenset({429, 500, 502, 503, 504})


def read_callback(payload: bytes, *, now: datetime) -> Callback:
    """Read what RunAPI posts: the task, as in a poll. CallbackError for anything else."""
    return read_posted(
        RUNAPI.name,
        payload,
        task_id=lambda task: first_id(task, *ID_NAMES),
        status=lambda task: read_task(task, now=now),
    )


def read_task(task: Json, *, now: datetime) -> TaskStatus:
    """Read a task; its links are promised for a week from when it is first seen finished."""
    cost, unread = settled_cost(inner(task, "usage", "cost"), RUNAPI.unit, name="usage.cost")
    videos = task.get("videos")
    found = [inner(video, "url") for video in videos] if isinstance(videos, list) else []
    return task_status(
        task.get("status"),
        STATES,
        cost=cost,
        unread=unread,
        names_cost=inner(task, "usage", "cost") is not None,
        failure=error_in(task.get("error")),
        videos=links_in(found),
        videos_expire_at=now + timedelta(seconds=RUNAPI.links_live_s or 0),
    )


def plain(reply: Any) -> Any:
    """Return a reply with its task's id in `id`, as text, and its state in lower case."""
    body, headers = getattr(reply, "body", reply), getattr(reply, "response_headers", {})
    task = task_or_data(only_object(body), *ID_NAMES)
    id_ = first_id(task, *ID_NAMES) or read_task_id(headers.get(TASK_HEADER))
    if id_ is None or not isinstance(body, (dict, list)):
        return reply
    word = task.get("status")
    state = {"status": word.strip().lower()} if isinstance(word, str) else {}
    return ApiResponse({**task, "id": id_, **state}, headers)


def answer_of(error: Error) -> Answer:
    """Return the answer behind a client's error; its status is 0 if there was none."""
    body = error.details if isinstance(error.details, dict) else None
    return Answer(error.status or 0, error.response_headers, body)


def task_named_by(error: Exception) -> str | None:
    """Return the task that a reply names despite an error status: a task was made."""
    if not isinstance(error, Error):
        return None
    answer = answer_of(error)
    task = task_or_data(answer.body or {}, *ID_NAMES)
    by_header = read_task_id(answer.headers.get(TASK_HEADER))
    return by_header or (None if is_of_a_request(task, answer) else first_id(task, *ID_NAMES))


def has_arrived_perhaps(error: Error) -> bool:
    """Whether the request may have reached RunAPI: anything but a connection never made."""
    if error.status is not None:
        return VERDICTS.get(error.status, Verdict.UNKNOWN) is Verdict.UNKNOWN
    return not is_never_sent(error.__context__)


def is_worth_repeating(error: Error) -> bool:
    """Whether the same call may end differently: not if the client itself rejected it."""
    if isinstance(error, ValidationError):
        return False
    return error.status is None or error.status in _WORTH_REPEATING
