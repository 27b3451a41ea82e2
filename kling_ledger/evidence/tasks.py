"""Tasks: what a provider says of each of our tasks when it is asked, beside our journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from kling_ledger.evidence.plan import REASON, Line, Verdict, settling, spent
from kling_ledger.jobs.recovery import AT_ONCE, MeterFor
from kling_ledger.ledger import Change, Reservation, State
from kling_ledger.providers.base import TaskState, TaskStatus
from kling_ledger.providers.registry import provider_facts
from kling_pricing.errors import KlingError


def ask_tasks(reservations: Sequence[Reservation], meter_for: MeterFor) -> list[Line]:
    """Ask for every task of some reservations, several at a time, and compare.

    A job that a bill has settled is not asked for: what a bill charges outweighs what a task says.
    """
    asked = [one for one in reservations if one.task_id is not None and one.settled_by != "bill"]

    def ask(one: Reservation) -> Line:
        try:
            status = meter_for(one).poll(one)
        except KlingError as error:
            return Line(Verdict.UNANSWERED, one, one.task_id, problem=str(error))
        return compare_task(one, status)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="reconcile") as pool:
        return [*pool.map(ask, asked), *_without_task(reservations)]


def compare_task(one: Reservation, status: TaskStatus) -> Line:
    """Say how a reservation agrees with what its task says of itself."""
    if status.state is TaskState.UNKNOWN:
        problem = status.problem or f"ours is {one.state}, theirs is unknown: ask again later"
        return _line(Verdict.UNANSWERED, one, status, problem)
    if status.state is TaskState.RUNNING:
        if one.is_open:
            return _line(Verdict.MATCHED, one, status)
        problem = f"ours is {one.state}, theirs is running: ask again later"
        return _line(Verdict.UNANSWERED, one, status, problem)
    if status.cost is not None:
        return _named(one, status)
    return _silent(one, status)


def _named(one: Reservation, status: TaskStatus) -> Line:
    """Compare with a task that names its cost."""
    cost = status.cost
    if cost is None or spent(one) == cost:
        return _line(Verdict.MATCHED, one, status)
    change = settling(one, cost, settled_by="provider")
    problem = f"ours is {one.state}, theirs says {status.state} at {cost}"
    return _line(Verdict.AMOUNT_DIFFERS, one, status, problem, change)


def _silent(one: Reservation, status: TaskStatus) -> Line:
    """Compare with a task that has ended and names no amount: that corrects no ended job."""
    is_done = status.state is TaskState.COMPLETED
    contradicts = status.has_error or not status.videos if is_done else bool(status.videos)
    facts = provider_facts(one.job.provider or "")
    if contradicts or not (is_done or facts.frees_failures):
        told = status.problem or "it contradicts itself"
        return _line(Verdict.UNANSWERED, one, status, f"{status.state}, and {told}")
    if one.is_open:
        change = _quoted(one) if is_done else _rolled_back(one)
        problem = f"ours is {one.state}, theirs says {status.state}"
        return _line(Verdict.AMOUNT_DIFFERS, one, status, problem, change)
    if is_done == (one.spent.micro > 0):
        return _line(Verdict.MATCHED, one, status)
    problem = f"ours is {one.state} at {one.spent}, theirs says {status.state} and names no amount"
    return _line(Verdict.QUESTION, one, status, problem)


def _quoted(one: Reservation) -> Change:
    """Charge what is held: what the provider set aside where it charges that, else our quote."""
    facts = provider_facts(one.job.provider or "")
    is_theirs = facts.charges_what_it_holds and one.provider_held is not None
    return Change(
        one.id,
        State.COMMITTED,
        one.held,
        settled_by="provider" if is_theirs else "quote",
        reason=REASON,
    )


def _rolled_back(one: Reservation) -> Change:
    return Change(one.id, State.ROLLED_BACK, problem=REASON, reason=REASON)


def _line(
    verdict: Verdict,
    one: Reservation,
    status: TaskStatus,
    problem: str | None = None,
    change: Change | None = None,
) -> Line:
    return Line(verdict, one, one.task_id, status.cost, problem, change, state=str(status.state))


def _without_task(reservations: Iterable[Reservation]) -> list[Line]:
    """Tell of jobs in doubt of which nobody knows a task."""
    return [
        Line(Verdict.ONLY_OURS, one)
        for one in reservations
        if one.task_id is None and one.state is State.IN_DOUBT
    ]
