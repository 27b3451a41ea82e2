"""What every provider can do, in the same words whatever its own dialect is.

A provider starts jobs (`submit`), tells how they stand (`poll`), and where it can also its account
(`balance`) and what a body would cost (`estimate`). Everything that it answers is a frozen record.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from kling_ledger.config import utc_now
from kling_ledger.providers.facts import ProviderFacts
from kling_pricing.money import Money


class TaskState(StrEnum):
    """How a task stands at its provider."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The provider said something that nobody documented: that is no verdict."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that a provider took: its handle of it, and its reply as it came.

    `held` is what the provider says that it set aside itself: a hint, never the settled cost.
    """

    task_id: str
    reply: Any = field(default=None, repr=False)
    held: Money | None = None


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """What a provider says of a task.

    `cost` is the settled cost, None where the provider does not say; `problem` is the provider's
    error, or ours for not understanding it; `has_error` says that the answer carries an error,
    whatever the state; `retry_after_s` is the provider's own wish.
    `word` is the provider's own word for the state, `progress` its percentage. The links in
    `videos` are promised to work until `videos_expire_at`, None where no promise is known.
    """

    state: TaskState
    cost: Money | None = None
    videos: tuple[str, ...] = ()
    problem: str | None = None
    retry_after_s: float | None = None
    reply: Any = field(default=None, repr=False)
    word: str | None = None
    progress: int | None = None
    videos_expire_at: datetime | None = None
    has_error: bool = False


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account can still spend, and what it spent since it was opened where that is told."""

    available: Money
    spent: Money | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a provider expects a body to cost, before any job; `is_affordable` is its own word."""

    amount: Money
    is_affordable: bool | None = None


@dataclass(frozen=True, slots=True)
class Callback:
    """What a provider posted to a `callback_url`: a hint, until the provider itself was asked."""

    provider: str
    task_id: str
    status: TaskStatus


@dataclass(frozen=True, slots=True)
class Pacing:
    """The time and the chance that a provider acts by: `chance` gives a number from 0 up to 1.

    `sleep` may end a pause early and return something true, as `Event.wait` does: the call then
    gives up with what it knows.
    """

    sleep: Callable[[float], object] = time.sleep
    chance: Callable[[], float] = random.random
    now: Callable[[], datetime] = utc_now


class Provider(Protocol):
    """Starts jobs and tells how they stand. Every method is one or a few bounded network calls."""

    @property
    def facts(self) -> ProviderFacts:
        """What is known of the provider before anything is sent."""

    @property
    def name(self) -> str:
        """The provider's name, as in its price book."""

    @property
    def address(self) -> str:
        """Where the provider is reached: a job is followed where it was submitted."""

    @property
    def repeats_safely(self) -> bool:
        """Whether a submission may be sent again under the same key without being charged twice."""

    def fingerprint(self, secret: str) -> str | None:
        """Return the fingerprint of the API key under a ledger's secret, None without a key."""

    def check(self, body: dict[str, Any]) -> None:
        """Raise RequestError where the provider could not call the body's `callback_url`."""

    def submit(self, action: str, body: dict[str, Any], *, key: str) -> Submission:
        """Start a job.

        Raises JobRefusedError where the provider did not take it, for certain, and
        JobInDoubtError where it may have.
        """

    def poll(self, action: str, task_id: str, *, is_patient: bool = True) -> TaskStatus:
        """Ask how a task stands. Raises PollError where no answer could be had.

        A patient question is put a few times within the call; whoever has many jobs to ask for
        puts it once, and decides when to ask again.
        """

    def balance(self) -> Balance:
        """Ask what the account holds. Raises NoAnswerError where that could not be had."""

    def estimate(self, action: str, body: dict[str, Any]) -> Estimate:
        """Ask what a body would cost. Raises NoAnswerError where that could not be had."""

    def read_callback(self, payload: bytes) -> Callback:
        """Read what the provider posted. Raises CallbackError where it is not understood."""

    def close(self) -> None:
        """Give back the connections to the provider."""
