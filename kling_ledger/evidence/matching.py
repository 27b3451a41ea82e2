"""Matching: which of our reservations the rows of each task belong to.

Only a row that names the task belongs to it: a charge for an unknown task may be anyone's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from kling_ledger.evidence.entries import Entry, Kind
from kling_ledger.evidence.record import Reading, Record, TaskRows, named_by
from kling_ledger.ledger import Reservation

_ABOUT_THEN: Final = timedelta(days=1)
"""How far the time of a charge may be from that of its job."""


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """The rows of a task that no job of ours on the account has, and what they say.

    With `is_elsewhere` a job of ours on another account has a task with the same id.
    """

    rows: TaskRows
    reading: Reading
    is_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Matched:
    """The rows of each task with our reservation of it, None where we have none."""

    pairs: list[tuple[TaskRows, Reservation | None]]
    rest: list[Reservation]
    """Our reservations on the account that no row is about."""
    loose: list[Entry]
    """Rows that name no task and are neither totals nor payments."""


def match(record: Record, ours: Sequence[Reservation]) -> Matched:
    """Pair the rows of tasks with our reservations on the record's account."""
    there = [one for one in ours if record.is_of(one)]
    # The account of a job may be unknown: a bill that names its task settles that.
    perhaps = [one for one in ours if record.may_be_of(one)]
    by_task = {one.task_id: one for one in [*perhaps, *there] if one.task_id is not None}
    entries = [_named(one, frozenset(by_task)) for one in record.entries]
    tasks: dict[str, list[Entry]] = {}
    loose: list[Entry] = []
    for one in entries:
        if one.kind in {Kind.TOTAL, Kind.PAYMENT}:
            continue
        if one.task_id is None:
            loose.append(one)
        else:
            tasks.setdefault(one.task_id, []).append(one)
    pairs = [
        (_rows_of(record, task_id, found), by_task.get(task_id)) for task_id, found in tasks.items()
    ]
    told = {one.id for _, one in pairs if one is not None}
    return Matched(pairs, [one for one in there if one.id not in told], loose)


def _named(one: Entry, known: frozenset[str]) -> Entry:
    """Give a row the task named in another of its cells, if its own task is not ours.

    Some bills list a refund under an id of its own, next to the task that it is for.
    """
    if one.task_id in known:
        return one
    task_id = named_by(one.raw, known)
    return one if task_id is None else replace(one, task_id=task_id)


def _rows_of(record: Record, task_id: str, entries: Sequence[Entry]) -> TaskRows:
    earlier = tuple(one for one in record.earlier if one.task_id == task_id)
    return TaskRows(task_id, _each_once(entries), earlier)


def _each_once(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple({one.digest: one for one in entries}.values())


def may_be_of(unclaimed: Unclaimed, one: Reservation) -> bool:
    """Whether an unclaimed charge could belong to a job that the record does not name."""
    seen = unclaimed.reading.seen
    if seen is not None and (seen.unit != one.amount.unit or seen.micro <= 0):
        return False
    if one.task_id is not None and seen is not None and seen not in {one.spent, one.amount}:
        return False
    entries = unclaimed.rows.entries
    models = {_plain(entry.model) for entry in entries if entry.model}
    if models and one.job.model is not None and _plain(one.job.model) not in models:
        return False
    stamps = [entry.at for entry in entries if entry.at is not None]
    return not stamps or any(_is_about(at, one) for at in stamps)


def _is_about(at: datetime, one: Reservation) -> bool:
    return one.created_at - _ABOUT_THEN <= at <= one.updated_at + _ABOUT_THEN


def _plain(model: str) -> str:
    return "".join(character for character in model.lower() if character.isalnum())
