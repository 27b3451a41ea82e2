"""A provider over plain HTTP: the behaviour is shared, a Dialect has the provider's details.

A job is sent once and never again. Polls and other queries cost nothing and are retried a few
times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from ssl import SSLContext
from typing import Any, TypeVar

from kling_ledger.errors import (
    JobInDoubtError,
    JobRefusedError,
    NoAnswerError,
    PollError,
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
from kling_ledger.providers.http import Http, LostError, NotSentError, Reply, Secret
from kling_ledger.providers.replies import (
    NOT_FOUND,
    Answer,
    Json,
    Verdict,
    asked_pause_s,
    error_in,
    is_of_a_request,
    read_posted,
)
from kling_ledger.providers.shared import (
    EVERY_MODEL,
    facts_of,
    in_address,
    missing_estimate,
    without_key,
)
from kling_pricing.errors import AmountError, RequestError
from kling_pricing.money import Money

_Read = TypeVar("_Read")


def _unheard(_: Reply) -> None:
    """Ignore the reply."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to talk to one provider, and what its answers mean.

    `submit_path` and `task_path` may name the `{action}`, and `task_path` the `{task_id}`.
    `verdict` says what an answer means, `told` is its text and `code` its number. `task_in` finds
    the task in an answer, `task_id` its id, and `status` reads it; its links may be relative.
    `estimate_body` makes the body of an estimate from an action and its body. `balance` and
    `estimate` raise AmountError for what they cannot read. The key is sent in `key_header`, after
    `key_scheme`, and shown nowhere.
    """

    facts: ProviderFacts
    submit_path: str
    task_path: str
    verdict: Callable[[Answer], Verdict]
    told: Callable[[Answer], str]
    code: Callable[[Answer], int]
    task_in: Callable[[Answer], Json]
    task_id: Callable[[Json], str | None]
    status: Callable[[Json, datetime], TaskStatus]
    key_header: str = "Authorization"
    key_scheme: str = "Bearer "
    held: Callable[[Json], Money | None] = lambda _: None
    balance_path: str | None = None
    balance: Callable[[Json], Balance] | None = None
    estimate_path: str | None = None
    estimate: Callable[[Json], Estimate] | None = None
    estimate_body: Callable[[str, Json], Json] = lambda _, body: body

    def connect(
        self,
        api_key: str,
        *,
        base_url: str | None = None,
        timeout_s: float = 60.0,
        pacing: Pacing | None = None,
        trust: SSLContext | None = None,
    ) -> HttpProvider:
        """Return the provider behind this dialect, at its own address unless another is given.

        Pass one `trust` to several connections: loading the certificate authorities is slow.
        """
        http = Http(
            base_url or self.facts.base_url,
            header=self.key_header,
            scheme=self.key_scheme,
            secret=Secret(api_key),
            timeout_s=timeout_s,
            trust=trust,
        )
        return HttpProvider(self, http, pacing or Pacing())

    def read_callback(self, payload: bytes, *, now: datetime) -> Callback:
        """Read a callback; its body is the task, as in a poll."""
        return read_posted(
            self.facts.name,
            payload,
            task_id=self.task_id,
            status=lambda task: self.status(task, now),
        )


@dataclass(frozen=True, slots=True)
class HttpProvider:
    """A provider behind a dialect; see `kling_ledger.providers.base.Provider`."""

    dialect: Dialect
    http: Http
    pacing: Pacing
    missing: set[str] = field(default_factory=set, repr=False, compare=False)
    """The models that the provider turned out to have no estimate for."""
    hear: Callable[[Reply], None] = field(default=_unheard, repr=False, compare=False)
    """Gets each reply as received, whatever it means."""

    @property
    def facts(self) -> ProviderFacts:
        """What is known of the provider, updated by its answers."""
        return facts_of(self.dialect.facts, self.missing)

    @property
    def name(self) -> str:
        """The provider's name, as in its price book."""
        return self.facts.name

    @property
    def address(self) -> str:
        """Where the provider is reached."""
        return self.http.address

    @property
    def repeats_safely(self) -> bool:
        """Whether a submission may be sent again under the same key."""
        return self.facts.takes_key

    def fingerprint(self, secret: str) -> str:
        """Return the fingerprint of the API key under a ledger's secret."""
        return self.http.secret.fingerprint(secret, self.name)

    def close(self) -> None:
        """Close all connections."""
        self.http.close()

    def check(self, body: dict[str, Any]) -> None:
        """Raise RequestError if the provider could not call the body's `callback_url`."""
        check_callback_url(self.facts, body, address=self.address)

    def submit(self, action: str, body: dict[str, Any], *, key: str) -> Submission:
        """Send a job once, whatever comes back; with its key, if the provider takes one."""
        path = self.dialect.submit_path.format(action=in_address(action))
        keyed = {"Idempotency-Key": key, "X-Client-Request-Id": key} if self.facts.takes_key else {}
        try:
            self.check(body)
            reply = self.http.submit(path, body, headers=keyed)
        except RequestError as error:
            raise JobRefusedError(self.name, str(error)) from error
        except NotSentError as error:
            raise self._not_reached(error) from error
        except LostError as error:
            problem = f"no clear answer to the submission: {error}"
            raise JobInDoubtError(self.name, problem) from error
        self.hear(reply)
        return self._submission(Answer.of(reply))

    def poll(self, action: str, task_id: str, *, is_patient: bool = True) -> TaskStatus:
        """Poll a task."""
        path = self.dialect.task_path.format(action=in_address(action), task_id=in_address(task_id))
        return self.understood(
            task_id, self._asked("GET", path, None, PollError, is_patient=is_patient)
        )

    def understood(self, task_id: str, answer: Answer) -> TaskStatus:
        """Return what the answer to a poll says of its task."""
        task = self.dialect.task_in(answer)
        now = self.pacing.now()
        if self.dialect.task_id(task) == task_id:
            status = self.dialect.status(task, now)
        else:
            status = TaskStatus(
                TaskState.UNKNOWN, problem="the reply is for another task, or for none"
            )
        told = replace(status, retry_after_s=asked_pause_s(answer.headers, now=now), reply=task)
        return without_key(told, self.http.secret, self.address)

    def balance(self) -> Balance:
        """Return what the account holds."""
        path, read = self.dialect.balance_path, self.dialect.balance
        if path is None or read is None:
            raise NoAnswerError(self.name, "it has no documented balance API", is_final=True)
        return self._understood(read, self._asked("GET", path, None, NoAnswerError))

    def estimate(self, action: str, body: dict[str, Any]) -> Estimate:
        """Return what a body would cost."""
        path, read = self.dialect.estimate_path, self.dialect.estimate
        if path is None or read is None:
            raise NoAnswerError(self.name, "it has no documented estimate API", is_final=True)
        model = str(body.get("model"))
        if self.missing & {EVERY_MODEL, model}:
            raise NoAnswerError(self.name, "it has no estimate", is_final=True)
        asked = {name: value for name, value in body.items() if name != "callback_url"}
        answer = self._asked(
            "POST",
            path,
            self.dialect.estimate_body(action, asked),
            NoAnswerError,
            is_no_use=lambda answer: self._has_no_estimate(answer, model),
        )
        return self._understood(read, answer)

    def read_callback(self, payload: bytes) -> Callback:
        """Read what the provider posted."""
        return self.dialect.read_callback(payload, now=self.pacing.now())

    def _submission(self, answer: Answer) -> Submission:
        """Return the task that an answer names, whatever else it says: then a task was made."""
        task = self.dialect.task_in(answer)
        task_id = self.dialect.task_id(task)
        verdict = self.dialect.verdict(answer)
        is_taken = verdict is Verdict.TAKEN
        if task_id is None or not (is_taken or not is_of_a_request(task, answer)):
            raise self._not_taken(answer, verdict)
        if self.http.secret.is_in(task_id):
            raise JobInDoubtError(self.name, "the task id in the reply contains the API key")
        shown = self.http.secret.left_out_of(task)
        return Submission(task_id, shown, held=self.dialect.held(task))

    def _not_reached(self, error: Exception) -> JobRefusedError:
        problem = f"could not be reached: {error}"
        return JobRefusedError(self.name, problem, retryable=True, is_unreached=True)

    def _not_taken(self, answer: Answer, verdict: Verdict) -> JobRefusedError | JobInDoubtError:
        told = self._told(answer)
        if verdict is Verdict.TAKEN:
            error = error_in((answer.body or {}).get("error"))
            because = f": {self.http.secret.hidden_in(error)}" if error else ""
            return JobInDoubtError(
                self.name, f"the reply to the submission has no task id{because}"
            )
        if verdict is Verdict.UNKNOWN:
            return JobInDoubtError(self.name, f"no clear answer to the submission: {told}")
        return JobRefusedError(
            self.name,
            told,
            hint=self.facts.hint_for(self.dialect.code(answer)),
            retryable=verdict is Verdict.LATER,
            retry_after_s=asked_pause_s(answer.headers, now=self.pacing.now()),
            status=self.dialect.code(answer),
        )

    def _asked(
        self,
        method: str,
        path: str,
        body: Json | None,
        kind: type[QuestionError],
        *,
        is_patient: bool = True,
        is_no_use: Callable[[Answer], bool] = lambda _: False,
    ) -> Answer:
        """Retry until there is an answer, a refusal, or no attempt left."""
        attempts = Attempts(self.pacing, most=ATTEMPTS if is_patient else 1)
        while True:
            try:
                reply = self.http.ask(method, path, body)
            except (NotSentError, LostError) as error:
                problem, asked_s = f"no answer: {error}", None
            else:
                self.hear(reply)
                answer = Answer.of(reply)
                verdict = self.dialect.verdict(answer)
                if verdict is Verdict.TAKEN:
                    return answer
                problem = self._told(answer)
                asked_s = asked_pause_s(answer.headers, now=self.pacing.now())
                if is_no_use(answer) or verdict is Verdict.REFUSED:
                    raise self._refused(answer, kind, problem)
            if not attempts.pause(asked_s):
                raise kind(self.name, problem, retry_after_s=asked_s)

    def _refused(self, answer: Answer, kind: type[QuestionError], problem: str) -> QuestionError:
        """Raise the final error; only an unknown task may become known later."""
        code = self.dialect.code(answer)
        if kind is PollError and code == NOT_FOUND:
            asked_s = asked_pause_s(answer.headers, now=self.pacing.now())
            return PollError(self.name, problem, is_missing=True, retry_after_s=asked_s)
        return kind(self.name, problem, is_final=True, hint=self.facts.hint_for(code))

    def _has_no_estimate(self, answer: Answer, model: str) -> bool:
        missing = missing_estimate(answer, self.dialect.code(answer), model)
        if missing is not None:
            self.missing.add(missing)
        return missing is not None

    def _understood(self, read: Callable[[Json], _Read], answer: Answer) -> _Read:
        try:
            return read(answer.body or {})
        except AmountError as error:
            problem = self.http.secret.hidden_in(f"the reply cannot be read: {error}")
            raise NoAnswerError(self.name, problem) from None

    def _told(self, answer: Answer) -> str:
        return self.http.secret.hidden_in(self.dialect.told(answer))
