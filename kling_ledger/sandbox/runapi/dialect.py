"""RunAPI's dialect: its Kling endpoints, headers, errors and account.

    POST /api/v1/kling/{action}         create      GET /api/v1/kling/{action}/{id}   poll
    GET  /api/v1/me                     account     GET /api/v1/me/balance            balance
    GET  /api/v1/price_schedules        public      POST /api/v1/price_quotes         quote

Source: https://runapi.ai/zh-CN/openclaw-kling.md, the packages runapi-core 0.10.1 and
runapi-kling 0.5.1, and https://github.com/runapi-ai/core-sdk, checked 2026-11-20. What they leave
open is decided here: a create answers 200, and an account's balance is what has not been charged,
reserved or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kling_ledger.sandbox.bodies import posted
from kling_ledger.sandbox.desk import Desk, Handler, Seen, bearer, files_url, number
from kling_ledger.sandbox.jobs import Job, JobState
from kling_ledger.sandbox.replies import ApiError, json_reply
from kling_ledger.sandbox.runapi.contract import ACTIONS
from kling_ledger.sandbox.runapi.schedule import (
    cents,
    instant,
    price_quote,
    schedules,
    schedules_tag,
)
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.sandbox.settings import SandboxSettings

_HEADER_MAX: Final = 512


def new_task_id(settings: SandboxSettings, _: datetime) -> str:
    """Return a task id in the form of the configured create reply."""
    return f"tsk_{uuid4().hex}" if settings.create_reply == "page" else str(uuid4())


@dataclass(frozen=True, slots=True)
class RunApi:
    """One RunAPI account."""

    desk: Desk

    def routes(self) -> list[Route]:
        """Return the addresses that RunAPI serves."""
        return [
            Route("/api/v1/kling/{action}", self._keyed(self._create), methods=["POST"]),
            Route("/api/v1/kling/{action}/{id}", self._keyed(self._read), methods=["GET"]),
            Route("/api/v1/me", self._keyed(self._me), methods=["GET"]),
            Route("/api/v1/me/balance", self._keyed(self._balance), methods=["GET"]),
            Route("/api/v1/price_schedules", self._public(self._schedules), methods=["GET"]),
            Route("/api/v1/price_quotes", self._keyed(self._quote), methods=["POST"]),
        ]

    def callback_body(self, seen: Seen, base_url: str) -> dict[str, Any]:
        """Return what is posted to a job's callback address: what a poll would say."""
        return self._status(seen, base_url)

    def _public(self, handler: Handler) -> Handler:
        """Wrap a handler: its errors are in RunAPI's form, and the client's own id is echoed."""

        async def answer(request: Request) -> Response:
            echoed = None
            try:
                echoed = _client_request_id(request)
                response = await handler(request)
            except ApiError as error:
                response = error.reply(self.desk.settings.retry_after_s)
            if echoed is not None:
                response.headers["X-Client-Request-Id"] = echoed
            return response

        return answer

    def _keyed(self, handler: Handler) -> Handler:
        """Wrap a handler like `_public`, but answer only requests with the API key."""
        return self._public(self.desk.keyed(handler, bearer))

    async def _create(self, request: Request) -> Response:
        action = _known_action(request)
        key = _idempotency_key(request)
        return await self.desk.create(
            self.desk.receive(await posted(request), action),
            self._created,
            key=key,
            client_request_id=_client_request_id(request),
        )

    async def _read(self, request: Request) -> Response:
        def write(seen: Seen) -> Response:
            if seen.job.order.action != request.path_params["action"]:
                raise ApiError(404, "no such task")
            return _job_reply(seen.job, self._status(seen, str(request.base_url)))

        return await self.desk.poll(request.path_params["id"], write)

    async def _me(self, request: Request) -> Response:  # noqa: ARG002 - handlers look alike
        account = {"id": 1, "name": "Sandbox"}
        return json_reply(
            {"id": 1, "name": "Sandbox", "email": "sandbox@example.test", "account": account}
        )

    async def _balance(self, request: Request) -> Response:  # noqa: ARG002 - handlers look alike
        account = self.desk.store.account()
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

    async def _schedules(self, request: Request) -> Response:
        at = self.desk.now()
        rows = schedules(self.desk.tariff, filters=request.query_params)
        tag = schedules_tag(rows)
        if _holds_tag(request.headers.get("If-None-Match", ""), tag):
            return Response(status_code=304, headers={"ETag": tag})
        return json_reply({"as_of": instant(at), "price_schedules": rows}, headers={"ETag": tag})

    async def _quote(self, request: Request) -> Response:
        body = await posted(request)
        action, params = body.get("action"), body.get("params", {})
        if body.get("service") != "kling":
            raise _invalid("service", "kling")
        if action not in ACTIONS:
            raise _invalid("action", ", ".join(ACTIONS))
        if not isinstance(params, dict):
            raise _invalid("params", "an object")
        # A price does not depend on the prompt, and a client may ask before it has one.
        content = {"prompt": "any", **params, "model": body.get("model")}
        received = self.desk.receive(content, action)

        def write(amount: Money) -> Response:
            return json_reply({"price_quote": price_quote(received.asked, amount, self.desk.now())})

        return await self.desk.estimate(received, write)

    def _created(self, seen: Seen, is_reused: bool) -> Response:  # noqa: FBT001 - as desks call it
        status = seen.word or seen.state
        if self.desk.settings.create_reply == "page":
            model = seen.job.order.body["model"]
            reply = {"task_id": seen.job.id, "status": status, "model": model}
        else:
            reply = {"id": seen.job.id, "status": status}
        return _job_reply(seen.job, {**reply, "task_replayed": True} if is_reused else reply)

    def _status(self, seen: Seen, base_url: str) -> dict[str, Any]:
        job, order = seen.job, seen.job.order
        reply: dict[str, Any] = {"id": job.id, "status": seen.word or seen.state}
        if self.desk.settings.create_reply == "page":
            reply["task_id"] = job.id
        if reply["status"] is JobState.FAILED:
            why = order.markers.fail_word or "the clip could not be made"
            reply["error"] = f"{why}, as the prompt's [fail] marker asks"
        if reply["status"] is JobState.COMPLETED:
            reply["videos"] = [{"url": files_url(base_url, job)}]
            # RunAPI writes only this amount as a JSON number of US dollars.
            reply["usage"] = {"cost": number(order.total)}
        return reply


def _invalid(path: str, allowed: str) -> ApiError:
    return ApiError(422, f"{path}: allowed: {allowed}")


def _known_action(request: Request) -> str:
    action: str = request.path_params["action"]
    if action not in ACTIONS:
        raise ApiError(404, f"unknown action; allowed: {', '.join(ACTIONS)}")
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
    """Whether an If-None-Match header names a tag; weak and strong tags compare as equal."""
    held = {part.strip().removeprefix("W/") for part in header.split(",")}
    return "*" in held or tag.removeprefix("W/") in held


def _job_reply(job: Job, content: dict[str, Any]) -> Response:
    headers = {"X-RunAPI-Task-Id": job.id}
    if job.order.client_request_id is not None:
        headers["X-Client-Request-Id"] = job.order.client_request_id
    return json_reply(content, headers=headers)
