"""Plan: how our journal and a provider's record agree about each job, and what would mend our side.

Comparing changes nothing: each line proposes changes of reservations, and `apply` makes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from kling_ledger.evidence.charges import Charge, Record
from kling_ledger.evidence.matching import match
from kling_ledger.ledger import Change, Reservation, State
from kling_ledger.providers.base import TaskState
from kling_pricing.money import Money

LAG_S: Final = 86_400.0
"""How long after its submission a job may still turn up in a provider's record."""

REASON: Final = "reconciled with the provider's record"


class Verdict(StrEnum):
    """How our journal and the provider's record agree about one job."""

    MATCHED = "matched"
    AMOUNT_DIFFERS = "amount_differs"
    ONLY_THEIRS = "only_theirs"
    ONLY_OURS = "only_ours"
    DUPLICATE = "duplicate"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class Line:
    """One job, as both sides have it, and the changes that would mend our side."""

    verdict: Verdict
    reservation: Reservation | None = None
    charge: Charge | None = None
    problem: str | None = None
    proposal: tuple[Change, ...] = ()

    @property
    def stands(self) -> bool:
        """Whether both sides still differ; a charge that was made twice and is booked does not."""
        return bool(self.proposal) or self.verdict not in {Verdict.MATCHED, Verdict.DUPLICATE}

    @property
    def ours(self) -> Money | None:
        """What the job cost by our journal, None while it is open or not ours."""
        return None if self.reservation is None else spent(self.reservation)

    @property
    def theirs(self) -> Money | None:
        """What the job cost by the provider's record, None where it does not say."""
        return None if self.charge is None else self.charge.amount


def spent(reservation: Reservation) -> Money | None:
    """Return what a reservation has cost in the end; None while that is open."""
    return None if reservation.is_open else reservation.spent


def compare(
    record: Record, reservations: Sequence[Reservation], *, now: datetime, lag_s: float = LAG_S
) -> list[Line]:
    """Compare a provider's record with our reservations at that provider, all of the same time.

    Jobs that were made less than `lag_s` before the record ends are not missed yet.
    """
    matched = match(record, reservations)
    lines = [_line(charge, ours) for charge, ours in matched.pairs]
    lines.extend(_missing(record, matched.rest, now=now, lag_s=lag_s))
    return lines


# --- one task and one reservation -----------------------------------------------------------


def _line(charge: Charge, ours: Reservation | None) -> Line:
    if ours is None:
        problem = "nothing in our journal has this task"
        return Line(Verdict.ONLY_THEIRS, charge=charge, problem=problem)
    if not charge.has_verdict:
        return _without_verdict(charge, ours)
    if charge.amount is not None and charge.amount.micro < 0:
        problem = f"the record gives back more than it charged: {charge.amount}"
        return Line(Verdict.AMOUNT_DIFFERS, ours, charge, problem)
    proposal = _proposal(charge, ours)
    if charge.times > 1:
        problem = f"it is charged {charge.times} times: ask for the money back"
        return Line(Verdict.DUPLICATE, ours, charge, problem, proposal)
    if not proposal:
        return Line(Verdict.MATCHED, ours, charge)
    problem = f"ours is {ours.state}, theirs says {_told(charge)}"
    return Line(Verdict.AMOUNT_DIFFERS, ours, charge, problem, proposal)


def _without_verdict(charge: Charge, ours: Reservation) -> Line:
    """A task that still runs agrees with an open reservation, and with nothing else."""
    if charge.state is TaskState.RUNNING and ours.is_open:
        return Line(Verdict.MATCHED, ours, charge)
    problem = charge.problem or f"ours is {ours.state}, theirs is {charge.state}: ask again later"
    return Line(Verdict.UNANSWERED, ours, charge, problem)


def _proposal(charge: Charge, ours: Reservation) -> tuple[Change, ...]:
    """Return the changes that make our side say what theirs does; none where it already does."""
    theirs = _cost(charge, ours)
    changes: list[Change] = []
    if ours.task_id is None and ours.state is State.IN_DOUBT:
        changes.append(Change(ours.id, State.SUBMITTED, task_id=charge.task_id, reason=REASON))
    if not ours.is_open:
        if spent(ours) != theirs:
            changes.append(correction(ours, theirs, charge))
    elif theirs.micro == 0 and charge.state is not TaskState.COMPLETED:
        changes.append(Change(ours.id, State.ROLLED_BACK, problem=REASON, reason=REASON))
    else:
        changes.append(
            Change(
                ours.id,
                State.COMMITTED,
                theirs,
                settled_by="quote" if charge.amount is None else "provider",
                reason=REASON,
            )
        )
    return tuple(changes)


def _cost(charge: Charge, ours: Reservation) -> Money:
    """Return what a task cost: what the record says; else nothing if it failed, or our quote."""
    if charge.amount is not None:
        return charge.amount
    if charge.state is TaskState.FAILED:
        return Money.zero(ours.amount.unit)
    known = spent(ours)
    return known if known is not None and known.micro > 0 else ours.amount


def correction(ours: Reservation, theirs: Money, charge: Charge) -> Change:
    """Return the change that sets what an ended job has cost."""
    is_told = charge.amount is not None or theirs.micro == 0
    return Change(
        ours.id,
        None,
        theirs,
        is_correction=True,
        settled_by="provider" if is_told else "quote",
        task_id=charge.task_id if ours.task_id is None else None,
        reason=REASON,
    )


def _told(charge: Charge) -> str:
    state = charge.state or "charged"
    return str(state) if charge.amount is None else f"{state} at {charge.amount}"


# --- what only we know ----------------------------------------------------------------------


def _missing(
    record: Record, rest: Iterable[Reservation], *, now: datetime, lag_s: float
) -> Iterator[Line]:
    """Tell of what we have and the provider's record has not."""
    unanswered = record.unanswered or {}
    for one in rest:
        if one.task_id in unanswered:
            yield Line(Verdict.UNANSWERED, one, problem=unanswered[one.task_id or ""])
        elif _is_missed(record, one, now=now, lag_s=lag_s):
            yield _never_charged(one)
        elif one.state is State.IN_DOUBT and record.is_of(one):
            yield Line(Verdict.ONLY_OURS, one, problem=_what_to_do(one))


def _what_to_do(one: Reservation) -> str | None:
    """Say why a job in doubt stays so; without a task nobody knows more than that it is."""
    if one.task_id is None:
        return None
    return f"{one.problem or 'in doubt'}; the record does not name its task {one.task_id}"


def _is_missed(record: Record, one: Reservation, *, now: datetime, lag_s: float) -> bool:
    """Whether a record that covers all charges should have named a job, had it been charged."""
    if not record.covers_all or not record.is_of(one):
        return False
    ends_at = now if record.until is None else min(now, record.until)
    if one.created_at > ends_at - timedelta(seconds=lag_s):
        return False
    if record.since is not None and one.created_at < record.since:
        return False
    if record.until is not None and one.created_at >= record.until:
        return False
    cost = spent(one)
    return one.state in {State.IN_DOUBT, State.SUBMITTED} if cost is None else cost.micro > 0


def _never_charged(one: Reservation) -> Line:
    problem = "the provider's record, which covers its time, has no charge for it"
    change = Change(one.id, State.ROLLED_BACK, problem=problem, reason=REASON)
    if not one.is_open:
        change = replace(
            change,
            to_state=None,
            amount=Money.zero(one.amount.unit),
            is_correction=True,
            problem=None,
        )
    return Line(Verdict.ONLY_OURS, one, problem=problem, proposal=(change,))
