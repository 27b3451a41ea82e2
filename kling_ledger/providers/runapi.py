"""RunAPI, through its own published client `runapi.kling.KlingClient`.

Source: the packages runapi-core 0.10.1 and runapi-kling 0.5.1, and
https://runapi.ai/zh-CN/openclaw-kling.md, checked 2026-11-20.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
from runapi.core import (
    BaseModel,
    Error,
    RateLimitError,
    RequestOptions,
    ValidationError,
)
from runapi.kling import KlingClient

from kling_ledger.errors import JobInDoubtError, JobRefusedError, PollError, ProviderError
from kling_ledger.providers.base import Submission, TaskState, TaskStatus
from kling_pricing.clip import ACTIONS
from kling_pricing.errors import AmountError, on_one_line
from kling_pricing.money import USD, Money, read_decimal, round_to

DEFAULT_BASE_URL: Final = "https://runapi.ai"
KEY_VARIABLE: Final = "RUNAPI_API_KEY"

CALL_TIMEOUT_S: Final = 60
"""How long one call may take, of a client that `connect` makes."""
_ATTEMPTS: Final = 3
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0

# With these answers RunAPI has not taken the job. 408 and 409 are not among them: after 408 the
# request may still have been read, and 409 says that something was taken under the same key.
_REFUSALS: Final = frozenset({400, 401, 402, 403, 404, 405, 410, 413, 415, 422, 429})
_WORTH_REPEATING: Final = frozenset({429, 500, 502, 503, 504})
_STATES: Final[Mapping[str, TaskState]] = {
    "pending": TaskState.RUNNING,
    "processing": TaskState.RUNNING,
    "completed": TaskState.COMPLETED,
    "failed": TaskState.FAILED,
}
_TASK_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}")
_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
)
_HINTS: Final[Mapping[int, str]] = {
    401: f"check {KEY_VARIABLE}",
    402: "top up the RunAPI account: this is the provider's balance, not the wallet's",
}


def connect(
    api_key: str, *, base_url: str = DEFAULT_BASE_URL, timeout_s: int = CALL_TIMEOUT_S
) -> RunApi:
    """Return RunAPI as a provider. The key is handed to the client and kept nowhere else."""
    return RunApi(KlingClient(api_key=api_key, base_url=base_url, timeout=timeout_s))


@dataclass(frozen=True, slots=True)
class RunApi:
    """RunAPI behind a KlingClient; `options` are the caller's own for each request."""

    client: KlingClient
    options: RequestOptions | None = None
    sleep: Callable[[float], None] = time.sleep

    @property
    def name(self) -> str:
        """`runapi`."""
        return "runapi"

    @property
    def address(self) -> str:
        """Where the client reaches RunAPI."""
        return str(self.client._http._options.base_url).rstrip("/")

    @property
    def repeats_safely(self) -> bool:
        """True: RunAPI answers a known Idempotency-Key with the task that it already started."""
        return True

    def close(self) -> None:
        """Close the client's connections, which it has no public way to do itself."""
        self.client._http.close()

    def submit(self, action: str, body: dict[str, Any], *, key: str) -> Submission:
        """Create a task under an Idempotency-Key, asking again a few times where that may help."""
        options = self._options({"Idempotency-Key": key, "X-Client-Request-Id": key}, retries=0)
        may_have_arrived = False
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                reply = self._resource(action).create(options=options, **body)
                return Submission(self._task_id(reply), reply)
            except Error as error:
                may_have_arrived = may_have_arrived or _may_have_arrived(error)
                if attempt == _ATTEMPTS or not _is_worth_repeating(error):
                    raise self._verdict(error, may_have_arrived=may_have_arrived) from error
                self.sleep(_pause_s(attempt, error))
            except httpx.HTTPError as error:
                # The client lets some errors of its transport through, such as a broken body.
                problem = f"the reply to the submission cannot be read: {type(error).__name__}"
                raise JobInDoubtError(self.name, problem) from error
        raise AssertionError("the loop returns or raises")

    def poll(self, action: str, task_id: str) -> TaskStatus:
        """Ask for a task once."""
        try:
            reply = self._resource(action).get(task_id, options=self._options({}, retries=0))
        except ValidationError as error:
            if error.status is None:
                # The client itself refuses a state word that it does not know.
                return TaskStatus(TaskState.UNKNOWN, problem=self._told(error))
            raise self._poll_error(error) from error
        except Error as error:
            raise self._poll_error(error) from error
        except httpx.HTTPError as error:
            raise PollError(self.name, f"no readable reply: {type(error).__name__}") from error
        return self._status(reply, task_id)

    def _task_id(self, reply: Any) -> str:
        """Return the task's id; a reply that names none leaves a job that may well be running."""
        task_id = reply["id"] if isinstance(reply, BaseModel) else None
        if not isinstance(task_id, str) or not _TASK_ID.fullmatch(task_id):
            raise JobInDoubtError(self.name, "the reply to the submission names no task")
        return task_id

    def _resource(self, action: str) -> Any:
        """Return the client's resource for an action, able to read either create reply."""
        if action not in ACTIONS:
            raise JobRefusedError(self.name, f"there is no action {action}")
        resource = getattr(self.client, action)
        # The client has no public way to see a reply before it is checked, and its check refuses
        # the reply that RunAPI's own page shows: a job would be lost that was already taken.
        return type(resource)(_EitherReply(self.client._http))

    def _options(self, headers: dict[str, str], *, retries: int) -> RequestOptions:
        given = self.options or RequestOptions()
        return RequestOptions(
            headers={**_without(given.headers, headers), **headers},
            timeout=given.timeout,
            max_retries=retries,
        )

    def _status(self, reply: object, task_id: str) -> TaskStatus:
        if not isinstance(reply, BaseModel) or reply["id"] not in {None, task_id}:
            return TaskStatus(TaskState.UNKNOWN, problem="the reply is of no or another task")
        word = str(reply["status"] or "").lower()
        state = _STATES.get(word, TaskState.UNKNOWN)
        if state is TaskState.UNKNOWN:
            return TaskStatus(state, problem=f"unknown task status {word!r}", reply=reply)
        if state is TaskState.FAILED:
            problem = self._redacted(str(reply["error"] or "no reason given"))
            cost, _ = _settled_cost(reply)
            return TaskStatus(state, cost=cost, problem=problem, reply=reply)
        if state is TaskState.RUNNING:
            retry_after_s = _seconds_or_none(reply.response_header("Retry-After"))
            return TaskStatus(state, retry_after_s=retry_after_s, reply=reply)
        cost, unread = _settled_cost(reply)
        return TaskStatus(state, cost=cost, videos=_videos(reply), problem=unread, reply=reply)

    def _verdict(self, error: Error, *, may_have_arrived: bool) -> ProviderError:
        """Say what a failed submission means: refused for certain, or nobody knows."""
        told = self._told(error)
        if may_have_arrived:
            return JobInDoubtError(self.name, f"no clear answer to the submission: {told}")
        if error.status is None:
            return JobRefusedError(self.name, f"could not be reached: {told}")
        return JobRefusedError(self.name, told, hint=_HINTS.get(error.status))

    def _poll_error(self, error: Error) -> PollError:
        status = error.status
        is_final = status in _REFUSALS and status != 429
        return PollError(self.name, self._told(error), is_final=is_final)

    def _told(self, error: Error) -> str:
        status = f"{error.status} " if error.status else ""
        return self._redacted(f"{status}{error.message or type(error).__name__}")

    def _redacted(self, text: str) -> str:
        options = getattr(self.client._http, "_options", None)
        key = getattr(options, "api_key", None)
        return on_one_line(text.replace(key, "***") if key else text)


@dataclass(frozen=True, slots=True)
class _EitherReply:
    """A transport that gives a reply's `task_id` as its `id` too where only the first is there.

    RunAPI's published page shows `task_id` in the create reply, its client requires `id`.
    """

    transport: Any

    def request(self, method: str, path: str, body: Any = None, options: Any = None) -> Any:
        reply = self.transport.request(method, path, body=body, options=options)
        if isinstance(reply, dict) and "id" not in reply and reply.get("task_id"):
            reply["id"] = reply["task_id"]
        return reply


def _may_have_arrived(error: Error) -> bool:
    """Whether the request may have reached RunAPI: anything but a connection never made."""
    if error.status is not None:
        return error.status not in _REFUSALS
    return not isinstance(error.__context__, _NEVER_SENT)


def _is_worth_repeating(error: Error) -> bool:
    if isinstance(error, ValidationError):
        return False
    return error.status is None or error.status in _WORTH_REPEATING


def _pause_s(attempt: int, error: Error) -> float:
    asked_s: float | None = error.retry_after if isinstance(error, RateLimitError) else None
    if asked_s and asked_s > 0:
        return min(asked_s, _LONGEST_PAUSE_S)
    # Jitter keeps many waiting scripts from asking again in the same instant.
    pause_s: float = _FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311
    return pause_s


def _without(headers: Mapping[str, str] | None, names: Mapping[str, str]) -> dict[str, str]:
    replaced = {name.lower() for name in names}
    return {name: text for name, text in (headers or {}).items() if name.lower() not in replaced}


def _settled_cost(reply: BaseModel) -> tuple[Money | None, str | None]:
    """Return what RunAPI says that it charged, or why that cannot be read."""
    written = reply.dig("usage", "cost")
    if written is None:
        return None, "the reply names no usage.cost"
    try:
        cost = Money(round_to(read_decimal(written)), USD)
    except AmountError as error:
        return None, f"usage.cost cannot be read: {error}"
    if cost.amount < 0:
        return None, f"usage.cost is below zero: {cost}"
    return cost, None


def _videos(reply: BaseModel) -> tuple[str, ...]:
    videos = reply.to_dict().get("videos")
    found = (
        [video.get("url") for video in videos if isinstance(video, dict)]
        if (isinstance(videos, list))
        else []
    )
    return tuple(url for url in found if isinstance(url, str))


def _seconds_or_none(written: str | None) -> float | None:
    try:
        return max(float(written), 0.0) if written else None
    except ValueError:
        return None
