"""Reconcile: our journal beside the provider's own record, line by line, and what would mend it.

A record is what a provider says of its tasks, asked one by one or read from a statement. Comparing
changes nothing: it proposes changes of reservations, and `apply` makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from kling_ledger.jobs.recovery import AT_ONCE, MeterFor
from kling_ledger.ledger import (
    Change,
    Ledger,
    ProviderBalance,
    ProviderRecord,
    Reservation,
    State,
)
from kling_ledger.ledger.evidence import ASKED
from kling_ledger.providers.base import TaskState
from kling_pricing.errors import KlingError
from kling_pricing.money import Money

LAG_S: Final = 86_400.0
"""How long after its submission a job may still turn up in a provider's record."""

REASON: Final = "reconciled with the provider's record"

_CLOCKS_DIFFER_S: Final = 300.0


class Verdict(StrEnum):
    """How our journal and the provider's record agree about one job."""

    MATCHED = "matched"
    AMOUNT_DIFFERS = "amount_differs"
    ONLY_THEIRS = "only_theirs"
    ONLY_OURS = "only_ours"
    DUPLICATE = "duplicate"
    UNANSWERED = "unanswered"


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
    unanswered: Mapping[str, str] | None = None
    billed: frozenset[str] = frozenset()

    def is_of(self, one: Reservation) -> bool:
        """Whether a reservation's job was submitted where this record was kept."""
        return self.address is None or one.job.address in {None, self.address}


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


def ask_tasks(
    provider: str,
    reservations: Sequence[Reservation],
    meter_for: MeterFor,
    *,
    billed: Mapping[str, Money] | None = None,
) -> Record:
    """Ask a provider for every task of some reservations, several at a time.

    `billed` is what its bills have charged for tasks: those are not asked for, because what a bill
    charges outweighs what a task says that it cost.
    """
    known = billed or {}
    asked = [one for one in reservations if one.task_id is not None]

    def ask(one: Reservation) -> Charge | str:
        task_id = one.task_id or ""
        if task_id in known:
            return Charge(task_id, known[task_id])
        try:
            status = meter_for(one).poll(one)
        except KlingError as error:
            return str(error)
        return Charge(task_id, status.cost, status.state, problem=status.problem)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="reconcile") as pool:
        answers = list(pool.map(ask, asked))
    charges = tuple(answer for answer in answers if isinstance(answer, Charge))
    unanswered = {
        one.task_id or "": answer
        for one, answer in zip(asked, answers, strict=True)
        if isinstance(answer, str)
    }
    return Record(provider, ASKED, charges, unanswered=unanswered, billed=frozenset(known))


def compare(
    record: Record, reservations: Sequence[Reservation], *, now: datetime, lag_s: float = LAG_S
) -> list[Line]:
    """Compare a provider's record with our reservations at that provider, all of the same time.

    Jobs that were made less than `lag_s` before the record ends are not missed yet. Tasks that
    nobody knows are matched with jobs in doubt of the same model, begun about then: those of the
    same cost first. What is listed more than once is added up.
    """
    by_task = {one.task_id: one for one in reservations if one.task_id is not None}
    charges = _added_up(record.charges)
    strange = [charge for charge in charges if charge.task_id not in by_task]
    unclaimed = [one for one in reservations if _may_have_a_task(one) and record.is_of(one)]
    claimed = {**by_task, **_claims(strange, unclaimed)}
    lines = [_line(charge, claimed.get(charge.task_id)) for charge in charges]
    told = {line.reservation.id for line in lines if line.reservation is not None}
    rest = [one for one in reservations if one.id not in told]
    lines.extend(_missing(record, rest, now=now, lag_s=lag_s))
    return lines


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


def compare_balance(
    before: ProviderBalance,
    available: Money,
    charged: Money,
    reservations: Sequence[Reservation],
    *,
    topped_up: Money | None = None,
) -> Line | None:
    """Compare how far an account fell with what our journal charged since; None if they agree.

    `topped_up` is what was paid into the account meanwhile. No job may be open. Where one job alone
    was charged at its quote since then, because the provider names no cost, the difference is what
    that job really cost.
    """
    paid_in = topped_up or Money.zero(available.unit)
    apart = before.available + paid_in - available - charged
    if apart.micro == 0:
        return None
    problem = f"since {before.at:%Y-%m-%d %H:%M} UTC {_moved(charged + apart)}, our journal says"
    problem += f" that jobs cost {charged}"
    guessed = [one for one in reservations if one.settled_by == "quote"]
    guessed = [one for one in guessed if one.updated_at > before.at and (spent(one) or apart).micro]
    cost = (spent(guessed[0]) or apart) + apart if len(guessed) == 1 else None
    if cost is None or cost.micro < 0:
        hint = ": was it topped up, or do others spend from it too?"
        return Line(Verdict.AMOUNT_DIFFERS, problem=problem + hint)
    charge = Charge(guessed[0].task_id or "", cost, TaskState.COMPLETED)
    correction = _correction(guessed[0], cost, charge)
    return Line(Verdict.AMOUNT_DIFFERS, guessed[0], charge, problem, (correction,))


def _moved(fall: Money) -> str:
    """Say how an account moved, that fell by so much: it rose where that is less than nothing."""
    rise = Money.zero(fall.unit) - fall
    return f"the account fell by {fall}" if fall.micro > 0 else f"the account rose by {rise}"


def apply(ledger: Ledger, lines: Iterable[Line]) -> Iterator[tuple[Line, KlingError | None]]:
    """Make the proposed changes, line by line; with each line, the error that kept it as it was."""
    for line in lines:
        if not line.proposal:
            continue
        try:
            ledger.settle(line.proposal)
        except KlingError as error:
            yield line, error
        else:
            yield line, None


def records_of(record: Record, lines: Iterable[Line]) -> list[ProviderRecord]:
    """Return what the ledger keeps of a comparison: what the provider said of each task."""
    return [
        ProviderRecord(
            provider=record.provider,
            task_id=line.charge.task_id,
            reservation_id=None if line.reservation is None else line.reservation.id,
            verdict=line.verdict,
            state=line.charge.state,
            billed=line.charge.amount,
            source=record.source,
        )
        for line in lines
        if line.charge is not None and line.charge.task_id not in record.billed
    ]


# --- one task and one reservation -----------------------------------------------------------


def _added_up(charges: Iterable[Charge]) -> list[Charge]:
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
            changes.append(_correction(ours, theirs, charge))
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


def _correction(ours: Reservation, theirs: Money, charge: Charge) -> Change:
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


# --- what only one side knows ---------------------------------------------------------------


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


def _by_time(charge: Charge) -> tuple[bool, float, str]:
    at = charge.created_at
    return (at is None, 0.0 if at is None else at.timestamp(), charge.task_id)
