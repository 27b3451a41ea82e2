"""RunAPI, through its own published client `runapi.kling.KlingClient`.

The client sends and checks; its errors are translated here, once. What its answers mean is defined
in `words.py`.

Source: the packages runapi-core 0.10.1 and runapi-kling 0.5.1, and
https://runapi.ai/zh-CN/openclaw-kling.md, checked 2026-11-20.
"""

from __future__ import annotations

import json
from collections.abc import Callable
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
from kling_ledger.providers.attempts import Attempts
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
    NOT_FOUND,
    Json,
    Verdict,
    amount_of,
    asked_pause_s,
    inner,
    read_task_id,
)
from kling_ledger.providers.runapi.client import (
    EitherReply,
    address_of,
    as_json,
    close,
    secret_of,
    tries_of,
    understandable,
    without,
)
from kling_ledger.providers.runapi.facts import FACTS as RUNAPI
from kling_ledger.providers.runapi.words import (
    ACTIONS,
    STATES,
    VERDICTS,
    answer_of,
    has_arrived_perhaps,
    is_worth_repeating,
    read_callback,
    read_task,
    task_named_by,
)
from kling_ledger.providers.shared import (
    EVERY_MODEL,
    facts_of,
    in_address,
    missing_estimate,
    without_key,
)
from kling_ledger.providers.surroundings import naming_the_variable
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
"""How long one call may take for a client that `connect` makes."""

_CENTS: Final = 100


def connect(
    api_key: str,
    *,
    base_url: str = DEFAULT_BASE_URL,
    timeout_s: float = CALL_TIMEOUT_S,
    pacing: Pacing | None = None,
) -> RunApi:
    """Return RunAPI as a provider. The key is passed to the client and kept nowhere else."""
    with naming_the_variable():
        client = KlingClient(api_key=api_key, base_url=base_url, timeout=timeout_s)
    bound(client._http._client, timeout_s)
    return RunApi(client, pacing=pacing or Pacing())


@dataclass(frozen=True, slots=True)
class RunApi:
    """RunAPI behind a KlingClient; `options` are the caller's own for each request."""

    client: KlingClient
    options: RequestOptions | None = None
    pacing: Pacing = field(default_factory=Pacing)
    missing: set[str] = field(default_factory=set, repr=False, compare=False)
    """The models that RunAPI turned out to have no estimate for."""

    @property
    def facts(self) -> ProviderFacts:
        """What is known of RunAPI, updated by its answers."""
        return facts_of(RUNAPI, self.missing)

    @property
    def name(self) -> str:
        """`runapi`."""
        return RUNAPI.name

    @property
    def address(self) -> str:
        """Where the client reaches RunAPI, or would if it used its own transport."""
        return address_of(self.client)

    @property
    def repeats_safely(self) -> bool:
        """True: RunAPI answers a known Idempotency-Key with the task that it already started."""
        return RUNAPI.takes_key

    def fingerprint(self, secret: str) -> str | None:
        """Return the fingerprint of the client's API key; None if the key is not accessible."""
        return self._secret.fingerprint(secret, self.name) if self._secret else None

    def close(self) -> None:
        """Close the client's connections: it has no public way to do that."""
        close(self.client)

    def check(self, body: dict[str, Any]) -> None:
        """Raise RequestError if RunAPI could not call the body's `callback_url`."""
        check_callback_url(RUNAPI, body, address=self.address)

    def submit(self, action: str, body: dict[str, Any], *, key: str) -> Submission:
        """Create a task under an Idempotency-Key, retrying a few times if that may help."""
        resource = self._resource(action, JobRefusedError)
        self._refuse_unsendable(body)
        options = self._options({"Idempotency-Key": key, "X-Client-Request-Id": key})
        may_have_arrived = False
        attempts = Attempts(self.pacing, most=self._tries)
        while True:
            try:
                reply = resource.create(options=options, **body)
                return Submission(self._task_id(reply), reply)
            except ProviderError:
                raise
            except Exception as error:
                named = resource._http.task_id or task_named_by(error)
                if named is not None:
                    reply = resource._coerce_response({"id": named, "status": "pending"})
                    return Submission(self._task_id(reply), reply)
                if not isinstance(error, Error):
                    # The client lets errors of its own libraries through, such as for a body nested
                    # too deeply.
                    problem = f"the reply to the submission cannot be read: {type(error).__name__}"
                    raise JobInDoubtError(self.name, problem) from error
                self._hide_key(error)
                may_have_arrived = may_have_arrived or has_arrived_perhaps(error)
                if not is_worth_repeating(error) or not attempts.pause(self._asked_s(error)):
                    raise self._verdict(error, may_have_arrived=may_have_arrived) from error

    def poll(self, action: str, task_id: str, *, is_patient: bool = True) -> TaskStatus:
        """Poll a task."""
        resource = self._resource(action, PollError)
        if read_task_id(task_id) is None:
            raise PollError(self.name, "not a valid task id", is_final=True)
        try:
            reply = self._asked(
                lambda: resource.get(in_address(task_id), options=self._options({})),
                PollError,
                is_patient=is_patient,
            )
        except ValidationError as error:
            # The client itself rejects a reply that it does not understand.
            return TaskStatus(TaskState.UNKNOWN, problem=self._told(error))
        return self._status(reply, task_id)

    def balance(self) -> Balance:
        """Return what the account holds."""
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
        """Return what RunAPI would reserve for a body. No task is created."""
        params = {name: v for name, v in body.items() if name not in {"model", "callback_url"}}
        model = str(body.get("model"))
        if self.missing & {EVERY_MODEL, model}:
            raise NoAnswerError(self.name, "it has no estimate", is_final=True)
        reply = self._understood(
            lambda: self.client.pricing.create_quote(
                service="kling",
                action=action,
                model=body.get("model"),
                params=params,
                options=self._options({}),
            ),
            is_no_use=lambda error: self._has_no_estimate(error, model),
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
        """Return the task's id; a reply without one may mean that a job is running."""
        task_id = read_task_id(reply["id"] if isinstance(reply, BaseModel) else None)
        if task_id is None:
            raise JobInDoubtError(self.name, "the reply to the submission has no task id")
        if self._secret is not None and self._secret.is_in(task_id):
            raise JobInDoubtError(self.name, "the task id in the reply contains the API key")
        return task_id

    def _resource(
        self, action: str, kind: Callable[[str, str], JobRefusedError | PollError]
    ) -> Any:
        """Return the client's resource for an action, able to read either form of create reply."""
        if action not in ACTIONS:
            raise kind(self.name, f"unknown action {action}")
        resource = getattr(self.client, action)
        # The client's own check rejects the reply shown on RunAPI's page: a job that was already
        # taken would be lost.
        return type(resource)(EitherReply(self.client._http))

    def _refuse_unsendable(self, body: dict[str, Any]) -> None:
        try:
            self.check(body)
            json.dumps(body, allow_nan=False)
        except (RequestError, TypeError, ValueError, RecursionError) as error:
            raise JobRefusedError(self.name, str(error)) from error

    def _options(self, headers: dict[str, str]) -> RequestOptions:
        given = self.options or RequestOptions()
        return RequestOptions(
            headers={**without(given.headers, headers), **headers},
            timeout=given.timeout,
            max_retries=0,
        )

    def _asked(
        self,
        ask: Callable[[], Any],
        kind: type[QuestionError],
        *,
        is_patient: bool = True,
        is_no_use: Callable[[Error], bool] = lambda _: False,
    ) -> BaseModel:
        """Retry until there is an answer, a refusal, or no attempt left."""
        attempts = Attempts(self.pacing, most=self._tries if is_patient else 1)
        while True:
            try:
                return understandable(ask())
            except Error as error:
                self._hide_key(error)
                if isinstance(error, ValidationError) and error.status is None:
                    raise
                may_help = not is_no_use(error) and is_worth_repeating(error)
                if not may_help or not attempts.pause(self._asked_s(error)):
                    raise self._unanswered(error, kind) from error
            except Exception as error:
                raise kind(self.name, f"no readable reply: {type(error).__name__}") from error

    def _understood(
        self, ask: Callable[[], Any], *, is_no_use: Callable[[Error], bool] = lambda _: False
    ) -> Json:
        """Return an answer as JSON; the client checks replies and reports what is missing."""
        try:
            reply = self._asked(ask, NoAnswerError, is_no_use=is_no_use)
        except ValidationError as error:
            raise self._unread(error) from error
        return as_json(reply)

    def _unread(self, error: Exception) -> NoAnswerError:
        return NoAnswerError(self.name, self._hidden(f"the reply cannot be read: {error}"))

    def _unanswered(self, error: Error, kind: type[QuestionError]) -> QuestionError:
        if kind is PollError and error.status == NOT_FOUND:
            asked_s = self._asked_s(error)
            return PollError(self.name, self._told(error), is_missing=True, retry_after_s=asked_s)
        return kind(
            self.name,
            self._told(error),
            is_final=VERDICTS.get(error.status or 0) is Verdict.REFUSED,
            hint=RUNAPI.hint_for(error.status),
            retry_after_s=self._asked_s(error),
        )

    def _status(self, reply: BaseModel, task_id: str) -> TaskStatus:
        if reply["id"] not in (None, task_id):
            return TaskStatus(TaskState.UNKNOWN, problem="the reply is for another task")
        now = self.pacing.now()
        told = replace(
            read_task(as_json(reply), now=now),
            retry_after_s=asked_pause_s(reply.response_headers, now=now),
            reply=reply,
        )
        return without_key(told, self._secret, self.address)

    def _has_no_estimate(self, error: Error, model: str) -> bool:
        missing = missing_estimate(answer_of(error), error.status or 0, model)
        if missing is not None:
            self.missing.add(missing)
        return missing is not None

    @property
    def _tries(self) -> int:
        """How often the same request is sent at most: as the caller says, or else the client."""
        return tries_of(self.client, self.options)

    def _verdict(self, error: Error, *, may_have_arrived: bool) -> ProviderError:
        """Return what a failed submission means: definitely refused, or unknown."""
        told = self._told(error)
        if may_have_arrived:
            return JobInDoubtError(self.name, f"no clear answer to the submission: {told}")
        if error.status is None:
            problem = f"could not be reached: {told}"
            return JobRefusedError(self.name, problem, retryable=True, is_unreached=True)
        return JobRefusedError(
            self.name,
            told,
            hint=RUNAPI.hint_for(error.status),
            retryable=VERDICTS.get(error.status) is Verdict.LATER,
            retry_after_s=self._asked_s(error),
            status=error.status,
        )

    def _asked_s(self, error: Error) -> float | None:
        return asked_pause_s(error.response_headers, now=self.pacing.now())

    def _told(self, error: Error) -> str:
        status = f"{error.status} " if error.status else ""
        cause = error.__context__
        own = in_words(cause) if error.status is None and isinstance(cause, Exception) else ""
        return self._hidden(f"{status}{own or error.message or type(error).__name__}")

    def _hide_key(self, error: Error) -> None:
        """Remove the key from the client's own error, which a caller may see as the cause."""
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
        return secret_of(self.client)
