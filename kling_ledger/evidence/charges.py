"""Charges: what a provider's record says of its tasks, whatever it was read from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from kling_ledger.ledger import Reservation
from kling_ledger.providers.base import TaskState
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Charge:
    """What a provider's record says of one task.

    `amount` is what it charged in all, None where it does not say; `times` is how often it did,
    which should be once. `state` is None where only what was charged is listed. `created_at` and
    `model` help to find the job of a task that we never heard of; `problem` is why there is no
    verdict, where the provider says that.
    """

    task_id: str
    amount: Money | None = None
    state: TaskState | None = None
    created_at: datetime | None = None
    model: str | None = None
    times: int = 1
    problem: str | None = None

    @property
    def has_verdict(self) -> bool:
        """Whether it says what the task cost, or how it ended."""
        return self.state not in {TaskState.RUNNING, TaskState.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Record:
    """A provider's record: of which provider, from which source, and how far it goes.

    `covers_all` says that every charge of jobs made between `since` (inclusive) and `until`
    (exclusive) is in it, so that what is missing was never charged. `address` is where the provider
    is whose record it is: what was submitted elsewhere is not missed. `unanswered` are tasks that
    were asked for in vain, and why; `billed` are those of which an earlier bill was taken instead.
    """

    provider: str
    source: str
    charges: tuple[Charge, ...]
    covers_all: bool = False
    since: datetime | None = None
    until: datetime | None = None
    address: str | None = None
    account: str | None = None
    unanswered: Mapping[str, str] | None = None
    billed: frozenset[str] = frozenset()

    def is_of(self, one: Reservation) -> bool:
        """Whether a reservation's job was submitted where this record was kept."""
        return self.address is None or one.job.address in {None, self.address}


def added_up(charges: Iterable[Charge]) -> list[Charge]:
    """Return one charge for each task, those of unknown time last."""
    by_task: dict[str, list[Charge]] = {}
    for charge in charges:
        by_task.setdefault(charge.task_id, []).append(charge)
    return sorted(map(_sum, by_task.values()), key=_by_time)


def _sum(lines: list[Charge]) -> Charge:
    """Add up the lines of one task: what was only held counts no more once there is a verdict."""
    told = [line for line in lines if line.has_verdict] or lines
    amounts = [line.amount for line in told if line.amount is not None]
    if len(amounts) < 2:
        return next((line for line in told if line.amount is not None), told[-1])
    charged = [line for line in told if line.amount is not None and line.amount.micro > 0]
    total = sum(amounts[1:], start=amounts[0])
    return replace((charged or told)[0], amount=total, times=max(len(charged), 1))


def _by_time(charge: Charge) -> tuple[bool, float, str]:
    at = charge.created_at
    return (at is None, 0.0 if at is None else at.timestamp(), charge.task_id)
