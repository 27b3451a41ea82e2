"""Receiver: what a provider's callback does to the ledger.

A callback is a hint: anyone can post one, repeatedly or out of order. So the provider is polled
before credits move, unless the callback has a verified signature and complete facts. Known facts
change nothing, so a callback that comes a hundred times has one effect.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from kling_ledger.callbacks.signatures import sign, verify
from kling_ledger.config import SENDING_S, utc_now
from kling_ledger.errors import (
    CallbackError,
    ConflictError,
    OtherAccountError,
    OtherAddressError,
    PollError,
    SignatureError,
)
from kling_ledger.jobs.endings import Does, ending
from kling_ledger.jobs.recovery import MeterFor
from kling_ledger.ledger import Ledger, Reservation, State
from kling_ledger.providers.base import Callback, TaskState, TaskStatus
from kling_ledger.providers.registry import FACTS, read_callback
from kling_pricing.errors import KlingError, on_one_line

_AT_ONCE: Final = 64
_MOST_NAMED: Final = 3
_LONGEST_TOLD: Final = 200
_MOST_REPEATED: Final = 20
_TERMINAL: Final = frozenset({TaskState.COMPLETED, TaskState.FAILED})


class CallbackOutcome(StrEnum):
    """The outcome of a callback, which says whether its sender should retry."""

    DONE = "done"
    """The reservation has ended, now or earlier."""
    NOTED = "noted"
    """Understood, nothing to change."""
    EARLY = "early"
    """The task is unknown, but a job is being submitted: it may belong to that one."""
    UNANSWERED = "unanswered"
    """The provider or the ledger could not be reached: a retry may work later."""
    UNSIGNED = "unsigned"
    """The signature is missing, wrong or too old."""
    UNREADABLE = "unreadable"
    """Not a callback of the provider."""
    UNKNOWN = "unknown"
    """Unknown provider, or no reservation for this task."""
    ELSEWHERE = "elsewhere"
    """The job runs at another address or on another account than the configured one."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a callback did, as a sentence for people; `retry_after_s` is for its sender."""

    outcome: CallbackOutcome
    provider: str
    said: str
    task_id: str | None = None
    reservation: Reservation | None = None
    retry_after_s: float | None = None

    def __str__(self) -> str:
        task = f" task {self.task_id}" if self.task_id else ""
        return f"{self.provider}{task}: {self.outcome}: {self.said}"


def _locks() -> tuple[threading.Lock, ...]:
    return tuple(threading.Lock() for _ in range(_AT_ONCE))


@dataclass(frozen=True, slots=True)
class Receiver:
    """Takes callbacks of every provider. Safe to share between threads and processes.

    `meter_for` returns the meter of a reservation's provider. With `secrets`, a callback without a
    valid signature by one of them changes nothing. Raises ConfigError for an invalid secret.
    """

    ledger: Ledger
    meter_for: MeterFor
    secrets: Sequence[str] = field(default=(), repr=False)
    clock: Callable[[], datetime] = utc_now
    _taken: tuple[threading.Lock, ...] = field(default_factory=_locks, init=False, repr=False)

    def __post_init__(self) -> None:
        for secret in self.secrets:
            # Signing a message shows whether the secret is usable.
            sign(secret, message_id="any", at=self.clock(), body=b"")

    def receive(self, provider: str, headers: Mapping[str, str], payload: bytes) -> Receipt:
        """Process a callback of a provider, raw as it came; never raises."""
        if provider not in FACTS:
            name = on_one_line(provider[:40])
            return Receipt(CallbackOutcome.UNKNOWN, name, f"providers: {', '.join(FACTS)}")
        try:
            callback = self.read(provider, headers, payload)
        except SignatureError as error:
            return Receipt(CallbackOutcome.UNSIGNED, provider, error.message)
        except CallbackError as error:
            return Receipt(CallbackOutcome.UNREADABLE, provider, error.problem)
        # One at a time per task: the second callback finds what the first has done.
        with self._taken[hash((provider, callback.task_id)) % _AT_ONCE]:
            return self._heard(callback)

    def read(self, provider: str, headers: Mapping[str, str], payload: bytes) -> Callback:
        """Parse a callback of a provider, and move nothing.

        Raises SignatureError if none of the secrets signed it, and CallbackError.
        """
        now = self.clock()
        if self.secrets:
            verify(self.secrets, headers, payload, now=now)
        return read_callback(provider, payload, now=now)

    def _heard(self, callback: Callback) -> Receipt:
        found: Reservation | None = None
        try:
            found = self.ledger.reservations.of_task(callback.provider, callback.task_id)
            if found is None:
                return self._of_nobody(_shortened(callback))
            return self._weighed(callback, found)
        except ConflictError as error:
            said = f"{error.message}; see kling-ledger reconcile --provider {callback.provider}"
            return _receipt(CallbackOutcome.NOTED, callback, said, found)
        except PollError as error:
            said = f"it could not be polled: {error.problem}"
            return _receipt(CallbackOutcome.UNANSWERED, callback, said, found, error.retry_after_s)
        except KlingError as error:
            hint = f" ({error.hint})" if error.hint else ""
            return _receipt(CallbackOutcome.UNANSWERED, callback, f"{error.message}{hint}", found)

    def _weighed(self, callback: Callback, found: Reservation) -> Receipt:
        """Act on a callback about one of our jobs, if it says anything new."""
        said = callback.status
        if found.state is State.COMMITTED or (not found.is_open and not _may_be_charged(said)):
            return _receipt(CallbackOutcome.DONE, callback, f"it was already {found.state}", found)
        if said.state is TaskState.RUNNING and found.state is State.SUBMITTED:
            return _receipt(CallbackOutcome.NOTED, callback, "it is still running", found)
        meter = self.meter_for(found)
        try:
            meter.place.check(found)
        except (OtherAddressError, OtherAccountError) as error:
            return _receipt(CallbackOutcome.ELSEWHERE, callback, error.message, found)
        is_proven = bool(self.secrets) and found.is_open and _says_enough(callback, found)
        status = said if is_proven else meter.poll(found)
        now = meter.observe(found, status)
        return _settled(callback, status, now, is_proven=is_proven)

    def _of_nobody(self, callback: Callback) -> Receipt:
        """Find out what an unknown task may be: a lost reply, or a race."""
        without_task = [
            one
            for one in self.ledger.reservations.open()
            if one.job.provider == callback.provider and one.task_id is None
        ]
        recent = self.clock() - timedelta(seconds=SENDING_S)
        if any(o.state is State.SUBMITTING and o.updated_at >= recent for o in without_task):
            said = "no reservation has this task yet, but a job is being submitted"
            return _receipt(CallbackOutcome.EARLY, callback, said)
        doubtful = [one.id for one in without_task if one.state is not State.RESERVED]
        if not doubtful:
            return _receipt(CallbackOutcome.UNKNOWN, callback, "no reservation has this task")
        return _receipt(CallbackOutcome.NOTED, callback, _perhaps_of(callback, doubtful))


def _receipt(
    outcome: CallbackOutcome,
    callback: Callback,
    said: str,
    reservation: Reservation | None = None,
    retry_after_s: float | None = None,
) -> Receipt:
    return Receipt(outcome, callback.provider, said, callback.task_id, reservation, retry_after_s)


def _shortened(callback: Callback) -> Callback:
    """Return a callback about an unknown task, cut short: anyone may have written it."""
    if len(callback.task_id) <= _LONGEST_TOLD:
        return callback
    return replace(callback, task_id=f"{callback.task_id[:_MOST_REPEATED]}...")


def _may_be_charged(status: TaskStatus) -> bool:
    """Whether a job whose credits were returned may have been charged after all."""
    is_charged = status.cost is not None and status.cost.micro > 0
    return status.state is TaskState.COMPLETED or is_charged


def _says_enough(callback: Callback, found: Reservation) -> bool:
    """Whether a callback is complete: it gives the end of the job and its cost.

    A quote is enough only if the provider never reports costs. If it contradicts itself, the job is
    polled: the answer may say more.
    """
    facts = FACTS[callback.provider]
    end = ending(found, callback.status, facts=facts)
    if end.does not in {Does.COMMIT, Does.ROLL_BACK}:
        return False
    return end.is_told or not (facts.tells_cost or facts.charges_what_it_holds)


def _settled(
    callback: Callback, status: TaskStatus, now: Reservation, *, is_proven: bool
) -> Receipt:
    """Return the receipt of a callback that was acted upon; its status may say something else."""
    by = "according to the signed callback" if is_proven else "according to the provider"
    cost = "" if now.committed is None else f" {now.committed}"
    end = ending(now, status, facts=FACTS[callback.provider])
    untouched = None if now.is_open or now.state is State.COMMITTED else end.problem
    problem = status.problem if status.state is TaskState.UNKNOWN else untouched or now.problem
    why = f" ({on_one_line(problem)})" if problem else ""
    said = f"{now.state}{cost} {by}{why}, {now.id}"
    if callback.status.state in _TERMINAL and status.state not in _TERMINAL:
        # The provider's poll answers may lag behind its callbacks: a retry may find them equal.
        said = f"the callback says it ended, but the provider does not confirm that: {said}"
        return _receipt(CallbackOutcome.UNANSWERED, callback, said, now)
    return _receipt(
        CallbackOutcome.NOTED if now.is_open else CallbackOutcome.DONE, callback, said, now
    )


def _perhaps_of(callback: Callback, doubtful: Sequence[str]) -> str:
    """Say which job the task may belong to, and how to find out: by a repeat, if that is safe."""
    more = f" and {len(doubtful) - _MOST_NAMED} more" if len(doubtful) > _MOST_NAMED else ""
    named = ", ".join(doubtful[:_MOST_NAMED])
    known = doubtful[0] if len(doubtful) == 1 else "ID"
    next_step = (
        "kling-ledger resume finds out"
        if FACTS[callback.provider].takes_key
        else f"If it is: kling-ledger reservation submitted {known} {callback.task_id}, then"
        " kling-ledger resume"
    )
    return (
        f"no reservation has this task. It may belong to {named}{more}, whose submission got no "
        f"answer. {next_step}"
    )


__all__ = ["CallbackOutcome", "Receipt", "Receiver"]
