"""Matching: which of our reservations each charge of a provider's record is for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from kling_ledger.evidence.charges import Charge, Record, added_up
from kling_ledger.ledger import Reservation, State

_CLOCKS_DIFFER_S: Final = 300.0


class Matched(NamedTuple):
    """Each charge with our reservation, None where we have none, and what no charge is for."""

    pairs: list[tuple[Charge, Reservation | None]]
    rest: list[Reservation]


def match(record: Record, reservations: Sequence[Reservation]) -> Matched:
    """Pair a provider's charges with our reservations, each of them once.

    Tasks that nobody knows are matched with jobs in doubt of the same model, begun about then:
    those of the same cost first. What is listed more than once is added up.
    """
    by_task = {one.task_id: one for one in reservations if one.task_id is not None}
    charges = added_up(record.charges)
    strange = [charge for charge in charges if charge.task_id not in by_task]
    unclaimed = [one for one in reservations if _may_have_a_task(one) and record.is_of(one)]
    claimed = {**by_task, **_claims(strange, unclaimed)}
    pairs = [(charge, claimed.get(charge.task_id)) for charge in charges]
    told = {ours.id for _, ours in pairs if ours is not None}
    return Matched(pairs, [one for one in reservations if one.id not in told])


def with_theirs(
    record: Record,
    reservations: Sequence[Reservation],
    find: Callable[[str], Reservation | None],
) -> list[Reservation]:
    """Return our reservations and those of the record's tasks that were made at another time.

    `find` gives the reservation of a task. A bill lists charges by their own dates, not by ours.
    """
    known = {one.task_id for one in reservations}
    strange = {charge.task_id for charge in record.charges} - known
    others = [one for task_id in sorted(strange) if (one := find(task_id)) is not None]
    return [*reservations, *others]


def _may_have_a_task(one: Reservation) -> bool:
    """Whether a reservation without a task may have one at the provider all the same."""
    return one.task_id is None and one.state in {State.IN_DOUBT, State.ROLLED_BACK}


def _claims(charges: Iterable[Charge], unclaimed: Iterable[Reservation]) -> dict[str, Reservation]:
    """Give tasks of unknown origin to reservations that may have one, the likeliest first."""
    likely = sorted(
        (
            (*_unlikeliness(charge, one), charge.task_id, one.id, one)
            for one in unclaimed
            for charge in charges
            if _may_be_of(charge, one)
        ),
        key=lambda pair: pair[:-1],
    )
    claims: dict[str, Reservation] = {}
    taken: set[str] = set()
    for *_, task_id, id_, one in likely:
        if task_id not in claims and id_ not in taken:
            claims[task_id] = one
            taken.add(id_)
    return claims


def _unlikeliness(charge: Charge, one: Reservation) -> tuple[bool, bool, float]:
    """Jobs in doubt come before those that were given up, the same cost before another one."""
    return (
        one.state is not State.IN_DOUBT,
        charge.amount != one.amount,
        0.0 if charge.created_at is None else _apart_s(charge.created_at, one),
    )


def _may_be_of(charge: Charge, one: Reservation) -> bool:
    if charge.amount is not None and charge.amount.unit != one.amount.unit:
        return False
    if charge.model is not None and charge.model != one.job.model:
        return False
    is_likely = charge.amount == one.amount
    if charge.created_at is None:
        return is_likely and one.state is State.IN_DOUBT
    is_then = _apart_s(charge.created_at, one) <= _CLOCKS_DIFFER_S
    return is_then and (is_likely or one.state is State.IN_DOUBT)


def _apart_s(at: datetime, one: Reservation) -> float:
    """Return how far an instant is from the time in which a reservation's job was submitted."""
    before, after = one.created_at - at, at - one.updated_at
    return max(before.total_seconds(), after.total_seconds(), 0.0)
