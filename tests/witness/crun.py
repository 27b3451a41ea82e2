"""Crun (crun.ai), from its pages and its own command-line tool.

Sources: https://docs.crun.ai/zh/models/kling/v3-0 (create, input rules, codes);
https://docs.crun.ai/models/common/get-task-info; https://docs.crun.ai/common-api/get-account-credits;
github.com/CrunTeam/crun-agent-skills, runtime/crun_cli.py (key, EstimateTask, "judge by code"),
2026-08-21. Checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import NAMESPACE_DNS, uuid5

from .account import End, Poll, Task
from .gateway import Dialect, Trouble, plain, require
from .server import Reply, Request

CREDIT = 1_000_000

SECONDS: Mapping[str, int] = {"std": 20 * CREDIT, "pro": 27 * CREDIT}
"""kling/v3 with sound, a second: std is 720p, pro is 1080p.

Source: a third party's copy of https://crun.ai/pricing for the $5 plan, undated, about mid-2026. It
does not say that sound is on; the figures are those of other sellers with sound. A silent second
has no published price, and the witness sells none.
"""

_CODES = {
    Trouble.DENIED: 401,
    Trouble.POOR: 402,
    Trouble.MISSING: 404,
    Trouble.CONFLICT: 422,
    Trouble.INVALID: 422,
    Trouble.BUSY: 429,
    Trouble.BROKEN: 500,
}

_JOB = "/api/v1/client/job/"


@dataclass
class Crun(Dialect):
    """Crun on one account.

    Its documents say to judge by the `code` in the body: the HTTP status is 200 throughout, unless
    `repeats_code` makes it the same number. `wire_code` is the code as JSON has it.
    """

    repeats_code: bool = False
    wire_code: Callable[[int], int | str] = int
    unit: ClassVar[str] = "crun-credit"
    words: ClassVar[Mapping[Poll | End, str]] = {
        Poll.WAIT: "pending",
        Poll.WORK: "running",
        End.COMPLETED: "success",
        End.FAILED: "failed",
        End.FAILED_AND_CHARGED: "failed",
    }

    def documented_id(self, number: int) -> str:
        return str(uuid5(NAMESPACE_DNS, f"task-{number}.witness.example"))

    def is_allowed(self, request: Request) -> bool:
        return request.headers.get("x-api-key") == self.api_key

    def route(self, request: Request) -> Reply | None:
        match request.method, request.path:
            case "POST", path if path == f"{_JOB}CreateTask":
                return self.create(request.body, self.price(request.body))
            case "POST", path if path == f"{_JOB}EstimateTask":
                return self._estimated(self.price(request.body))
            case "GET", path if path == f"{_JOB}TaskInfo":
                return self.look_up(request.query.get("task_id", ""))
            case "GET", "/api/v1/client/account/balance":
                return self._said(200, "success", {"balance": plain(self.account.available)})
        return None

    def price(self, body: Any) -> int:
        """What a body of kling/v3 costs, in millionths of a credit."""
        require(isinstance(body, dict) and body.get("model") == "kling/v3", "unknown model")
        asked = body.get("input")
        require(isinstance(asked, dict), "input is required")
        require(isinstance(asked.get("multi_shots"), bool), "multi_shots is required")
        require(asked.get("mode") in SECONDS, "mode must be std or pro")
        seconds = asked.get("duration")
        require(isinstance(seconds, int) and 3 <= seconds <= 15, "duration must be 3 to 15")
        _check_images(asked)
        if asked["multi_shots"]:
            _check_shots(asked)
        # Several shots always have sound, whatever the body says.
        require(asked["multi_shots"] or asked.get("audio"), "no price is known without audio")
        return int(seconds) * SECONDS[asked["mode"]]

    def _estimated(self, price: int) -> Reply:
        script = self.account.upcoming
        asked = price if script.reserved is None else script.reserved
        data = {
            "estimated_credits": plain(asked),
            "balance": plain(self.account.available),
            "affordable": self.account.available >= asked,
        }
        return self._said(200, "success", data)

    def _said(
        self, code: int, message: str, data: Any, headers: Mapping[str, str] | None = None
    ) -> Reply:
        envelope = {"code": self.wire_code(code), "message": message, "data": data}
        return Reply(code if self.repeats_code else 200, envelope, headers or {})

    def trouble(self, trouble: Trouble, message: str, task: Task | None = None) -> Reply:
        data = {"task_id": self.wire_id(task.id)} if task else None
        return self._said(_CODES[trouble], message, data, self.busy_headers(trouble))

    def taken(self, task: Task) -> Reply:
        return self._said(200, "success", {"task_id": self.wire_id(task.id)})

    def told(self, task: Task, word: str, end: End | None) -> Reply:
        data = {
            "task_id": self.wire_id(task.id),
            "provider": "kling",
            "model_version": "v3",
            "status": word,
            "param": task.body,
            "create_at": 1_760_000_000,
            "complete_at": 1_760_000_120 if end else None,
            # How long the job ran, which has nothing to do with the length of the clip.
            "duration_s": 120 if end else None,
            "result": _result(task, end),
            "source": "api",
            "credits": plain(task.charged if end else task.reserved),
        }
        return self._said(200, "success", data)


def _check_images(asked: Mapping[str, Any]) -> None:
    images = asked.get("img_urls", [])
    most = 1 if asked["multi_shots"] else 2
    require(len(images) <= most, "too many images")
    require(images or not asked["multi_shots"], "several shots need exactly one image")


def _check_shots(asked: Mapping[str, Any]) -> None:
    kind = asked.get("shot_type")
    require(kind in {"customize", "intelligence"}, "shot_type must be customize or intelligence")
    shots = asked.get("multi_prompt") or []
    if kind == "intelligence":
        require(asked.get("prompt") and not shots, "intelligence takes prompt alone")
        return
    require(1 <= len(shots) <= 6, "one to six shots")
    lengths = [shot.get("duration", 0) for shot in shots]
    require(min(lengths) >= 1 and sum(lengths) == asked["duration"], "the shots must add up")


def _result(task: Task, end: End | None) -> Any:
    if end is None:
        return None
    if end is not End.COMPLETED:
        return {"code": 501, "message": "generation failed"}
    links = [f"https://files.example/{task.id}.mp4"]
    return {"media_urls": links, "media_info": {}, "usage": {}}
