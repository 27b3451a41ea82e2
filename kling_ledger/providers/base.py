"""What every provider can do, in the same words whatever its own API is.

A provider starts jobs (`submit`) and returns their state (`poll`); some also return the account's
balance (`balance`) and what a body would cost (`estimate`). Every answer is a frozen record.
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
    """The state of a task at its provider."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The provider's answer is undocumented: the result is still open."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that a provider accepted: its task id and the reply as received.

    `held` is what the provider says it has reserved: a hint, never the settled cost.
    """

    task_id: str
    reply: Any = field(default=None, repr=False)
    held: Money | None = None


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """What a provider says of a task.

    `cost` is the settled cost, None if the provider does not report it; `problem` is the provider's
    error, or ours if the answer was not understood; `has_error` says that the answer carries an
    error, whatever the state; `retry_after_s` is the delay that the provider asked for.
    `word` is the provider's own word for the state, `progress` its percentage. The links in
    `videos` are promised to work until `videos_expire_at`, None if no promise is known.
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
    """What an account can still spend and, if reported, what it has spent since it was opened."""

    available: Money
    spent: Money | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a provider expects a body to cost, before any job; `is_affordable` is its own answer."""

    amount: Money
    is_affordable: bool | None = None


@dataclass(frozen=True, slots=True)
class Callback:
    """What a provider posted to a `callback_url`: only a hint until the provider is polled."""

    provider: str
    task_id: str
    status: TaskStatus


@dataclass(frozen=True, slots=True)
class Pacing:
    """The clock and randomness of a provider: `chance` returns a number from 0 to below 1.

    `sleep` may end a pause early and return a true value, as `Event.wait` does: the call then gives
    up with what it has.
    """

    sleep: Callable[[float], object] = time.sleep
    chance: Callable[[], float] = random.random
    now: Callable[[], datetime] = utc_now


class Provider(Protocol):
    """Starts jobs and returns their state. Every method is one or a few bounded network calls."""

    @property
    def facts(self) -> ProviderFacts:
        """What is known of the provider before anything is sent."""

    @property
    def name(self) -> str:
        """The provider's name, as in its price book."""

    @property
    def address(self) -> str:
        """Where the provider is reached: a job is polled where it was submitted."""

    @property
    def repeats_safely(self) -> bool:
        """Whether a submission may be repeated under the same key without a second charge."""

    def fingerprint(self, secret: str) -> str | None:
        """Return the fingerprint of the API key under a ledger's secret, None without a key."""

    def check(self, body: dict[str, Any]) -> None:
        """Raise RequestError if the provider could not call the body's `callback_url`."""

    def submit(self, action: str, body: dict[str, Any], *, key: str) -> Submission:
        """Start a job.

        Raises JobRefusedError if the provider certainly did not take it, JobInDoubtError if it may
        have.
        """

    def poll(self, action: str, task_id: str, *, is_patient: bool = True) -> TaskStatus:
        """Return a task's state. Raises PollError if there is no answer.

        A patient poll retries a few times within the call. A caller with many jobs polls once and
        decides itself when to poll again.
        """

    def balance(self) -> Balance:
        """Return what the account holds. Raises NoAnswerError if there is no answer."""

    def estimate(self, action: str, body: dict[str, Any]) -> Estimate:
        """Return what a body would cost. Raises NoAnswerError if there is no answer."""

    def read_callback(self, payload: bytes) -> Callback:
        """Read what the provider posted. Raises CallbackError if it is not understood."""

    def close(self) -> None:
        """Close the connections to the provider."""
