"""Missing: what only one side has.

A job that a complete bill does not name was never charged, unless something in the bill could be
its charge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from kling_ledger.evidence.matching import Unclaimed, may_be_of
from kling_ledger.evidence.plan import REASON, Line, Verdict, spent
from kling_ledger.evidence.record import Record
from kling_ledger.ledger import Change, Reservation, State
from kling_pricing.money import Money

LAG_S: Final = 86_400.0
"""How long a job may take to appear in a provider's record, in seconds."""

NOT_THERE: Final = "the provider's record covers this time and has no charge for it"

_UNDECIDED: Final = frozenset({State.IN_DOUBT, State.SUBMITTED, State.SUBMITTING})


def only_theirs(unclaimed: Iterable[Unclaimed], rest: Sequence[Reservation]) -> Iterator[Line]:
    """Yield the tasks that no job of ours has, with the jobs in doubt that they may belong to."""
    doubtful = [one for one in rest if one.task_id is None and one.state in _UNDECIDED]
    for one in unclaimed:
        if one.is_elsewhere:
            continue
        candidates = tuple(ours.id for ours in doubtful if may_be_of(one, ours))
        problem = "the journal has no such task on this account"
        yield Line(
            Verdict.ONLY_THEIRS,
            None,
            one.rows.task_id,
            one.reading.seen,
            problem,
            candidates=candidates,
            evidence=one.rows.entries,
        )


def only_ours(
    record: Record,
    rest: Iterable[Reservation],
    unclaimed: Sequence[Unclaimed],
    *,
    now: datetime,
    lag_s: float = LAG_S,
) -> Iterator[Line]:
    """Yield the jobs that the record does not name: never charged, or a question."""
    for one in rest:
        if _is_missed(record, one, now=now, lag_s=lag_s):
            yield _missed(record, one, unclaimed)
        elif one.state is State.IN_DOUBT:
            yield Line(Verdict.ONLY_OURS, one, one.task_id, problem=_doubt(one))


def _is_missed(record: Record, one: Reservation, *, now: datetime, lag_s: float) -> bool:
    """Whether a complete record would have named a job if it had been charged."""
    ends_at = now if record.until is None else min(now, record.until)
    if not record.covers(one) or one.created_at > ends_at - timedelta(seconds=lag_s):
        return False
    cost = spent(one)
    return one.state in _UNDECIDED if cost is None else cost.micro > 0


def _missed(record: Record, one: Reservation, unclaimed: Sequence[Unclaimed]) -> Line:
    """Propose to give a job's credits back, unless something in the record could be its charge."""
    doubt = _why_not(record, one, unclaimed)
    if doubt is not None:
        return Line(Verdict.QUESTION, one, one.task_id, problem=doubt)
    change = Change(one.id, State.ROLLED_BACK, problem=NOT_THERE, reason=NOT_THERE)
    if not one.is_open:
        zero = Money.zero(one.amount.unit)
        change = Change(one.id, None, zero, is_correction=True, settled_by="bill", reason=NOT_THERE)
    return Line(Verdict.NEVER_CHARGED, one, one.task_id, problem=NOT_THERE, change=change)


def _why_not(record: Record, one: Reservation, unclaimed: Sequence[Unclaimed]) -> str | None:
    if record.is_cut_off:
        return "the bill does not list it, but the bill itself says that rows are missing"
    if record.has_unzoned_times:
        return "the bill does not list it, but its times have no zone: give the zone"
    perhaps = [its.rows.task_id for its in unclaimed if may_be_of(its, one)]
    if perhaps:
        return (
            f"the bill does not list it, but has an unclaimed task {perhaps[0]}: is that the one?"
        )
    return None


def _doubt(one: Reservation) -> str | None:
    """Say why a job in doubt stays in doubt; None without a task, when nothing more is known."""
    if one.task_id is None:
        return None
    return f"{one.problem or 'in doubt'}; the record does not list its task {one.task_id}"


def too_many(lines: Iterable[Line], *, said: int | None) -> int | None:
    """Return how many jobs are missing, if a person has to confirm that number first.

    That is so if more are missing than were found, or if a person gave another number. Many are
    missing from a bill of another account or month, and from one that was cut off.
    """
    told = list(lines)
    missing = sum(one.verdict is Verdict.NEVER_CHARGED for one in told)
    found = sum(
        one.reservation is not None
        and one.verdict in {Verdict.MATCHED, Verdict.AMOUNT_DIFFERS, Verdict.DUPLICATE}
        for one in told
    )
    if missing in {0, said}:
        return None
    return missing if missing > found or said is not None else None


__all__ = ["LAG_S", "NOT_THERE", "REASON", "only_ours", "only_theirs", "too_many"]
