"""Truth: what was really accepted and charged, to compare with a ledger.

    GET  /sandbox/truth          every account and every task     POST /sandbox/finish   end it all
    GET  /sandbox/statement      a bill: one line for each charge of `?provider=P`, `&format=json`

No provider has these addresses, and they need no key. Amounts are strings, exact.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kling_ledger.sandbox.desk import Desk
from kling_ledger.sandbox.jobs import Delivery, Job, JobState
from kling_ledger.sandbox.replies import ApiError, json_reply
from kling_pricing.money import plain

STATEMENT_COLUMNS: Final = (
    "task_id",
    "count",
    "model",
    "created_at",
    "completed_at",
    "amount",
    "unit",
)


@dataclass(frozen=True, slots=True)
class Truth:
    """Every account, as only the sandbox sees them."""

    desks: tuple[Desk, ...]

    def routes(self) -> list[Route]:
        """Return the addresses of the truth."""
        return [
            Route("/sandbox/truth", self._truth, methods=["GET"]),
            Route("/sandbox/finish", self._finish, methods=["POST"]),
            Route("/sandbox/statement", self._statement, methods=["GET"]),
        ]

    def as_dict(self, provider: str | None = None) -> dict[str, Any]:
        """Return the truth about one provider, or about all."""
        desks = [desk for desk in self.desks if provider in {None, desk.provider}]
        return {
            "providers": {desk.provider: _account(desk) for desk in desks},
            "tasks": [_task(desk, job) for desk in desks for job in desk.store.jobs()],
        }

    async def _truth(self, request: Request) -> Response:
        provider = request.query_params.get("provider")
        if provider is not None and self._desk(provider) is None:
            return self._no_provider(provider)
        return json_reply(self.as_dict(provider))

    async def _finish(self, request: Request) -> Response:  # noqa: ARG002 - handlers look alike
        return json_reply({"finished": {d.provider: d.store.finish() for d in self.desks}})

    async def _statement(self, request: Request) -> Response:
        provider = request.query_params.get("provider", "")
        desk = self._desk(provider)
        if desk is None:
            return self._no_provider(provider)
        lines = list(statement(desk))
        if request.query_params.get("format") == "json":
            return json_reply({"provider": provider, "lines": lines})
        return Response(_csv(lines), media_type="text/csv")

    def _desk(self, provider: str) -> Desk | None:
        return next((desk for desk in self.desks if desk.provider == provider), None)

    def _no_provider(self, provider: str) -> Response:
        known = ", ".join(desk.provider for desk in self.desks)
        return ApiError(404, f"unknown provider {provider!r}; allowed: {known}").reply()


def statement(desk: Desk) -> Iterator[dict[str, str]]:
    """Yield a provider's bill: one line for each time that a task was charged.

    `count` distinguishes a second charge from the first one written twice.
    """
    for job in desk.store.jobs():
        for count in range(job.times_charged):
            yield {
                "task_id": job.id,
                "count": str(count + 1),
                "model": job.order.body["model"],
                "created_at": _instant(job.created_at),
                "completed_at": _instant(job.time_of(job.settles_s)),
                "amount": plain(job.order.cost.amount),
                "unit": job.order.cost.unit,
            }


def _account(desk: Desk) -> dict[str, Any]:
    account = desk.store.account()
    return {
        "unit": desk.store.funds.unit,
        "funded": plain(desk.store.funds.amount),
        "balance": plain(account.balance.amount),
        "reserved": plain(account.reserved.amount),
        "spent": plain(account.spent.amount),
    }


def _task(desk: Desk, job: Job) -> dict[str, Any]:
    state, order = desk.store.state(job), job.order
    has_ended = state in {JobState.COMPLETED, JobState.FAILED}
    return {
        "provider": desk.provider,
        "id": job.id,
        "key": order.key,
        "client_request_id": order.client_request_id,
        "prompt": order.prompt,
        "model": order.body["model"],
        "action": order.action,
        "script": list(order.script),
        "state": state,
        "quoted": plain(order.reserved.amount),
        "charged": plain(job.charged.amount),
        "unit": order.cost.unit,
        "times_charged": job.times_charged,
        "accepted_at": _instant(job.created_at),
        "ended_at": _instant(job.ended_at(state)) if has_ended else None,
        "polls": job.polls,
        "downloads": job.downloads,
        "callbacks": [_delivery(delivery) for delivery in job.deliveries],
    }


def _delivery(delivery: Delivery) -> dict[str, str]:
    return {
        "url": delivery.url,
        "state": delivery.state,
        "at": _instant(delivery.at),
        "outcome": delivery.outcome,
    }


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _csv(lines: list[dict[str, str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, STATEMENT_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
