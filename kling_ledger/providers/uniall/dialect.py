"""UniAll: a generation is submitted and polled; almost everything else is undocumented.

The only documented state is `completed`. The words for running and failed tasks are assumed to be
those of the other gateways. Whether a failure is charged is undocumented, so a failure alone
returns no credits. Costs, balance, callbacks and errors are undocumented too, so an error's HTTP
status decides.

Source: https://docs.uniall.ai/models/video/kling, checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from kling_ledger.providers.base import TaskState, TaskStatus
from kling_ledger.providers.http_provider import Dialect
from kling_ledger.providers.replies import (
    HTTP_VERDICTS,
    Answer,
    Json,
    error_in,
    first_id,
    links_in,
    percentage,
    task_or_data,
    task_status,
    text_at,
    verdict_of_status,
)
from kling_ledger.providers.uniall.facts import FACTS as UNIALL

STATES: Final[Mapping[str, TaskState]] = {
    "queued": TaskState.RUNNING,
    "pending": TaskState.RUNNING,
    "submitted": TaskState.RUNNING,
    "running": TaskState.RUNNING,
    "processing": TaskState.RUNNING,
    "in_progress": TaskState.RUNNING,
    "completed": TaskState.COMPLETED,
    **dict.fromkeys(
        ("failed", "failure", "error", "cancelled", "canceled", "expired", "timeout"),
        TaskState.FAILED,
    ),
}
"""The one documented state, and the assumed words for waiting and failing."""


def _told(answer: Answer) -> str:
    message = text_at(answer.body, "error", "message") or text_at(answer.body, "error")
    return f"{answer.status} {message or text_at(answer.body, 'message') or 'without a message'}"


def _status(task: Json, now: datetime) -> TaskStatus:  # noqa: ARG001 - no link's life is documented
    return task_status(
        task.get("status"),
        STATES,
        failure=error_in(task.get("error")),
        videos=links_in(task.get("video_url")),
        progress=percentage(task.get("progress")),
    )


DIALECT: Final = Dialect(
    facts=UNIALL,
    submit_path="/v1/video/generations",
    task_path="/v1/videos/{task_id}",
    verdict=lambda answer: verdict_of_status(answer, HTTP_VERDICTS),
    told=_told,
    code=lambda answer: answer.status,
    task_in=lambda answer: task_or_data(answer.body or {}, "task_id", "id"),
    task_id=lambda task: first_id(task, "task_id", "id"),
    status=_status,
)

connect: Final = DIALECT.connect
read_callback: Final = DIALECT.read_callback
"""Reads a posted task like a polled one: callbacks are undocumented."""
