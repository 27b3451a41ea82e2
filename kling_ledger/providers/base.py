"""What every provider can do, in the same words whatever its own dialect is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

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
    """A job that a provider took: its handle of it, and its reply as it came."""

    task_id: str
    reply: Any


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """What a provider says of a task.

    `cost` is the settled cost, None where the provider does not say; `problem` is the provider's
    reason for a failure, or ours for not understanding it; `retry_after_s` is its own wish.
    """

    state: TaskState
    cost: Money | None = None
    videos: tuple[str, ...] = ()
    problem: str | None = None
    retry_after_s: float | None = None
    reply: Any = None


class Provider(Protocol):
    """Starts jobs and tells how they stand. Every method is one or a few bounded network calls."""

    @property
    def name(self) -> str:
        """The provider's name, as in its price book."""

    @property
    def address(self) -> str:
        """Where the provider is reached: a job is followed where it was submitted."""

    @property
    def repeats_safely(self) -> bool:
        """Whether a submission may be sent again under the same key without being charged twice."""

    def submit(self, action: str, body: dict[str, Any], *, key: str) -> Submission:
        """Start a job.

        Raises JobRefusedError where the provider did not take it, for certain, and
        JobInDoubtError where it may have.
        """

    def close(self) -> None:
        """Give back the connections to the provider."""

    def poll(self, action: str, task_id: str) -> TaskStatus:
        """Ask how a task stands. Raises PollError where no answer could be had."""
