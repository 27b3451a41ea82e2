"""RunAPI's words: its actions, its states, what its errors mean, and how a task is read.

Source: the packages runapi-core 0.10.1 and runapi-kling 0.5.1, and
https://runapi.ai/zh-CN/openclaw-kling.md, checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from runapi.core import Error, ValidationError

from kling_ledger.providers.base import Callback, TaskState, TaskStatus
from kling_ledger.providers.http import is_never_sent
from kling_ledger.providers.replies import (
    HTTP_VERDICTS,
    Json,
    Verdict,
    inner,
    links_in,
    read_posted,
    settled_cost,
    task_status,
    text_at,
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
"""The actions that RunAPI's client has, each at an address of its own."""

STATES: Final[Mapping[str, TaskState]] = {
    "pending": TaskState.RUNNING,
    "processing": TaskState.RUNNING,
    "completed": TaskState.COMPLETED,
    "failed": TaskState.FAILED,
}
"""Each documented state, and what it is to us."""

VERDICTS: Final[Mapping[int, Verdict]] = {
    **HTTP_VERDICTS,
    409: Verdict.UNKNOWN,
    500: Verdict.UNKNOWN,
    502: Verdict.UNKNOWN,
    503: Verdict.UNKNOWN,
    504: Verdict.UNKNOWN,
}
"""What HTTP says of a status, and those after which there may be a task: 409 says that something
was taken under the same key.
"""

_WORTH_REPEATING: Final = frozenset({429, 500, 502, 503, 504})


def read_callback(payload: bytes, *, now: datetime) -> Callback:
    """Read what RunAPI posts: the task, as it is asked for too. CallbackError for anything else."""
    return read_posted(
        RUNAPI.name,
        payload,
        task_id=lambda task: task.get("id") or task.get("task_id"),
        status=lambda task: read_task(task, now=now),
    )


def read_task(task: Json, *, now: datetime) -> TaskStatus:
    """Read a task; its links are promised for a week, counted from when it is first seen ended."""
    cost, unread = settled_cost(inner(task, "usage", "cost"), RUNAPI.unit, name="usage.cost")
    videos = task.get("videos")
    found = [inner(video, "url") for video in videos] if isinstance(videos, list) else []
    return task_status(
        task.get("status"),
        STATES,
        cost=cost,
        unread=unread,
        failure=text_at(task, "error") or text_at(task, "error", "message"),
        videos=links_in(found),
        videos_expire_at=now + timedelta(seconds=RUNAPI.links_live_s or 0),
    )


def has_arrived_perhaps(error: Error) -> bool:
    """Whether the request may have reached RunAPI: anything but a connection never made."""
    if error.status is not None:
        return VERDICTS.get(error.status, Verdict.UNKNOWN) is Verdict.UNKNOWN
    return not is_never_sent(error.__context__)


def is_worth_repeating(error: Error) -> bool:
    """Whether the same call may end otherwise: not where the client itself found fault."""
    if isinstance(error, ValidationError):
        return False
    return error.status is None or error.status in _WORTH_REPEATING
