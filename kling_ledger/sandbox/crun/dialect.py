"""Crun's dialect: everything is an envelope `{"code", "message", "data"}`, mostly over HTTP 200.

    POST /api/v1/client/job/CreateTask      create     GET /api/v1/client/job/TaskInfo   poll
    POST /api/v1/client/job/EstimateTask    estimate   GET /api/v1/client/account/balance

Only a proxy's errors, 502 to 504, come with that HTTP status, and as an HTML page. Crun takes no
idempotency key: a repeated create makes a second task, and is charged.

Source: https://docs.crun.ai/zh/models/kling/v3-0, https://docs.crun.ai/models/common/get-task-info
and https://github.com/CrunTeam/crun-agent-skills, checked 2026-11-20. What they leave open is
decided here: errors come with HTTP 200, and refused content is code 422.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from kling_ledger.sandbox.bodies import posted
from kling_ledger.sandbox.desk import Desk, Handler, Seen, files_url, number
from kling_ledger.sandbox.jobs import JobState
from kling_ledger.sandbox.replies import ApiError, json_reply
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.sandbox.settings import SandboxSettings

_STATES: Final = {
    JobState.PENDING: "pending",
    JobState.PROCESSING: "running",
    JobState.COMPLETED: "success",
    JobState.FAILED: "failed",
}
_CODES: Final = {400: 422, 405: 404, 409: 422}
"""The Crun codes for statuses that Crun has no code of its own for."""

_BY_A_PROXY: Final = frozenset({502, 503, 504})


def new_task_id(_: SandboxSettings, __: datetime) -> str:
    """Return a task id in Crun's form."""
    return str(uuid4())


@dataclass(frozen=True, slots=True)
class Crun:
    """One Crun account."""

    desk: Desk

    def routes(self) -> list[Route]:
        """Return the addresses that Crun serves."""
        job = "/api/v1/client/job"
        return [
            Route(f"{job}/CreateTask", self._keyed(self._create), methods=["POST"]),
            Route(f"{job}/TaskInfo", self._keyed(self._read), methods=["GET"]),
            Route(f"{job}/EstimateTask", self._keyed(self._estimate), methods=["POST"]),
            Route("/api/v1/client/account/balance", self._keyed(self._balance), methods=["GET"]),
        ]

    def callback_body(self, seen: Seen, base_url: str) -> dict[str, Any]:
        """Return what is posted to a job's callback address: the `data` of TaskInfo."""
        return self._data(seen, base_url)

    def write_error(self, error: ApiError) -> Response:
        """Return an error in Crun's form."""
        headers = error.headers(self.desk.settings.retry_after_s)
        if error.status in _BY_A_PROXY:
            page = f"<html><body><h1>{error.status}</h1></body></html>"
            return HTMLResponse(page, error.status, headers=headers)
        code = _CODES.get(error.status, error.status)
        return json_reply({"code": code, "message": str(error), "data": None}, headers=headers)

    def _keyed(self, handler: Handler) -> Handler:
        def key_of(request: Request) -> str:
            return request.headers.get("x-api-key", "")

        return self.desk.answering(self.desk.keyed(handler, key_of), self.write_error)

    async def _create(self, request: Request) -> Response:
        received = self.desk.receive(await posted(request))

        def write(seen: Seen, is_reused: bool) -> Response:  # noqa: ARG001, FBT001 - never reused
            return _success({"task_id": seen.job.id})

        return await self.desk.create(received, write)

    async def _read(self, request: Request) -> Response:
        def write(seen: Seen) -> Response:
            return _success(self._data(seen, str(request.base_url)))

        return await self.desk.poll(request.query_params.get("task_id", ""), write)

    async def _estimate(self, request: Request) -> Response:
        received = self.desk.receive(await posted(request))

        def write(amount: Money) -> Response:
            available = self.desk.store.account().available
            return _success(
                {
                    "estimated_credits": number(amount),
                    "balance": number(available),
                    "affordable": amount <= available,
                }
            )

        return await self.desk.estimate(received, write)

    async def _balance(self, request: Request) -> Response:  # noqa: ARG002 - handlers look alike
        return _success({"balance": number(self.desk.store.account().balance)})

    def _data(self, seen: Seen, base_url: str) -> dict[str, Any]:
        job, order = seen.job, seen.job.order
        has_ended = seen.word is None and seen.state in {JobState.COMPLETED, JobState.FAILED}
        ended_at = job.ended_at(seen.state) if has_ended else None
        return {
            "task_id": job.id,
            "provider": "kling",
            "model_version": order.body["model"],
            "status": seen.word or _STATES[seen.state],
            "param": {"callback_url": None, **order.body},
            "create_at": int(job.created_at.timestamp()),
            "complete_at": int(ended_at.timestamp()) if ended_at else None,
            "duration_s": round((ended_at - job.created_at).total_seconds()) if ended_at else None,
            "result": self._result(seen, base_url) if has_ended else None,
            "source": "api",
            "credits": self._credits(seen) if has_ended else None,
        }

    def _credits(self, seen: Seen) -> int | float:
        return number(seen.job.order.total) if seen.state is JobState.COMPLETED else 0

    def _result(self, seen: Seen, base_url: str) -> dict[str, Any]:
        if seen.state is JobState.COMPLETED:
            urls = [files_url(base_url, seen.job)]
            return {"media_urls": urls, "media_info": {}, "usage": {}}
        word = seen.job.order.markers.fail_word
        return {"code": 501, "message": word or "the clip could not be made, as a marker asks"}


def _success(data: dict[str, Any]) -> Response:
    return json_reply({"code": 200, "message": "success", "data": data})
