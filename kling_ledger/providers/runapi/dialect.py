"""RunAPI, through its own published client `runapi.kling.KlingClient`.

The client sends and checks; its errors are translated here, once. What its words mean stands in
`runapi_dialect`.

Source: the packages runapi-core 0.10.1 and runapi-kling 0.5.1, and
https://runapi.ai/zh-CN/openclaw-kling.md, checked 2026-11-20.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from runapi.core import BaseModel, Error, RequestOptions, ValidationError
from runapi.core.response import ResponseHeaders
from runapi.kling import KlingClient

from kling_ledger.errors import (
    JobInDoubtError,
    JobRefusedError,
    NoAnswerError,
    PollError,
    ProviderError,
    QuestionError,
)
from kling_ledger.providers.attempts import ATTEMPTS, Attempts
from kling_ledger.providers.base import (
    Balance,
    Callback,
    Estimate,
    Pacing,
    Submission,
    TaskState,
    TaskStatus,
)
from kling_ledger.providers.callback_rules import check_callback_url
from kling_ledger.providers.facts import ProviderFacts
from kling_ledger.providers.http import Secret, bound, in_words
from kling_ledger.providers.replies import (
    Json,
    Verdict,
    amount_of,
    asked_pause_s,
    inner,
    read_task_id,
)
from kling_ledger.providers.runapi.facts import FACTS as RUNAPI
from kling_ledger.providers.runapi.words import (
    ACTIONS,
    STATES,
    VERDICTS,
    has_arrived_perhaps,
    is_worth_repeating,
    read_callback,
    read_task,
)
from kling_pricing.errors import AmountError, RequestError, on_one_line

__all__ = [
    "ACTIONS",
    "CALL_TIMEOUT_S",
    "DEFAULT_BASE_URL",
    "KEY_VARIABLE",
    "STATES",
    "VERDICTS",
    "RunApi",
    "connect",
    "read_callback",
    "read_task",
]

DEFAULT_BASE_URL: Final = RUNAPI.base_url
KEY_VARIABLE: Final = RUNAPI.key_variable

CALL_TIMEOUT_S: Final = 60
"""How long one call may take, of a client that `connect` makes."""

_CENTS: Final = 100


def connect(
    api_key: str,
    *,
    base_url: str = DEFAULT_BASE_URL,
    timeout_s: float = CALL_TIMEOUT_S,
    pacing: Pacing | None = None,
) -> RunApi:
    """Return RunAPI as a provider. The key is handed to the client and kept nowhere else."""
    client = KlingClient(api_key=api_key, base_url=base_url, timeout=timeout_s)
    bound(client._http._client, timeout_s)
    return RunApi(client, pacing=pacing or Pacing())


@dataclass(frozen=True, slots=True)
class RunApi:
    """RunAPI behind a KlingClient; `options` are the caller's own for each request."""

    client: KlingClient
    options: RequestOptions | None = None
    pacing: Pacing = field(default_factory=Pacing)

    @property
    def facts(self) -> ProviderFacts:
        """What is known of RunAPI before anything is sent."""
        return RUNAPI

    @property
    def name(self) -> str:
        """`runapi`."""
        return RUNAPI.name

    @property
    def address(self) -> str:
        """Where the client reaches RunAPI."""
        return str(self.client._http._options.base_url).rstrip("/")

    @property
    def repeats_safely(self) -> bool:
        """True: RunAPI answers a known Idempotency-Key with the task that it already started."""
        return RUNAPI.takes_key

    def fingerprint(self, secret: str) -> str | None:
        """Return the fingerprint of the client's API key, None where it does not tell its key."""
        return self._secret.fingerprint(secret, self.name) if self._secret else None

    def close(self) -> None:
        """Close the client's connections, which it has no public way to do itself."""
        self.client._http.close()

    def check(self, body: dict[str, Any]) -> None:
        """Raise RequestError where RunAPI could not call the body's `callback_url`."""
        check_callback_url(RUNAPI, body, address=self.address)

    def submit(self, action: str, body: dict[str, Any], *, key: str) -> Submission:
        """Create a task under an Idempotency-Key, asking again a few times where that may help."""
        resource = self._resource(action, JobRefusedError)
        self._refuse_unsendable(body)
        options = self._options({"Idempotency-Key": key, "X-Client-Request-Id": key})
        may_have_arrived = False
        attempts = Attempts(self.pacing)
        while True:
            try:
                reply = resource.create(options=options, **body)
                return Submission(self._task_id(reply), reply)
            except ProviderError:
                raise
            except Error as error:
                self._hide_key(error)
                may_have_arrived = may_have_arrived or has_arrived_perhaps(error)
                if not is_worth_repeating(error) or not attempts.pause(self._asked_s(error)):
                    raise self._verdict(error, may_have_arrived=may_have_arrived) from error
            except Exception as error:
                # The client lets errors of its parts through, such as a body nested too deep.
                problem = f"the reply to the submission cannot be read: {type(error).__name__}"
                raise JobInDoubtError(self.name, problem) from error

    def poll(self, action: str, task_id: str, *, is_patient: bool = True) -> TaskStatus:
        """Ask for a task."""
        resource = self._resource(action, PollError)
        if read_task_id(task_id) is None:
            raise PollError(self.name, "that is no id of a task", is_final=True)
        try:
            reply = self._asked(
                lambda: resource.get(task_id, options=self._options({})),
                PollError,
                is_patient=is_patient,
            )
        except ValidationError as error:
            # The client itself refuses a reply that it does not understand.
            return TaskStatus(TaskState.UNKNOWN, problem=self._told(error))
        return self._status(reply, task_id)

    def balance(self) -> Balance:
        """Ask what the account holds."""
        account = self.client.account
        reply = self._understood(lambda: account.balance(options=self._options({})))
        try:
            return Balance(
                amount_of(inner(reply, "balance_cents"), RUNAPI.unit, per_unit=_CENTS),
                spent=amount_of(inner(reply, "spent_cents_total"), RUNAPI.unit, per_unit=_CENTS),
            )
        except AmountError as error:
            raise self._unread(error) from None

    def estimate(self, action: str, body: dict[str, Any]) -> Estimate:
        """Ask what RunAPI would reserve for a body. No task is created."""
        params = {name: v for name, v in body.items() if name not in {"model", "callback_url"}}
        reply = self._understood(
            lambda: self.client.pricing.create_quote(
                service="kling",
                action=action,
                model=body.get("model"),
                params=params,
                options=self._options({}),
            )
        )
        quoted = inner(reply, "price_quote")
        if inner(quoted, "pricing_status") != "available" or inner(quoted, "currency") != "USD":
            raise NoAnswerError(self.name, "no price in USD is available", is_final=True)
        try:
            cents = inner(quoted, "reservation_amount_cents")
            return Estimate(amount_of(cents, RUNAPI.unit, per_unit=_CENTS))
        except AmountError as error:
            raise self._unread(error) from None

    def read_callback(self, payload: bytes) -> Callback:
        """Read what RunAPI posted."""
        return read_callback(payload, now=self.pacing.now())

    def _task_id(self, reply: Any) -> str:
        """Return the task's id; a reply that names none leaves a job that may well be running."""
        task_id = read_task_id(reply["id"] if isinstance(reply, BaseModel) else None)
        if task_id is None:
            raise JobInDoubtError(self.name, "the reply to the submission names no task")
        return task_id

    def _resource(
        self, action: str, kind: Callable[[str, str], JobRefusedError | PollError]
    ) -> Any:
        """Return the client's resource for an action, able to read either create reply."""
        if action not in ACTIONS:
            raise kind(self.name, f"there is no action {action}")
        resource = getattr(self.client, action)
        # The client has no public way to see a reply before it is checked, and its check refuses
        # the reply that RunAPI's own page shows: a job would be lost that was already taken.
        return type(resource)(_EitherReply(self.client._http))

    def _refuse_unsendable(self, body: dict[str, Any]) -> None:
        try:
            self.check(body)
            json.dumps(body, allow_nan=False)
        except (RequestError, TypeError, ValueError, RecursionError) as error:
            raise JobRefusedError(self.name, str(error)) from error

    def _options(self, headers: dict[str, str]) -> RequestOptions:
        given = self.options or RequestOptions()
        return RequestOptions(
            headers={**_without(given.headers, headers), **headers},
            timeout=given.timeout,
            max_retries=0,
        )

    def _asked(
        self, ask: Callable[[], Any], kind: type[QuestionError], *, is_patient: bool = True
    ) -> BaseModel:
        """Ask until there is an answer, a refusal, or no attempt left."""
        attempts = Attempts(self.pacing, most=ATTEMPTS if is_patient else 1)
        while True:
            try:
                return _understandable(ask())
            except Error as error:
                self._hide_key(error)
                if isinstance(error, ValidationError) and error.status is None:
                    raise
                if not is_worth_repeating(error) or not attempts.pause(self._asked_s(error)):
                    raise self._unanswered(error, kind) from error
            except Exception as error:
                raise kind(self.name, f"no readable reply: {type(error).__name__}") from error

    def _understood(self, ask: Callable[[], Any]) -> Json:
        """Return an answer as JSON; the client checks replies, and says what it misses."""
        try:
            reply = self._asked(ask, NoAnswerError)
        except ValidationError as error:
            raise self._unread(error) from error
        return _as_json(reply)

    def _unread(self, error: Exception) -> NoAnswerError:
        return NoAnswerError(self.name, self._hidden(f"the reply cannot be read: {error}"))

    def _unanswered(self, error: Error, kind: type[QuestionError]) -> QuestionError:
        return kind(
            self.name,
            self._told(error),
            is_final=VERDICTS.get(error.status or 0) is Verdict.REFUSED,
            hint=RUNAPI.hint_for(error.status),
            retry_after_s=self._asked_s(error),
        )

    def _status(self, reply: BaseModel, task_id: str) -> TaskStatus:
        if reply["id"] not in (None, task_id):
            return TaskStatus(TaskState.UNKNOWN, problem="the reply is of another task")
        now = self.pacing.now()
        status = read_task(_as_json(reply), now=now)
        return replace(
            status,
            problem=status.problem and self._hidden(status.problem),
            retry_after_s=asked_pause_s(reply.response_headers, now=now),
            reply=reply,
        )

    def _verdict(self, error: Error, *, may_have_arrived: bool) -> ProviderError:
        """Say what a failed submission means: refused for certain, or nobody knows."""
        told = self._told(error)
        if may_have_arrived:
            return JobInDoubtError(self.name, f"no clear answer to the submission: {told}")
        if error.status is None:
            return JobRefusedError(self.name, f"could not be reached: {told}", retryable=True)
        return JobRefusedError(
            self.name,
            told,
            hint=RUNAPI.hint_for(error.status),
            retryable=VERDICTS.get(error.status) is Verdict.LATER,
            retry_after_s=self._asked_s(error),
        )

    def _asked_s(self, error: Error) -> float | None:
        return asked_pause_s(error.response_headers, now=self.pacing.now())

    def _told(self, error: Error) -> str:
        status = f"{error.status} " if error.status else ""
        cause = error.__context__
        own = in_words(cause) if error.status is None and isinstance(cause, Exception) else ""
        return self._hidden(f"{status}{error.message or own or type(error).__name__}")

    def _hide_key(self, error: Error) -> None:
        """Take the key out of the client's own error, which a caller may see as the cause."""
        key = self._secret.value if self._secret else None
        if (
            key is None
            or key not in f"{error.message} {error.details} {dict(error.response_headers)}"
        ):
            return
        error.message = self._hidden(str(error.message))
        error.args = (error.message,)
        error.details, error.response_headers = None, ResponseHeaders()

    def _hidden(self, text: str) -> str:
        return self._secret.hidden_in(text) if self._secret else on_one_line(text)

    @property
    def _secret(self) -> Secret | None:
        options = getattr(self.client._http, "_options", None)
        key = getattr(options, "api_key", None)
        return Secret(key) if key else None


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


def _understandable(reply: object) -> BaseModel:
    """Return a reply that is a JSON object; the client lets others through, and texts too."""
    if not isinstance(reply, BaseModel):
        raise Error("the reply is no JSON object")
    return reply


def _as_json(reply: BaseModel) -> Json:
    found: Json = reply.to_dict()
    return found


def _without(headers: Mapping[str, str] | None, names: Mapping[str, str]) -> dict[str, str]:
    replaced = {name.lower() for name in names}
    return {name: text for name, text in (headers or {}).items() if name.lower() not in replaced}
