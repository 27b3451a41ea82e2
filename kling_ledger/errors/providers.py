"""Errors of providers and of their callbacks."""

from __future__ import annotations

from typing import Any

from kling_pricing.errors import KlingError


class ProviderError(KlingError):
    """Something went wrong at a provider. Never contains a key."""

    code = "provider"

    def __init__(self, provider: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"{provider}: {problem}", hint=hint)
        self.provider = provider
        self.problem = problem


class JobRefusedError(ProviderError):
    """The provider definitely did not accept the job: nothing was or will be charged.

    `retryable` if the same request may be accepted later, after `retry_after_s` if the provider
    gave it. `status` is the provider's HTTP-like status, None without an answer. `is_unreached`
    means that no connection was made.
    """

    code = "job_refused"
    _SHUT_OUT = frozenset({401, 403})

    def __init__(
        self,
        provider: str,
        problem: str,
        *,
        hint: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        status: int | None = None,
        is_unreached: bool = False,
    ) -> None:
        super().__init__(provider, problem, hint=hint)
        self.status = status
        self.is_unreached = is_unreached
        self.retryable = retryable
        self.retry_after_s = retry_after_s

    @property
    def nothing_was_sent(self) -> bool:
        """Whether every job would fail: the provider is unreachable or refuses the key."""
        return self.is_unreached or self.status in self._SHUT_OUT


class JobInDoubtError(ProviderError):
    """The request may have reached the provider, but its outcome is unknown."""

    code = "job_in_doubt"


class QuestionError(ProviderError):
    """A request that moves no money got no answer; unless `is_final`, a retry may help.

    `retry_after_s` is the delay that the provider requested, None if none.
    """

    code = "question"

    def __init__(
        self,
        provider: str,
        problem: str,
        *,
        is_final: bool = False,
        hint: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(provider, problem, hint=hint)
        self.is_final = is_final
        self.retryable = not is_final
        self.retry_after_s = retry_after_s


class PollError(QuestionError):
    """The provider did not report the job's state.

    `is_missing` if it reports an unknown task, which may happen right after a creation.
    """

    code = "poll"

    def __init__(
        self, provider: str, problem: str, *, is_missing: bool = False, **more: Any
    ) -> None:
        super().__init__(provider, problem, **more)
        self.is_missing = is_missing


class NoAnswerError(QuestionError):
    """The provider did not return a balance or an estimate."""

    code = "no_answer"


class CallbackError(ProviderError):
    """A request is not a callback as its provider documents it: nothing was changed."""

    code = "callback"


class LivePricesError(ProviderError):
    """The provider did not return its prices. No job was sent, so nothing is in doubt."""

    code = "live_prices"
    retryable = True


class SignatureError(KlingError):
    """The signature of a message is missing, wrong or too old: anyone may have sent it."""

    code = "signature"
