"""EvoLink (evolink.ai), from its pages.

Sources: https://evolink.ai/zh/kling-3 (create, prices, limits);
https://docs.evolink.ai/en/api-manual/task-management/get-task-detail (tasks);
https://docs.evolink.ai/en/api-manual/account-management/get-credits.md (balance);
the error-codes page beside them (errors). Checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .account import End, Poll, Task
from .gateway import Dialect, Trouble, require
from .server import Reply, Request

CREDIT = 1_000_000
WIRE_CREDIT = 10_000
"""`credits_reserved` counts ten-thousandths: the page's 270000 is 27 credits, 5 s at 5.4."""

SECONDS: Mapping[tuple[str, str], int] = {
    ("720p", "off"): 5_400_000,
    ("720p", "on"): 8_100_000,
    ("1080p", "off"): 7_198_200,
    ("1080p", "on"): 10_800_000,
}
"""kling-v3-text-to-video and -image-to-video, a second, by quality and sound.

Source: https://evolink.ai/zh/kling-3, "5.4 Credits" and so on, undated, read 2026-11-20. The table
is the price: its multipliers are of both together and do not multiply.
"""

O3_SECONDS: Mapping[tuple[str, str], int] = {
    ("720p", "off"): 5_400_000,
    ("720p", "on"): 7_203_600,
    ("1080p", "off"): 7_203_600,
    ("1080p", "on"): 9_001_800,
}
"""kling-o3-text-to-video and -image-to-video, a second, by quality and sound.

Source: https://evolink.ai/kling-o3 with a model in its address, undated, read 2026-11-20.
"""

SHORTEST_BILLED_S = 3

_ERRORS = {
    Trouble.DENIED: (401, "authentication_error"),
    Trouble.POOR: (402, "insufficient_quota_error"),
    Trouble.MISSING: (404, "not_found_error"),
    Trouble.CONFLICT: (400, "invalid_request_error"),
    Trouble.INVALID: (400, "invalid_request_error"),
    Trouble.BUSY: (429, "rate_limit_error"),
    Trouble.BROKEN: (500, "internal_server_error"),
}

_TABLES = {
    "kling-v3-text-to-video": SECONDS,
    "kling-v3-image-to-video": SECONDS,
    "kling-o3-text-to-video": O3_SECONDS,
    "kling-o3-image-to-video": O3_SECONDS,
}


@dataclass
class EvoLink(Dialect):
    """EvoLink on one account.

    No document shows a settled cost. EvoLink's own skill file says that what was reserved when the
    task was created is what was charged, and so it is here.
    """

    unit: ClassVar[str] = "evolink-credit"
    words: ClassVar[Mapping[Poll | End, str]] = {
        Poll.WAIT: "pending",
        Poll.WORK: "processing",
        End.COMPLETED: "completed",
        End.FAILED: "failed",
    }

    def documented_id(self, number: int) -> str:
        return f"task-unified-{1757169743 + number}-7cvnl5zw"

    def is_allowed(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.api_key}"

    def route(self, request: Request) -> Reply | None:
        match request.method, request.path:
            case "POST", "/v1/videos/generations":
                return self.create(request.body, self.price(request.body))
            case "GET", path if path.startswith("/v1/tasks/"):
                return self.look_up(path.removeprefix("/v1/tasks/"))
            case "GET", "/v1/credits":
                return self._balance()
        return None

    def price(self, body: Any) -> int:
        """What a body costs, in millionths of a credit."""
        require(isinstance(body, dict) and body.get("model") in _TABLES, "unknown model")
        seconds = body.get("duration", 5)
        require(isinstance(seconds, int) and 3 <= seconds <= 15, "duration must be 3 to 15")
        callback = body.get("callback_url", "https://")
        require(callback.startswith("https://"), "callback_url must be HTTPS")
        _check_prompt(body)
        cell = (body.get("quality", "720p"), body.get("sound", "off"))
        table = _TABLES[body["model"]]
        require(cell in table, "quality must be 720p or 1080p, sound on or off")
        return max(int(seconds), SHORTEST_BILLED_S) * table[cell]

    def _balance(self) -> Reply:
        account = self.account
        held = {
            "remaining_credits": round(account.available / CREDIT, 4),
            "used_credits": round(account.charged / CREDIT, 4),
        }
        token = {**held, "unlimited_credits": False}
        return Reply(200, {"data": {"token": token, "user": held}, "message": "", "success": True})

    def trouble(self, trouble: Trouble, message: str, task: Task | None = None) -> Reply:
        status, kind = _ERRORS[trouble]
        error = {
            "code": status,
            "message": message,
            "type": kind,
            "param": None,
            "fallback_suggestion": None,
        }
        named = {"id": self.wire_id(task.id)} if task else {}
        return Reply(status, {"error": error, **named}, self.busy_headers(trouble))

    def taken(self, task: Task) -> Reply:
        usage = {
            "billing_rule": "per_second",
            "credits_reserved": task.reserved * WIRE_CREDIT // CREDIT,
            "user_group": "default",
        }
        return Reply(200, {**self._head(task, "pending", 0), "usage": usage})

    def told(self, task: Task, word: str, end: End | None) -> Reply:
        said = self._head(task, word, 100 if end is End.COMPLETED else 40)
        if end is End.COMPLETED:
            said["results"] = [f"https://files.example/{task.id}.mp4"]
        if end is End.FAILED:
            said["error"] = {"code": "content_policy_violation", "message": "not this prompt"}
        return Reply(200, said)

    def _head(self, task: Task, word: str, progress: int) -> dict[str, Any]:
        return {
            "created": 1_757_169_743,
            "id": self.wire_id(task.id),
            "model": task.body.get("model") if isinstance(task.body, dict) else None,
            "object": "video.generation.task",
            "progress": progress,
            "status": word,
            "task_info": {"can_cancel": progress == 0},
            "type": "video",
        }


def _check_prompt(body: Mapping[str, Any]) -> None:
    params = body.get("model_params") or {}
    shots = params.get("multi_prompt") or []
    if params.get("multi_shot") and params.get("shot_type") == "customize":
        require(1 <= len(shots) <= 6, "one to six shots")
        lengths = [int(shot["duration"]) for shot in shots]
        require(sum(lengths) == body.get("duration", 5), "the shots must add up")
        return
    require(body.get("prompt"), "prompt is required")
