"""Tasks: what a provider answers about each of our tasks, compared with our journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from kling_ledger.evidence.plan import REASON, Line, Verdict, settling, spent
from kling_ledger.jobs.endings import Does, Ending, ending, is_absurd
from kling_ledger.jobs.recovery import AT_ONCE, MeterFor
from kling_ledger.ledger import Change, Reservation, State
from kling_ledger.providers.base import TaskState, TaskStatus
from kling_ledger.providers.registry import provider_facts
from kling_pricing.errors import KlingError


def ask_tasks(reservations: Sequence[Reservation], meter_for: MeterFor) -> list[Line]:
    """Poll the tasks of some reservations, several at a time, and compare.

    A job that a bill has settled is not polled: a bill outweighs what a task says.
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
    """Compare a reservation with the answer about its task."""
    if status.state is TaskState.UNKNOWN:
        problem = status.problem or f"ours is {one.state}, theirs is unknown: try again later"
        return _line(Verdict.UNANSWERED, one, status, problem)
    if status.state is TaskState.RUNNING:
        if one.is_open:
            return _line(Verdict.MATCHED, one, status)
        problem = f"ours is {one.state}, theirs is running: try again later"
        return _line(Verdict.UNANSWERED, one, status, problem)
    end = ending(one, status, facts=provider_facts(one.job.provider or ""))
    return _still_open(one, status, end) if one.is_open else _after_its_end(one, status, end)


def _still_open(one: Reservation, status: TaskStatus, end: Ending) -> Line:
    """Compare an open job with its task's end, and propose what following it would have done."""
    problem = f"ours is {one.state}, theirs says {_told(status)}"
    if end.does is Does.COMMIT:
        change = Change(one.id, State.COMMITTED, end.cost, settled_by=end.settled_by, reason=REASON)
        return _line(Verdict.AMOUNT_DIFFERS, one, status, problem, change)
    if end.does is Does.ROLL_BACK:
        change = Change(one.id, State.ROLLED_BACK, problem=REASON, reason=REASON)
        return _line(Verdict.AMOUNT_DIFFERS, one, status, problem, change)
    return _line(Verdict.UNANSWERED, one, status, f"{status.state}, and {end.problem}")


def _after_its_end(one: Reservation, status: TaskStatus, end: Ending) -> Line:
    """Compare a job that is over: only an amount that the provider names corrects it."""
    problem = f"ours is {one.state} at {one.spent}, theirs says {_told(status)}"
    cost = status.cost if status.cost is not None else end.cost
    if cost is not None:
        if spent(one) == cost:
            return _line(Verdict.MATCHED, one, status)
        if cost.micro and is_absurd(cost, one.amount):
            return _line(
                Verdict.QUESTION, one, status, f"{problem}, which cannot be the price of this job"
            )
        change = settling(one, cost, settled_by="provider")
        return _line(Verdict.AMOUNT_DIFFERS, one, status, problem, change)
    is_done = status.state is TaskState.COMPLETED
    if is_done == (one.spent.micro > 0):
        return _line(Verdict.MATCHED, one, status)
    return _line(Verdict.QUESTION, one, status, f"{problem} and has no amount")


def _told(status: TaskStatus) -> str:
    return str(status.state) if status.cost is None else f"{status.state} at {status.cost}"


def _line(
    verdict: Verdict,
    one: Reservation,
    status: TaskStatus,
    problem: str | None = None,
    change: Change | None = None,
) -> Line:
    return Line(verdict, one, one.task_id, status.cost, problem, change, state=str(status.state))


def _without_task(reservations: Iterable[Reservation]) -> list[Line]:
    """Report jobs in doubt without a known task."""
    return [
        Line(Verdict.ONLY_OURS, one)
        for one in reservations
        if one.task_id is None and one.state is State.IN_DOUBT
    ]
