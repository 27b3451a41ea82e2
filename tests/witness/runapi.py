"""RunAPI (runapi.ai), from its published client and its pages.

Sources: the packages runapi-core 0.10.1 and runapi-kling 0.5.1 (paths, bodies, headers, states);
https://runapi.ai/zh-CN/openclaw-kling.md (fields, billing in words); github.com/runapi-ai/core-sdk
README and CHANGELOG to 2026-08-21 (`usage.cost`, `Idempotency-Key`, `X-RunAPI-Task-Id`);
github.com/runapi-ai/mcp data/pricing.json (prices). Checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import NAMESPACE_URL, uuid5

from .account import End, Poll, Task
from .gateway import Dialect, Trouble, plain, require
from .server import Reply, Request

CENT = 10_000

Table = Mapping[tuple[bool, str], int]

JULY: Table = {
    (False, "720p"): 14 * CENT,
    (False, "1080p"): 18 * CENT,
    (False, "4k"): 67 * CENT,
    (True, "720p"): 20 * CENT,
    (True, "1080p"): 27 * CENT,
    (True, "4k"): 67 * CENT,
}
"""kling-3.0 text_to_video, a second, by sound and resolution.

Source: github.com/runapi-ai/mcp data/pricing.json at b42e31f, 2026-07-23, the last dated table.
"""

JUNE: Table = {cell: cost // 2 for cell, cost in JULY.items()}
"""The same at half: the `cost` column before a `markup_rate` of 2.0, which the guide's "sound adds
about 3 cents per second at 720p" fits.

Source: the same file at cdc4e95 and 834adc0, 2026-06-03 to 2026-06-18. Which of the two a customer
pays today is not known: the witness can charge either.
"""

_STATUSES = {
    Trouble.DENIED: (401, "unauthorized"),
    Trouble.POOR: (402, "insufficient_credits"),
    Trouble.MISSING: (404, "not_found"),
    Trouble.CONFLICT: (409, "idempotency_conflict"),
    Trouble.INVALID: (422, "validation_failed"),
    Trouble.BUSY: (429, "rate_limited"),
    Trouble.BROKEN: (500, "server_error"),
}

_ACTIONS = {
    "text_to_video",
    "image_to_video",
    "motion_control",
    "ai_avatar",
    "extend_video",
    "edit_video",
}


@dataclass
class RunApi(Dialect):
    """RunAPI on one account.

    The client wants `id` in the reply to a create, the pages show `task_id`: `id_fields` says which
    are sent. `table` is what it charges; its estimate is of whole cents, unless `splits_cents`.
    """

    table: Table = field(default_factory=lambda: JUNE)
    id_fields: tuple[str, ...] = ("id",)
    splits_cents: bool = False
    unit: ClassVar[str] = "USD"
    words: ClassVar[Mapping[Poll | End, str]] = {
        Poll.WAIT: "pending",
        Poll.WORK: "processing",
        End.COMPLETED: "completed",
        End.FAILED: "failed",
    }
    root: ClassVar[str] = "/api/v1/kling/"

    def documented_id(self, number: int) -> str:
        return str(uuid5(NAMESPACE_URL, f"https://witness.example/{number}"))

    def is_allowed(self, request: Request) -> bool:
        is_public = request.path.startswith(("/api/v1/price_schedules", "/api/v1/price_quotes"))
        return is_public or request.headers.get("authorization") == f"Bearer {self.api_key}"

    def route(self, request: Request) -> Reply | None:
        match request.method, request.path:
            case "POST", "/api/v1/price_quotes":
                return self._quoted(request.body)
            case "GET", "/api/v1/me/balance":
                return self._balance()
            case "POST", path if path.removeprefix(self.root) in _ACTIONS:
                key = request.headers.get("idempotency-key")
                require(key is None or len(key) <= 512, "Idempotency-Key is too long")
                return self.create(request.body, self.price(request.body), key)
            case "GET", path if path.startswith(self.root):
                action, _, task_id = path.removeprefix(self.root).partition("/")
                return self.look_up(task_id) if action in _ACTIONS else None
        return None

    def price(self, body: Any) -> int:
        """What a body of kling-3.0 costs, in millionths of a dollar."""
        require(isinstance(body, dict), "a JSON object is required")
        require(body.get("model") == "kling-3.0", "model is not available")
        require(body.get("prompt") or body.get("multi_shots"), "prompt is required")
        seconds = body.get("duration_seconds")
        require(isinstance(seconds, int) and 3 <= seconds <= 15, "duration_seconds must be 3 to 15")
        cell = (bool(body.get("enable_sound")), str(body.get("output_resolution")))
        require(cell in self.table, "output_resolution must be 720p, 1080p or 4k")
        return int(seconds) * self.table[cell]

    def _quoted(self, asked: Any) -> Reply:
        require(isinstance(asked, dict) and asked.get("service") == "kling", "unknown service")
        params = {**(asked.get("params") or {}), "model": asked.get("model")}
        script = self.account.upcoming
        micro = self.price(params) if script.reserved is None else script.reserved
        cents = micro / CENT if self.splits_cents else -(-micro // CENT)
        quote = {
            "service": "kling",
            "action": asked.get("action"),
            "model": asked.get("model"),
            "pricing_status": "available",
            "currency": "USD",
            "reservation_amount_cents": cents,
            "estimate_basis": "exact",
            "as_of": "2026-11-20T00:00:00.000000Z",
        }
        return Reply(200, {"price_quote": quote})

    def _balance(self) -> Reply:
        cents = self.account.available // CENT
        return Reply(
            200,
            {
                "balance_cents": cents,
                "paid_balance_cents": cents,
                "bonus_balance_cents": 0,
                "spent_cents_today": self.account.charged // CENT,
                "spent_cents_total": self.account.charged // CENT,
            },
        )

    def trouble(self, trouble: Trouble, message: str, task: Task | None = None) -> Reply:
        status, code = _STATUSES[trouble]
        named = {"X-RunAPI-Task-Id": task.id} if task else {}
        headers = {"X-Request-Id": "req_witness", **named, **self.busy_headers(trouble)}
        return Reply(status, {"error": {"code": code, "message": message}}, headers)

    def taken(self, task: Task) -> Reply:
        ids = {name: self.wire_id(task.id) for name in self.id_fields}
        return Reply(200, {**ids, "status": "pending"}, {"X-RunAPI-Task-Id": task.id})

    def told(self, task: Task, word: str, end: End | None) -> Reply:
        said: dict[str, Any] = {"id": self.wire_id(task.id), "status": word}
        if end is End.COMPLETED:
            said["videos"] = [{"url": f"https://files.example/{task.id}.mp4"}]
            said["usage"] = {"cost": plain(task.charged)}
        if end is End.FAILED:
            said["error"] = "the prompt was flagged"
        return Reply(200, said)
