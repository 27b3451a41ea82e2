"""EvoLink's dialect: generations, tasks and credits, without the cost of a task.

POST /v1/videos/generations create GET /v1/tasks/{id} poll GET /v1/credits balance

A create returns what it reserves, in ten-thousandths of a credit. Only the balance shows what was
charged. EvoLink takes no idempotency key: a repeated create makes a second task.

Source: https://evolink.ai/zh/kling-3 and https://docs.evolink.ai/en/api-manual (task management,
account management, error codes), checked 2026-11-20. What they leave open is decided here: a create
answers 200, and credits are used when a task completes.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kling_ledger.sandbox.bodies import posted
from kling_ledger.sandbox.desk import Desk, Handler, Seen, bearer, files_url, number
from kling_ledger.sandbox.jobs import JobState, progress
from kling_ledger.sandbox.replies import ApiError, json_reply
from kling_pricing.money import round_to

if TYPE_CHECKING:
    from kling_ledger.sandbox.settings import SandboxSettings

_PER_CREDIT: Final = 10_000
_DECIMALS: Final = 4
_LETTERS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large_error",
    429: "rate_limit_error",
    500: "internal_server_error",
    502: "upstream_error",
    503: "service_unavailable_error",
}
_STATUSES: Final = {409: 400, 422: 400}
"""The EvoLink statuses for those that EvoLink does not use."""

_FAIL_CODES: Final = {
    None: "generation_failed_no_content",
    "moderation": "content_policy_violation",
}


def new_task_id(_: SandboxSettings, at: datetime) -> str:
    """Return a task id in EvoLink's form: with the second of its creation."""
    tail = "".join(secrets.choice(_LETTERS) for _ in range(12))
    return f"task-unified-{int(at.timestamp())}-{tail}"


@dataclass(frozen=True, slots=True)
class EvoLink:
    """One EvoLink account."""

    desk: Desk

    def routes(self) -> list[Route]:
        """Return the addresses that EvoLink serves."""
        return [
            Route("/v1/videos/generations", self._keyed(self._create), methods=["POST"]),
            Route("/v1/tasks/{id}", self._keyed(self._read), methods=["GET"]),
            Route("/v1/credits", self._keyed(self._credits), methods=["GET"]),
        ]

    def callback_body(self, seen: Seen, base_url: str) -> dict[str, Any]:
        """Return what is posted to a job's callback address: what a poll would say."""
        return _task(seen, base_url)

    def write_error(self, error: ApiError) -> Response:
        """Return an error in EvoLink's form."""
        status = _STATUSES.get(error.status, error.status)
        usual = "internal_server_error" if status >= 500 else "invalid_request_error"
        content = {
            "code": error.code,
            "message": str(error),
            "type": _TYPES.get(status, usual),
            "param": None,
            "fallback_suggestion": None,
        }
        headers = error.headers(self.desk.settings.retry_after_s)
        return json_reply({"error": content}, status=status, headers=headers)

    def _keyed(self, handler: Handler) -> Handler:
        return self.desk.answering(self.desk.keyed(handler, bearer), self.write_error)

    async def _create(self, request: Request) -> Response:
        return await self.desk.create(self.desk.receive(await posted(request)), _created)

    async def _read(self, request: Request) -> Response:
        def write(seen: Seen) -> Response:
            return json_reply(_task(seen, str(request.base_url)))

        return await self.desk.poll(request.path_params["id"], write)

    async def _credits(self, request: Request) -> Response:  # noqa: ARG002 - handlers look alike
        account = self.desk.store.account()
        left, used = number(account.balance, _DECIMALS), number(account.spent, _DECIMALS)
        user = {"remaining_credits": left, "used_credits": used}
        token = {**user, "unlimited_credits": False}
        return json_reply({"data": {"token": token, "user": user}, "message": "", "success": True})


def _created(seen: Seen, is_reused: bool) -> Response:  # noqa: ARG001, FBT001 - never reused
    order = seen.job.order
    usage = {
        "billing_rule": "per_call" if order.seconds is None else "per_second",
        "credits_reserved": int(round_to(order.reserved.amount * _PER_CREDIT, Decimal(1))),
        "user_group": "default",
    }
    info = {
        "can_cancel": True,
        "estimated_time": 300,
        "video_duration": order.seconds,
    }
    return json_reply({**_task(seen, ""), "task_info": info, "usage": usage})


def _task(seen: Seen, base_url: str) -> dict[str, Any]:
    job, order = seen.job, seen.job.order
    state = None if seen.word else seen.state
    task: dict[str, Any] = {
        "created": int(job.created_at.timestamp()),
        "id": job.id,
        "model": order.body["model"],
        "object": "video.generation.task",
        "progress": progress(state),
        "status": seen.word or seen.state,
        "task_info": {"can_cancel": False},
        "type": "video",
    }
    if state is JobState.COMPLETED:
        task["results"] = [files_url(base_url, job)]
    if state is JobState.FAILED:
        word = order.markers.fail_word
        message = "the clip could not be made, as a marker asks"
        task["error"] = {"code": _FAIL_CODES.get(word, word), "message": message}
    return task
