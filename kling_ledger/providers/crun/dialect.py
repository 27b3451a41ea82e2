"""Crun: every answer is `{"code", "message", "data"}`, and `code` is the result.

An answer without a `code` is not Crun's: its HTTP status decides.

CreateTask is sent once: Crun has no Idempotency-Key and warns that a repeated CreateTask may be
charged twice. Crun posts the same `data` of a task to a `callback_url`.

Source: https://docs.crun.ai/models/kling/v3-0, https://docs.crun.ai/models/common/get-task-info and
https://github.com/CrunTeam/crun-agent-skills runtime/crun_cli.py, checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from kling_ledger.providers.base import Balance, Estimate, TaskState, TaskStatus
from kling_ledger.providers.crun.facts import FACTS as CRUN
from kling_ledger.providers.http_provider import Dialect
from kling_ledger.providers.replies import (
    HTTP_VERDICTS,
    Answer,
    Json,
    Verdict,
    amount_of,
    error_in,
    first_id,
    inner,
    links_in,
    only_object,
    settled_cost,
    task_status,
    text_at,
    verdict_of_status,
    whole_number,
)

STATES: Final[Mapping[str, TaskState]] = {
    "pending": TaskState.RUNNING,
    "running": TaskState.RUNNING,
    "success": TaskState.COMPLETED,
    "failed": TaskState.FAILED,
}
"""Each documented state, and its TaskState."""

VERDICTS: Final[Mapping[int, Verdict]] = {
    200: Verdict.TAKEN,
    401: Verdict.REFUSED,
    402: Verdict.REFUSED,
    404: Verdict.REFUSED,
    422: Verdict.REFUSED,
    429: Verdict.LATER,
    455: Verdict.LATER,
    500: Verdict.UNKNOWN,
    501: Verdict.UNKNOWN,
    505: Verdict.REFUSED,
}
"""Each documented code: 455 is maintenance, 501 a generation that failed, 505 a disabled feature.

After 500 and 501 there may be a task, and what it would cost is undocumented.
"""

_DOUBTFUL: Final = frozenset({408, 409, 425, 499})
"""HTTP numbers that Crun does not document as codes, after which something may have been taken."""


def _code(answer: Answer) -> int:
    """Return Crun's own code, or else the HTTP status."""
    return _own_code(answer) or answer.status


def _own_code(answer: Answer) -> int | None:
    return whole_number(inner(answer.body, "code"))


def _verdict(answer: Answer) -> Verdict:
    code = _own_code(answer)
    if code is None:
        by_status = verdict_of_status(answer, HTTP_VERDICTS)
        return Verdict.UNKNOWN if by_status is Verdict.TAKEN else by_status
    is_refusal = 400 <= code < 500 and code not in _DOUBTFUL
    return VERDICTS.get(code, Verdict.REFUSED if is_refusal else Verdict.UNKNOWN)


def _told(answer: Answer) -> str:
    code = _own_code(answer)
    if code is None:
        return f"HTTP {answer.status} without a code of Crun's"
    return f"{code} {text_at(answer.body, 'message') or 'without a message'}"


def _task_in(answer: Answer) -> Json:
    """Return `data`, or else a top-level `task_id`; a top-level `id` may belong to anything."""
    body = answer.body or {}
    data = only_object(body.get("data"))
    return data or {name: id_ for name, id_ in body.items() if name == "task_id"}


def _status(task: Json, now: datetime) -> TaskStatus:  # noqa: ARG001 - Crun promises no link's life
    cost, unread = settled_cost(task.get("credits"), CRUN.unit, name="data.credits")
    return task_status(
        task.get("status"),
        STATES,
        cost=cost,
        unread=unread,
        names_cost=task.get("credits") is not None,
        failure=_failure(task),
        videos=links_in(inner(task, "result", "media_urls")),
    )


def _failure(task: Json) -> str | None:
    """Return the error in a task's result; None if the result reports none."""
    if error_in(task.get("result")) is None:
        return None
    code, message = inner(task, "result", "code"), text_at(task, "result", "message")
    written = [str(part) for part in (code, message) if isinstance(part, (int, str))]
    return " ".join(written) or None


def _balance(body: Json) -> Balance:
    return Balance(amount_of(inner(body, "data", "balance"), CRUN.unit))


def _estimate(body: Json) -> Estimate:
    affordable = inner(body, "data", "affordable")
    return Estimate(
        amount_of(inner(body, "data", "estimated_credits"), CRUN.unit),
        is_affordable=affordable if isinstance(affordable, bool) else None,
    )


DIALECT: Final = Dialect(
    facts=CRUN,
    key_header="x-api-key",
    key_scheme="",
    submit_path="/api/v1/client/job/CreateTask",
    task_path="/api/v1/client/job/TaskInfo?task_id={task_id}",
    verdict=_verdict,
    told=_told,
    code=_code,
    task_in=_task_in,
    task_id=lambda task: first_id(task, "task_id", "id"),
    status=_status,
    balance_path="/api/v1/client/account/balance",
    balance=_balance,
    estimate_path="/api/v1/client/job/EstimateTask",
    estimate=_estimate,
)

connect: Final = DIALECT.connect
read_callback: Final = DIALECT.read_callback
