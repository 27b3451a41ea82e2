"""EvoLink: one address for every model, tasks without a settled cost, links that last a day.

A submission cannot be repeated safely, so it is sent once. EvoLink writes what it reserved in
ten-thousandths of a credit for models that are billed per second; other pages show another scale,
so there it is not read. A completed task cost what was reserved, if its answer says so.

Source: https://docs.evolink.ai/en/api-manual/video-series/kling/ (one page per model),
.../task-management/get-task-detail, .../account-management/get-credits.md and .../error-codes,
checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from kling_ledger.providers.base import Balance, TaskState, TaskStatus
from kling_ledger.providers.evolink.facts import FACTS as EVOLINK
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
    instant_of,
    links_in,
    percentage,
    task_or_data,
    task_status,
    text_at,
    verdict_of_status,
)
from kling_pricing.errors import AmountError
from kling_pricing.money import Money

STATES: Final[Mapping[str, TaskState]] = {
    "pending": TaskState.RUNNING,
    "processing": TaskState.RUNNING,
    "completed": TaskState.COMPLETED,
    "failed": TaskState.FAILED,
    "cancelled": TaskState.FAILED,
}
"""Each documented state, and its TaskState; `cancelled` is documented for callbacks."""

VERDICTS: Final[Mapping[int, Verdict]] = {
    **HTTP_VERDICTS,
    500: Verdict.UNKNOWN,
    502: Verdict.UNKNOWN,
    503: Verdict.UNKNOWN,
}
"""The verdict of each HTTP status, and of three documented ones after which there may be a task."""

TYPES: Final[Mapping[str, Verdict]] = {
    "invalid_request_error": Verdict.REFUSED,
    "authentication_error": Verdict.REFUSED,
    "insufficient_quota_error": Verdict.REFUSED,
    "permission_error": Verdict.REFUSED,
    "not_found_error": Verdict.REFUSED,
    "request_too_large_error": Verdict.REFUSED,
    "rate_limit_error": Verdict.LATER,
    "internal_server_error": Verdict.UNKNOWN,
    "upstream_error": Verdict.UNKNOWN,
    "service_unavailable_error": Verdict.UNKNOWN,
}
"""Each documented type of error. If it is more doubtful than the HTTP status, the doubt counts."""

_PARTS_OF_A_CREDIT: Final = 10_000


def _verdict(answer: Answer) -> Verdict:
    by_status = verdict_of_status(answer, VERDICTS)
    by_type = TYPES.get(text_at(answer.body, "error", "type") or "", by_status)
    return by_status if by_status is Verdict.TAKEN else max(by_status, by_type)


def _told(answer: Answer) -> str:
    type_, message = (text_at(answer.body, "error", name) for name in ("type", "message"))
    said = ": ".join(part for part in (type_, message) if part)
    return f"{answer.status} {said or 'without a message'}"


def _held(task: Json) -> Money | None:
    """Return what EvoLink reserved, if its scale is documented."""
    usage = task.get("usage")
    if inner(usage, "billing_rule") != "per_second":
        return None
    try:
        reserved = inner(usage, "credits_reserved")
        return amount_of(reserved, EVOLINK.unit, per_unit=_PARTS_OF_A_CREDIT)
    except AmountError:
        return None


def _status(task: Json, now: datetime) -> TaskStatus:
    status = task_status(
        task.get("status"),
        STATES,
        cost=_held(task),
        failure=error_in(task.get("error")),
        videos=_videos(task),
        videos_expire_at=_links_end_at(task, now),
        progress=percentage(task.get("progress")),
    )
    # What was reserved for a failed task is returned, so it is not the cost.
    return replace(status, cost=None) if status.state is TaskState.FAILED else status


def _videos(task: Json) -> tuple[str, ...]:
    listed = task.get("result_data")
    entries = listed if isinstance(listed, list) else [listed]
    return links_in(task.get("results")) or links_in(
        [inner(entry, "video_url") for entry in entries]
    )


def _links_end_at(task: Json, now: datetime) -> datetime:
    """Return when the links expire at the earliest: they cannot be older than their task."""
    made_at = instant_of(task.get("created")) or now
    return min(made_at, now) + timedelta(seconds=EVOLINK.links_live_s or 0)


def _balance(body: Json) -> Balance:
    """Read what can be spent: the account's balance, limited to what the key may spend."""
    held = amount_of(inner(body, "data", "user", "remaining_credits"), EVOLINK.unit)
    token = inner(body, "data", "token")
    if inner(token, "unlimited_credits") is not True:
        held = min(held, amount_of(inner(token, "remaining_credits"), EVOLINK.unit))
    return Balance(held, spent=amount_of(inner(body, "data", "user", "used_credits"), EVOLINK.unit))


DIALECT: Final = Dialect(
    facts=EVOLINK,
    submit_path="/v1/videos/generations",
    task_path="/v1/tasks/{task_id}",
    verdict=_verdict,
    told=_told,
    code=lambda answer: answer.status,
    task_in=lambda answer: task_or_data(answer.body or {}, "id", "task_id"),
    task_id=lambda task: first_id(task, "id", "task_id"),
    status=_status,
    held=_held,
    balance_path="/v1/credits",
    balance=_balance,
)

connect: Final = DIALECT.connect
read_callback: Final = DIALECT.read_callback
