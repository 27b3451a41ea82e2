"""Refusals by the gateway itself, in the error format of the provider.

So each client raises its usual error. Inside is the same problem for everyone, in the terms of RFC
9457: which limit, the requested amount, what is left, when it frees and what would fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.responses import Response

from kling_ledger import errors
from kling_ledger.gateway.guard import ForeignError
from kling_ledger.gateway.paths import PathError
from kling_ledger.gateway.reading import LargeError, LateError
from kling_ledger.jobs.fitting import Fit
from kling_pricing import errors as pricing_errors
from kling_pricing.errors import KlingError
from kling_pricing.money import Money

_PASSES: Final = 503
_AGAIN_S: Final = 5

_STATUSES: Final[tuple[tuple[type[KlingError], int], ...]] = (
    (errors.TokenError, 401),
    (PathError, 400),
    (ForeignError, 403),
    (errors.ModelNotAllowedError, 403),
    (errors.ProjectNotAllowedError, 403),
    (errors.LabelNotAllowedError, 403),
    (errors.RunNeededError, 400),
    (errors.RefusedError, 402),
    (errors.KeyUsedError, 409),
    (errors.ConflictError, 409),
    (errors.WalletKeptError, 409),
    (errors.StateError, 409),
    (errors.NotFoundError, 404),
    (errors.LedgerError, 503),
    (LateError, 408),
    (LargeError, 413),
    (errors.ConfigError, 400),
    (errors.JobRefusedError, 502),
    (errors.ProviderError, 504),
    (pricing_errors.PricingError, 422),
)
"""HTTP statuses by class, first match wins; anything else is an internal error."""

_TITLES: Final[Mapping[int, str]] = {
    400: "The request cannot be forwarded",
    401: "No valid token",
    402: "Refused by a spending limit",
    403: "Not allowed for this caller",
    404: "Not found",
    408: "The request came too slowly",
    409: "Conflict with another request",
    413: "The request is too large",
    422: "The job cannot be priced or run",
    502: "The provider could not be reached",
    503: "The ledger cannot be reached",
    504: "No clear answer from the provider",
}
_TERMS: Final = {
    "limit": ("limit", "ceiling", "most"),
    "spent": ("spent",),
    "reserved": ("reserved",),
    "asked": ("asked", "needed", "cost"),
    "left": ("left", "available"),
    "would_fit": ("fits",),
}
"""The name of each fact in a problem, and its names in our errors."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal before it is written: its HTTP status, its error, and when to ask again.

    `fit` is what would be admitted, if that was computed.
    """

    status: int
    error: KlingError
    retry_after_s: int | None = None
    fit: Fit | None = None

    def terms(self, status: int) -> dict[str, Any]:
        """Return the problem in the terms of RFC 9457; amounts are texts with their unit.

        `status` is the provider's own status for it.
        """
        error = self.error
        told: dict[str, Any] = {
            "type": f"urn:kling-ledger:{error.code}",
            "title": _TITLES.get(self.status, "The gateway cannot do this"),
            "status": status,
            "detail": error.message,
            "code": error.code,
            "retryable": error.retryable,
        }
        for name, known_as in _TERMS.items():
            amounts = (getattr(error, one, None) for one in known_as)
            amount = next((one for one in amounts if isinstance(one, Money)), None)
            if amount is not None:
                told[name] = str(amount)
        if self.fit is not None:
            told["would_fit"] = self.fit.as_dict()
        frees_at = getattr(error, "frees_at", None)
        if isinstance(frees_at, datetime):
            told["resets_at"] = frees_at.isoformat().replace("+00:00", "Z")
        for name in ("approval", "command"):
            if isinstance(text := getattr(error, name, None), str):
                told[name] = text
        if error.hint:
            told["next_step"] = error.hint
        return told


def problem_of(error: KlingError, *, now: datetime, fit: Fit | None = None) -> Problem:
    """Return the problem of an error."""
    status = status_of(type(error))
    return Problem(status, error, _retry_after_s(error, status, now), fit)


def status_of(kind: type[KlingError]) -> int:
    """Return the HTTP status of a class of errors."""
    return next((code for family, code in _STATUSES if issubclass(kind, family)), 500)


def refusal(provider: str, problem: Problem) -> Response:
    """Write a problem in the provider's error format."""
    reply = _WRITERS[provider](problem)
    if problem.retry_after_s is not None:
        reply.headers["Retry-After"] = str(problem.retry_after_s)
    return reply


def _retry_after_s(error: KlingError, status: int, now: datetime) -> int | None:
    """Return the seconds until the request may be admitted, None if waiting does not help."""
    if isinstance(error, errors.BudgetError) and error.frees_at is not None:
        # An amount above the whole limit fits in no window.
        is_of_use = error.asked <= error.limit
        return max(1, round((error.frees_at - now).total_seconds())) if is_of_use else None
    return _AGAIN_S if status == _PASSES else None


def _message(problem: Problem) -> str:
    """Put everything into one text: many agents read only that."""
    error = problem.error
    command = getattr(error, "command", None)
    parts = [error.message, error.hint, command and f"a person runs: {command}"]
    if problem.fit is not None:
        parts.append(f"would fit: {', '.join(problem.fit.told)}")
    return "; ".join(part for part in parts if part)


def _runapi(problem: Problem) -> Response:
    error = {"code": problem.error.code, "message": _message(problem)}
    return _json({"error": {**error, "problem": problem.terms(problem.status)}}, problem.status)


def _crun(problem: Problem) -> Response:
    code = {400: 422, 408: 422, 409: 422, 413: 422}.get(problem.status, problem.status)
    content = {"code": code, "message": _message(problem), "data": None}
    return _json({**content, "problem": problem.terms(code)}, 200)


def _evolink(problem: Problem) -> Response:
    # After 502 the provider's client resends a job, which may have been accepted.
    status = {408: 400, 409: 400, 422: 400, 504: 500}.get(problem.status, problem.status)
    error = {
        "code": problem.error.code,
        "message": _message(problem),
        "type": _EVOLINK_TYPES.get(status, "internal_server_error"),
        "param": None,
        "fallback_suggestion": problem.error.hint,
        "problem": problem.terms(status),
    }
    return _json({"error": error}, status)


def _uniall(problem: Problem) -> Response:
    kind = "server_error" if problem.status >= 500 else "invalid_request_error"
    error = {"message": _message(problem), "type": kind, "code": problem.error.code}
    return _json({"error": {**error, "problem": problem.terms(problem.status)}}, problem.status)


def _json(content: Any, status: int) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


_WRITERS: Final[Mapping[str, Callable[[Problem], Response]]] = {
    "runapi": _runapi,
    "crun": _crun,
    "evolink": _evolink,
    "uniall": _uniall,
}
_EVOLINK_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large_error",
    502: "upstream_error",
    503: "service_unavailable_error",
}
"""Source: https://docs.evolink.ai error codes, checked 2026-11-20."""
