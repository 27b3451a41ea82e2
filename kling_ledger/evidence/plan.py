"""Plan: whether our journal and a provider's record agree about each job, and the corrections.

Comparing changes nothing. A line agrees, proposes a correction with its evidence, or asks. Nothing
is guessed: evidence that does not name the job, the account and the amount moves no money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from kling_ledger.evidence.costs import read_task
from kling_ledger.evidence.entries import Entry
from kling_ledger.evidence.matching import Matched, Unclaimed, match
from kling_ledger.evidence.record import Reading, Record, TaskRows
from kling_ledger.ledger import Change, Reservation, SettledBy, State
from kling_pricing.money import Money

PERHAPS_A_PART: Final = "it is refunded, but the row does not say whether in full"
REASON: Final = "reconciled with the provider's record"


class Verdict(StrEnum):
    """Whether our journal and the provider's record agree about one job."""

    MATCHED = "matched"
    AMOUNT_DIFFERS = "amount_differs"
    """The record names the job and its cost, and our journal says otherwise."""
    NEVER_CHARGED = "never_charged"
    """A complete record has no charge for it, and no unclaimed charge that could be its own."""
    QUESTION = "question"
    """The record can be read in more than one way: a person decides."""
    ONLY_THEIRS = "only_theirs"
    ONLY_OURS = "only_ours"
    DUPLICATE = "duplicate"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class Line:
    """One job as both sides have it, and the correction of our side.

    `theirs` is the job's cost by the provider's record, or what its rows add up to if the cost is
    uncertain. `candidates` are the jobs in doubt that an unclaimed task may belong to.
    """

    verdict: Verdict
    reservation: Reservation | None = None
    task_id: str | None = None
    theirs: Money | None = None
    problem: str | None = None
    change: Change | None = None
    state: str | None = None
    candidates: tuple[str, ...] = ()
    evidence: tuple[Entry, ...] = ()

    @property
    def stands(self) -> bool:
        """Whether both sides still differ, or a question is open."""
        return self.verdict is not Verdict.MATCHED

    @property
    def ours(self) -> Money | None:
        """What the job cost by our journal, None while it is open or not ours."""
        return None if self.reservation is None else spent(self.reservation)


def spent(reservation: Reservation) -> Money | None:
    """Return the final cost of a reservation; None while it is open."""
    return None if reservation.is_open else reservation.spent


def compare(
    record: Record, ours: Sequence[Reservation], elsewhere: Sequence[Reservation] = ()
) -> tuple[list[Line], Matched, list[Unclaimed]]:
    """Compare a bill with our reservations on its account; `missing` adds what only one side has.

    `elsewhere` are our reservations on other accounts whose tasks the bill names. Returns the
    lines, the matches, and the tasks that no job of ours on the account has.
    """
    matched = match(record, ours)
    lines: list[Line] = []
    unclaimed: list[Unclaimed] = []
    others = {one.task_id: one for one in elsewhere}
    for rows, one in matched.pairs:
        unit = one.amount.unit if one is not None else _unit_of(rows)
        whole = one is not None and record.covers(one)
        reading = read_task(rows, unit, is_itemised=record.is_itemised, is_complete=whole)
        if one is not None:
            if not whole and _gives_back_a_part(reading, one):
                reading = replace(reading, cost=None, question=PERHAPS_A_PART)
            lines.append(_line(rows, reading, one, is_cut_off=record.is_cut_off))
        elif rows.task_id in others:
            # Two accounts may use the same task id: the row may still be about a job here.
            lines.append(_elsewhere(rows, reading, others[rows.task_id], record))
            unclaimed.append(Unclaimed(rows, reading, is_elsewhere=True))
        else:
            unclaimed.append(Unclaimed(rows, reading))
    lines.extend(_loose(one) for one in matched.loose)
    return lines, matched, unclaimed


def _gives_back_a_part(reading: Reading, one: Reservation) -> bool:
    """Whether a refunded task's row does not name the job's whole cost: it may be a part of it."""
    is_free = reading.cost is not None and reading.cost.micro == 0
    if not is_free or not reading.has_failed or spent(one) == reading.cost:
        return False
    whole = (one.held if one.is_open else one.spent).amount
    told = {text.strip().lstrip("-$") for row in reading.entries for text in row.raw.values()}
    return all(not _is_sum(text, whole) for text in told)


def _is_sum(text: str, whole: Decimal) -> bool:
    """Whether a cell holds a sum, written plainly."""
    return text.replace(".", "", 1).isdecimal() and Decimal(text) == whole


def _line(rows: TaskRows, reading: Reading, one: Reservation, *, is_cut_off: bool) -> Line:
    """Compare the rows of a task with our reservation of it."""

    def line(verdict: Verdict, problem: str | None = None, change: Change | None = None) -> Line:
        state = "failed" if reading.has_failed else "running" if reading.is_running else None
        return Line(
            verdict,
            one,
            rows.task_id,
            reading.cost if reading.cost is not None else reading.seen,
            problem,
            change,
            state,
            evidence=reading.entries,
        )

    if reading.is_running:
        if one.is_open:
            return line(Verdict.MATCHED)
        return line(
            Verdict.UNANSWERED, f"ours is {one.state}, theirs has not ended: try again later"
        )
    cost, question = reading.cost, reading.question
    if reading.refund is not None:
        cost, question = _after_refund(one, reading.refund)
    if question is not None:
        verdict = Verdict.DUPLICATE if reading.is_twice else Verdict.QUESTION
        return line(verdict, question)
    if cost is None:
        return line(Verdict.QUESTION, "the record has no amount")
    if is_cut_off and cost != spent(one):
        return line(
            Verdict.QUESTION, "rows are missing from the bill: export the complete bill again"
        )
    change = settling(one, cost, settled_by="bill")
    if spent(one) == cost:
        return line(Verdict.MATCHED, change=change)
    return line(Verdict.AMOUNT_DIFFERS, f"ours is {one.state}, theirs says {cost}", change)


def settling(one: Reservation, cost: Money, *, settled_by: SettledBy) -> Change | None:
    """Return the change that gives a reservation the cost that the provider names.

    None if there is nothing to change. If the amount is already right, the change only records who
    confirmed it, and moves nothing.
    """
    if not one.is_open:
        if one.spent == cost and one.settled_by in {settled_by, "provider"}:
            return None
        if one.spent == cost and one.state is not State.COMMITTED:
            return None
        return Change(one.id, None, cost, is_correction=True, settled_by=settled_by, reason=REASON)
    if cost.micro == 0:
        return Change(one.id, State.ROLLED_BACK, problem=REASON, reason=REASON)
    charged = cost - (one.committed or Money.zero(cost.unit)) + one.refunded
    if charged.micro < 0:
        return None
    return Change(one.id, State.COMMITTED, charged, settled_by=settled_by, reason=REASON)


def _after_refund(one: Reservation, refund: Money) -> tuple[Money | None, str | None]:
    """Return a job's cost after a refund whose charge is not in this record, or the question.

    The refund can be subtracted only if an earlier bill settled the charge.
    """
    cost = None if one.is_open else one.spent - refund
    if refund.micro == 0 and cost is not None:
        return cost, None
    if cost is None or one.settled_by != "bill" or cost.micro < 0:
        return None, f"{refund} is refunded, but no earlier bill has shown the charge"
    return cost, None


def _elsewhere(rows: TaskRows, reading: Reading, one: Reservation, record: Record) -> Line:
    whose = "an unknown account" if one.job.account is None else one.job.account
    there = f"on {whose}, not on {record.account}"
    if one.job.account == record.account:
        there = f"at {one.job.address}, not at {record.address}"
    problem = f"this task ran {there}: whose bill is this?"
    return Line(Verdict.QUESTION, None, rows.task_id, reading.seen, problem)


def _loose(entry: Entry) -> Line:
    problem = f"{entry.place}: the row has no task"
    return Line(Verdict.QUESTION, None, None, entry.amount, problem, evidence=(entry,))


def _unit_of(rows: TaskRows) -> str:
    return next((one.amount.unit for one in rows.entries if one.amount is not None), "")
