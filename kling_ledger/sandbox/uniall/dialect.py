"""UniAll's dialect: generations and videos, and nothing about money.

    POST /v1/video/generations   create        GET /v1/videos/{task_id}   poll

UniAll documents no balance, no cost and no idempotency key. Its address for compatible clients,
POST /v1/videos/generations, is EvoLink's own and is left to EvoLink here.

Source: https://docs.uniall.ai/models/video/kling, checked 2026-11-20. What it leaves open is
decided here: a create answers with the same object as a poll, the states before and beside
`completed` are `pending`, `processing` and `failed`, a failure has an `error`, and errors are
`{"error": {"message", "type", "code"}}`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kling_ledger.sandbox.bodies import posted
from kling_ledger.sandbox.desk import Desk, Handler, Seen, bearer, files_url
from kling_ledger.sandbox.jobs import JobState, progress
from kling_ledger.sandbox.replies import ApiError, json_reply

if TYPE_CHECKING:
    from kling_ledger.sandbox.settings import SandboxSettings


def new_task_id(_: SandboxSettings, __: datetime) -> str:
    """Return a task id in UniAll's form."""
    return f"task_{uuid4().hex}"


@dataclass(frozen=True, slots=True)
class UniAll:
    """One UniAll account."""

    desk: Desk

    def routes(self) -> list[Route]:
        """Return the addresses that UniAll serves."""
        return [
            Route("/v1/video/generations", self._keyed(self._create), methods=["POST"]),
            Route("/v1/videos/{id}", self._keyed(self._read), methods=["GET"]),
        ]

    def callback_body(self, seen: Seen, base_url: str) -> dict[str, Any]:
        """Return what is posted to a job's callback address: what a poll would say."""
        return _video(seen, base_url)

    def write_error(self, error: ApiError) -> Response:
        """Return an error in the form that the sandbox gives UniAll."""
        kind = "server_error" if error.status >= 500 else "invalid_request_error"
        content = {"message": str(error), "type": kind, "code": error.code}
        headers = error.headers(self.desk.settings.retry_after_s)
        return json_reply({"error": content}, status=error.status, headers=headers)

    def _keyed(self, handler: Handler) -> Handler:
        return self.desk.answering(self.desk.keyed(handler, bearer), self.write_error)

    async def _create(self, request: Request) -> Response:
        received = self.desk.receive(await posted(request))

        def write(seen: Seen, is_reused: bool) -> Response:  # noqa: ARG001, FBT001 - never reused
            return json_reply(_video(seen, str(request.base_url)))

        return await self.desk.create(received, write)

    async def _read(self, request: Request) -> Response:
        def write(seen: Seen) -> Response:
            return json_reply(_video(seen, str(request.base_url)))

        return await self.desk.poll(request.path_params["id"], write)


def _video(seen: Seen, base_url: str) -> dict[str, Any]:
    job = seen.job
    state = None if seen.word else seen.state
    video: dict[str, Any] = {
        "id": job.id,
        "task_id": job.id,
        "object": "video.generation.job",
        "model": job.order.body["model"],
        "status": seen.word or seen.state,
        "progress": progress(state),
    }
    if state is JobState.COMPLETED:
        video["video_url"] = files_url(base_url, job)
    if state is JobState.FAILED:
        word = job.order.markers.fail_word or "generation_failed"
        message = "the clip could not be made, as a marker asks"
        video["error"] = {"code": word, "message": message}
    return video
