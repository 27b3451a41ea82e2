"""RunAPI's dialect: its Kling endpoints, headers, errors and account, over a JobStore.

    POST /api/v1/kling/{action}         create      GET /api/v1/kling/{action}/{id}   poll
    GET  /api/v1/me                     account     GET /api/v1/me/balance            balance
    GET  /api/v1/price_schedules        public      POST /api/v1/price_quotes         quote
    GET  /files/{id}.mp4                public: what a completed job's link leads to

Source: https://runapi.ai/zh-CN/openclaw-kling.md, the packages runapi-core 0.10.1 and
runapi-kling 0.5.1, and https://github.com/runapi-ai/core-sdk, checked 2026-11-20. What they leave
open is decided here: a create answers 200, and an account's balance is what was not charged yet,
whether open jobs reserve it or not.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kling_ledger.sandbox.jobs import (
    AccountEmptyError,
    Job,
    JobState,
    JobStore,
    KeyReusedError,
    Order,
)
from kling_ledger.sandbox.markers import read_markers
from kling_ledger.sandbox.replies import ApiError, json_reply
from kling_ledger.sandbox.runapi_prices import cents, instant, price_quote, schedules, schedules_tag
from kling_ledger.sandbox.settings import SandboxSettings
from kling_pricing.clip import ACTIONS
from kling_pricing.errors import (
    MISSING,
    ClipError,
    PricingError,
    Problem,
    RequestError,
)
from kling_pricing.money import Money
from kling_pricing.quote import Quote
from kling_pricing.requests import Body, parse_body, read_request
from kling_pricing.requests import Request as KlingRequest

_HEADER_MAX: Final = 512
_PENDING_SHARE: Final = 4
"""A job is pending for this part of its time: one in so many."""

# The smallest file that players recognise: a file type box and nothing to play.
_MP4: Final = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41\x00\x00\x00\x08free"

_Handler = Callable[[Request], Awaitable[Response]]


def new_task_id(settings: SandboxSettings) -> str:
    """Return a task id of the kind that the settings' create reply shows."""
    return f"tsk_{uuid4().hex}" if settings.create_reply == "page" else str(uuid4())


def runapi_routes(
    settings: SandboxSettings, store: JobStore, *, now: Callable[[], datetime]
) -> list[Route]:
    """Return the routes of one RunAPI account; `now` is the instant that prices are read at."""
    api = _RunApi(settings, store, now)
    return [
        Route("/api/v1/kling/{action}", api.keyed(api.create), methods=["POST"]),
        Route("/api/v1/kling/{action}/{id}", api.keyed(api.read), methods=["GET"]),
        Route("/api/v1/me", api.keyed(api.me), methods=["GET"]),
        Route("/api/v1/me/balance", api.keyed(api.balance), methods=["GET"]),
        Route("/api/v1/price_schedules", api.public(api.schedules), methods=["GET"]),
        Route("/api/v1/price_quotes", api.keyed(api.quote), methods=["POST"]),
        Route("/files/{id}.mp4", api.public(api.file), methods=["GET"]),
    ]


@dataclass(frozen=True, slots=True)
class _RunApi:
    settings: SandboxSettings
    store: JobStore
    now: Callable[[], datetime]

    def public(self, handler: _Handler) -> _Handler:
        """Answer with a handler, its errors as RunAPI writes them, the client's own id echoed."""

        async def answer(request: Request) -> Response:
            echoed = None
            try:
                echoed = _client_request_id(request)
                response = await handler(request)
            except ApiError as error:
                response = error.reply()
            if echoed is not None:
                response.headers["X-Client-Request-Id"] = echoed
            return response

        return answer

    def keyed(self, handler: _Handler) -> _Handler:
        """Answer like `public`, but only to somebody who brings the API key."""

        async def answer(request: Request) -> Response:
            self._check_key(request)
            return await handler(request)

        return self.public(answer)

    async def create(self, request: Request) -> Response:
        action = _known_action(request)
        key = _idempotency_key(request)
        asked = _read(await _json_body(request), action)
        order = self._order(asked, action, _client_request_id(request))
        try:
            job, is_reused = self.store.submit(order, key=key)
        except KeyReusedError as error:
            raise ApiError(409, str(error)) from None
        except AccountEmptyError as error:
            raise ApiError(402, str(error)) from None
        return self._created(job, is_reused=is_reused)

    async def read(self, request: Request) -> Response:
        job = self.store.find(request.path_params["id"])
        if job is None or job.order.action != request.path_params["action"]:
            raise ApiError(404, "there is no such task")
        return _job_reply(job, self._status(job, _files_url(request, job)))

    async def me(self, request: Request) -> Response:  # noqa: ARG002 - handlers look alike
        account = {"id": 1, "name": "Sandbox"}
        return json_reply(
            {"id": 1, "name": "Sandbox", "email": "sandbox@example.test", "account": account}
        )

    async def balance(self, request: Request) -> Response:  # noqa: ARG002 - handlers look alike
        account = self.store.account()
        balance = cents(account.balance.amount)
        return json_reply(
            {
                "balance_cents": balance,
                "paid_balance_cents": balance,
                "bonus_balance_cents": 0,
                "spent_cents_today": cents(account.spent_today.amount),
                "spent_cents_total": cents(account.spent.amount),
            }
        )

    async def schedules(self, request: Request) -> Response:
        at = self.now()
        rows = schedules(at, filters=request.query_params)
        tag = schedules_tag(rows)
        if _holds_tag(request.headers.get("If-None-Match", ""), tag):
            return Response(status_code=304, headers={"ETag": tag})
        return json_reply({"as_of": instant(at), "price_schedules": rows}, headers={"ETag": tag})

    async def quote(self, request: Request) -> Response:
        body = await _json_body(request)
        if body.get("service") != "kling":
            raise _invalid("service", body.get("service", MISSING), "kling")
        action = body.get("action", MISSING)
        params = body.get("params") or {}
        if action not in ACTIONS:
            raise _invalid("action", action, ", ".join(ACTIONS))
        if not isinstance(params, dict):
            raise _invalid("params", params, "an object")
        # A price does not depend on the prompt, and who asks for one may not have written it yet.
        asked = _read({"prompt": "any", **params, "model": body.get("model")}, str(action))
        return json_reply({"price_quote": price_quote(self._priced(asked))})

    async def file(self, request: Request) -> Response:
        job = self.store.find(request.path_params["id"])
        if job is None or self.store.state(job) is not JobState.COMPLETED:
            raise ApiError(404, "there is no such file")
        return Response(_MP4, media_type="video/mp4")

    def _check_key(self, request: Request) -> None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        expected = self.settings.api_key.encode()
        is_ours = secrets.compare_digest(key.strip().encode(), expected)
        if scheme.lower() != "bearer" or not is_ours:
            raise ApiError(401, "the API key is missing or is not the sandbox's")

    def _priced(self, asked: KlingRequest) -> Quote:
        try:
            return asked.quote(at=self.now())
        except PricingError as error:
            raise _unprocessable(error) from None

    def _order(self, asked: KlingRequest, action: str, client_request_id: str | None) -> Order:
        """Say what becomes of a request: what its markers ask for, else what is usual."""
        quoted = self._priced(asked).amount
        markers = read_markers(asked.body.get("prompt"))
        if markers.refuse_status is not None:
            raise ApiError(markers.refuse_status, "refused, as the prompt's [refuse] marker asks")
        takes_s = self.settings.job_s if markers.takes_s is None else markers.takes_s
        return Order(
            action=action,
            body=asked.body,
            fingerprint=asked.payload_hash,
            reserved=quoted,
            cost=quoted if markers.cost is None else Money(markers.cost, quoted.unit),
            pending_s=min(takes_s, self.settings.job_s) / _PENDING_SHARE,
            takes_s=takes_s,
            fails=markers.fails,
            client_request_id=client_request_id,
        )

    def _created(self, job: Job, *, is_reused: bool) -> Response:
        # A new job is pending in this reply even if it takes no time at all.
        status = self.store.state(job) if is_reused else JobState.PENDING
        if self.settings.create_reply == "page":
            reply = {"task_id": job.id, "status": status, "model": job.order.body["model"]}
        else:
            reply = {"id": job.id, "status": status}
        return _job_reply(job, {**reply, "task_replayed": True} if is_reused else reply)

    def _status(self, job: Job, url: str) -> dict[str, Any]:
        reply: dict[str, Any] = {"id": job.id, "status": self.store.state(job)}
        if self.settings.create_reply == "page":
            reply["task_id"] = job.id
        if reply["status"] is JobState.FAILED:
            reply["error"] = "the clip could not be made, as the prompt's [fail] marker asks"
        if reply["status"] is JobState.COMPLETED:
            reply["videos"] = [{"url": url}]
            # RunAPI writes this one amount as a JSON number of US dollars.
            reply["usage"] = {"cost": float(job.order.cost.amount)}
        return reply


def _read(body: Body, action: str) -> KlingRequest:
    try:
        return read_request("runapi", body, action=action)
    except PricingError as error:
        raise _unprocessable(error) from None


def _unprocessable(error: PricingError) -> ApiError:
    is_invalid = isinstance(error, (RequestError, ClipError))
    code = "validation" if is_invalid else "model_not_available"
    return ApiError(422, str(error), code=code)


def _invalid(path: str, got: object, allowed: str) -> ApiError:
    return _unprocessable(RequestError([Problem(path, got, allowed)]))


async def _json_body(request: Request) -> Body:
    try:
        return parse_body((await request.body()).decode())
    except (UnicodeDecodeError, RequestError) as error:
        raise ApiError(400, f"the body cannot be read: {error}") from None


def _known_action(request: Request) -> str:
    action: str = request.path_params["action"]
    if action not in ACTIONS:
        raise ApiError(404, f"there is no action of that name; there are: {', '.join(ACTIONS)}")
    return action


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > _HEADER_MAX:
        raise ApiError(400, f"Idempotency-Key is longer than {_HEADER_MAX} characters")
    return key or None


def _client_request_id(request: Request) -> str | None:
    given = request.headers.get("X-Client-Request-Id")
    if given is None:
        return None
    if len(given) > _HEADER_MAX or not all(" " <= character <= "~" for character in given):
        raise ApiError(
            400, f"X-Client-Request-Id is not at most {_HEADER_MAX} printable ASCII characters"
        )
    return given


def _holds_tag(header: str, tag: str) -> bool:
    """Whether an If-None-Match header names a tag; weak and strong are compared alike."""
    held = {part.strip().removeprefix("W/") for part in header.split(",")}
    return "*" in held or tag.removeprefix("W/") in held


def _files_url(request: Request, job: Job) -> str:
    return f"{request.base_url}files/{job.id}.mp4"


def _job_reply(job: Job, content: dict[str, Any]) -> Response:
    headers = {"X-RunAPI-Task-Id": job.id}
    if job.order.client_request_id is not None:
        headers["X-Client-Request-Id"] = job.order.client_request_id
    return json_reply(content, headers=headers)
