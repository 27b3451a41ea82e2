"""Providers: what goes wrong at one, or in what is posted to us in its name."""

from __future__ import annotations

from typing import Any

from kling_pricing.errors import KlingError


class ProviderError(KlingError):
    """The family of everything that goes wrong at a provider. Never holds a key."""

    code = "provider"

    def __init__(self, provider: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"{provider}: {problem}", hint=hint)
        self.provider = provider
        self.problem = problem


class JobRefusedError(ProviderError):
    """The provider did not take the job, for certain: nothing was or will be charged.

    `retryable` where the same request may be taken later, after `retry_after_s` if that was said.
    `status` is the provider's number for it, as HTTP has them; None where it gave no answer.
    `is_unreached` says that no connection was made.
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
        """Whether no job would get through: the provider is not reached, or refuses the key."""
        return self.is_unreached or self.status in self._SHUT_OUT


class JobInDoubtError(ProviderError):
    """The request may have reached the provider and no answer says what became of it."""

    code = "job_in_doubt"


class QuestionError(ProviderError):
    """A question that moves no money got no answer; unless `is_final`, asking again may help.

    `retry_after_s` is how long the provider asked to be left alone, None if it did not.
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
    """The provider did not say how the job stands.

    `is_missing` where it says that there is no such task: so it may right after a creation.
    """

    code = "poll"

    def __init__(
        self, provider: str, problem: str, *, is_missing: bool = False, **more: Any
    ) -> None:
        super().__init__(provider, problem, **more)
        self.is_missing = is_missing


class NoAnswerError(QuestionError):
    """The provider did not tell a balance or an estimate."""

    code = "no_answer"


class CallbackError(ProviderError):
    """What was posted to us is not what the provider documents: nothing was changed."""

    code = "callback"


class LivePricesError(ProviderError):
    """The provider did not tell its prices. No job was asked for, so nothing is in doubt."""

    code = "live_prices"
    retryable = True


class SignatureError(KlingError):
    """A message whose signature is missing, wrong or too old: it may come from anybody."""

    code = "signature"
