"""Breaker: whether more jobs may be started at a provider, judged by its last answers.

After a few unclear answers in a row nothing is started until the provider answers a question that
costs nothing. Then one job is started, and once its answer is clear, all others are. A refusal that
every further job would meet too, because of the key or the account, stops the provider for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Final

from kling_ledger.errors import JobInDoubtError, JobRefusedError, KlingError

UNCLEAR_IN_A_ROW: Final = 3
"""After this many unclear answers no further job is started; those in flight continue."""

PROBE_EVERY_S: Final = 5.0
"""How long to pause before asking the provider whether it answers again."""

_LONGEST_PAUSE_S: Final = 60.0

_OF_THE_ACCOUNT: Final = frozenset({401, 402, 403})
"""Refusals that every further job would meet: of the key, the balance, the account's rights."""


class Admits(StrEnum):
    """What a breaker lets through."""

    ALL = "all"
    NONE = "none"
    ONE = "one"
    """One job, whose answer decides."""
    NEVER = "never"
    """Nothing more in this batch."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Why nothing is started at a provider; `again_s` is when it is asked again, None for never."""

    provider: str
    problem: str
    again_s: float | None

    def __str__(self) -> str:
        if self.again_s is None:
            return f"{self.problem}: no more rows are started at this provider"
        return (
            f"{self.provider} gives no clear answers ({self.problem}): no more rows are started"
            f" until it does; next check in {self.again_s:g} s"
        )


class Breaker:
    """The breaker of one provider. Safe to share between the threads that begin jobs.

    After `most_unclear` unclear answers it admits nothing; the caller then probes the provider
    every `probe_s` seconds. After `longest_s` without an answer it gives up. `tell` is called once
    with each pause, and with None when it ends.
    """

    def __init__(
        self,
        provider: str,
        *,
        most_unclear: int = UNCLEAR_IN_A_ROW,
        probe_s: float = PROBE_EVERY_S,
        longest_s: float,
        tell: Callable[[Pause | None], None],
    ) -> None:
        self._provider = provider
        self._most_unclear = most_unclear
        self._probe_s = self._pause_s = probe_s
        self._longest_s = longest_s
        self._tell = tell
        self._lock = Lock()
        self._admits = Admits.ALL
        self._unclear = self._questions = 0
        self._is_by_questions = False
        self._is_probing = False
        self._has_answered = False
        self._since = 0.0

    @property
    def admits(self) -> Admits:
        """What is let through now."""
        return self._admits

    @property
    def is_shut(self) -> bool:
        """Whether it admits fewer than all jobs."""
        return self._admits is not Admits.ALL

    @property
    def pause_s(self) -> float:
        """How long to pause before the provider is asked again."""
        return self._pause_s

    def enter(self) -> bool:
        """Whether a job may be sent now; if so, `leave` has to be called afterwards."""
        with self._lock:
            if self._admits is Admits.ONE and not self._is_probing:
                self._is_probing = True
                return True
            return self._admits is Admits.ALL

    def leave(self) -> None:
        """Let the next job try if the one that was sent got no answer either way."""
        with self._lock:
            self._is_probing = False

    def hear(self, error: KlingError | None) -> None:
        """Record the answer to a submission: a task, or an error."""
        if error is None:
            self._clear()
        elif isinstance(error, JobInDoubtError):
            self._unclear_answer(error.problem)
        elif isinstance(error, JobRefusedError):
            self._refused(error)

    def unanswered(self, problem: str, *, at_once: bool = False) -> None:
        """Count a poll without an answer; with `at_once` assume that no answer will come."""
        with self._lock:
            self._questions = self._most_unclear if at_once else self._questions + 1
            is_news = self._admits is Admits.ALL and self._questions >= self._most_unclear
            if is_news:
                self._shut(is_by_questions=True)
        if is_news:
            self._tell(Pause(self._provider, problem, self._pause_s))

    def answered(self) -> None:
        """Record that a poll was answered: that says nothing about submissions."""
        with self._lock:
            self._questions = 0
            is_news = self._admits is Admits.ONE and self._is_by_questions
            if is_news:
                self._admits = Admits.ALL
        if is_news:
            self._tell(None)

    def _unclear_answer(self, problem: str) -> None:
        with self._lock:
            self._unclear += 1
            self._is_by_questions = False
            is_news = self._admits is Admits.ALL and self._unclear >= self._most_unclear
            if is_news:
                self._shut(is_by_questions=False)
            elif self._admits is Admits.ONE:
                self._admits = Admits.NONE
                self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        if is_news:
            self._tell(Pause(self._provider, problem, self._pause_s))

    def _shut(self, *, is_by_questions: bool) -> None:
        self._admits = Admits.NONE
        self._is_by_questions = is_by_questions
        self._since, self._pause_s = time.monotonic(), self._probe_s

    def probed(self, *, is_answered: bool) -> None:
        """Record whether a probe was answered: if so, one job may try."""
        with self._lock:
            if self._admits is not Admits.NONE:
                return
            if is_answered:
                self._admits = Admits.ONE
                return
            gives_up = time.monotonic() - self._since >= self._longest_s
            self._admits = Admits.NEVER if gives_up else Admits.NONE
        if gives_up:
            problem = f"{self._provider} gave no clear answer for {self._longest_s:g} s"
            self._tell(Pause(self._provider, problem, None))

    def _refused(self, error: JobRefusedError) -> None:
        if error.status is None and error.retryable:
            # If the provider has never answered, its address may be wrong: each row reports that.
            if self._has_answered:
                self._unclear_answer(error.problem)
        elif error.status in _OF_THE_ACCOUNT:
            self._stop(error)
        else:
            self._clear()

    def _clear(self) -> None:
        with self._lock:
            self._unclear, self._has_answered = 0, True
            is_news = self._admits is Admits.ONE
            if is_news:
                self._admits = Admits.ALL
        if is_news:
            self._tell(None)

    def _stop(self, error: JobRefusedError) -> None:
        with self._lock:
            is_news = self._admits is not Admits.NEVER
            self._admits = Admits.NEVER
        if is_news:
            self._tell(Pause(self._provider, str(error), None))
