"""UniAll (uniall.ai), from the one page it has on Kling.

Source: https://docs.uniall.ai/models/video/kling and its Chinese twin, undated, read 2026-11-20.
The page shows one reply, of a completed task, and no price, error or other state: what is invented
here to fill the gaps says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .account import End, Poll, Task
from .gateway import Dialect, Trouble, require
from .server import Reply, Request

SECOND = 70_000
"""A second of any model, in millionths of a dollar. Invented: no price is published anywhere, and
nobody's guess is taken over, so only whether a task is charged can be compared."""

_MODELS = {
    "kling-v3-std-silent",
    "kling-v3-std-audio",
    "kling-v3-pro-silent",
    "kling-v3-pro-audio",
}

_ERRORS = {
    Trouble.DENIED: (401, "invalid_api_key"),
    Trouble.POOR: (402, "insufficient_balance"),
    Trouble.MISSING: (404, "not_found"),
    Trouble.CONFLICT: (400, "invalid_request"),
    Trouble.INVALID: (400, "invalid_request"),
    Trouble.BUSY: (429, "rate_limit_exceeded"),
    Trouble.BROKEN: (500, "internal_error"),
}
"""Invented, in the shape of the API that the page's `object` and `progress` resemble."""


@dataclass
class UniAll(Dialect):
    """UniAll on one account."""

    unit: ClassVar[str] = "USD"
    # Only `completed` is published; the others are the commonest words for the same things.
    words: ClassVar[Mapping[Poll | End, str]] = {
        Poll.WAIT: "pending",
        Poll.WORK: "processing",
        End.COMPLETED: "completed",
        End.FAILED: "failed",
    }

    def documented_id(self, number: int) -> str:
        return f"task_{number:03x}"

    def is_allowed(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.api_key}"

    def route(self, request: Request) -> Reply | None:
        match request.method, request.path:
            case "POST", "/v1/video/generations":
                return self.create(request.body, self.price(request.body))
            case "GET", path if path.startswith("/v1/videos/"):
                return self.look_up(path.removeprefix("/v1/videos/"))
        return None

    def price(self, body: Any) -> int:
        """What a body costs here, in millionths of a dollar."""
        require(isinstance(body, dict) and body.get("model") in _MODELS, "unknown model")
        seconds = body.get("duration")
        require(isinstance(seconds, int) and 3 <= seconds <= 15, "duration must be 3 to 15")
        require(body.get("image") or not body.get("last_image"), "last_image needs image")
        shots = (body.get("extra_body") or {}).get("multi_prompt")
        both = body.get("image") and body.get("prompt") and shots
        require(not both, "prompt and multi_prompt must not both be sent with an image")
        return int(seconds) * SECOND

    def trouble(self, trouble: Trouble, message: str, task: Task | None = None) -> Reply:
        status, code = _ERRORS[trouble]
        error = {"message": message, "type": code, "code": code}
        named = {"task_id": self.wire_id(task.id)} if task else {}
        return Reply(status, {"error": error, **named}, self.busy_headers(trouble))

    def taken(self, task: Task) -> Reply:
        return Reply(200, self._head(task, "pending", 0))

    def told(self, task: Task, word: str, end: End | None) -> Reply:
        said = self._head(task, word, 100 if end is End.COMPLETED else 40)
        if end is End.COMPLETED:
            said["video_url"] = f"https://files.example/{task.id}.mp4"
        if end is End.FAILED:
            said["error"] = {"message": "the clip could not be made", "code": "generation_failed"}
        return Reply(200, said)

    def _head(self, task: Task, word: str, progress: int) -> dict[str, Any]:
        return {
            "id": self.wire_id(task.id),
            "task_id": self.wire_id(task.id),
            "object": "video.generation.job",
            "model": task.body.get("model") if isinstance(task.body, dict) else None,
            "status": word,
            "progress": progress,
        }
