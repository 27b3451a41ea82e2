"""Next steps: what a person can do about a job that nothing else can end, as commands to type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kling_ledger.jobs.recovery import NextStep, Recovered
    from kling_ledger.ledger import Reservation


def to_do(recovered: Recovered) -> str | None:
    """Return what a person has to do about a job, None if nothing."""
    step = recovered.next_step
    return None if step is None else words_for(step, recovered.reservation)


def words_for(step: NextStep, found: Reservation) -> str:
    """Return the sentence that tells a person what to check, and which command to run then."""
    match step:
        case "look_for_task":
            return look_for_task(found)
        case "ask_about_task":
            return _ask_about_task(found)
        case _:
            return (
                "the script that created it must end it, or end it yourself: kling-ledger "
                f"reservation commit|rollback {found.id} --reason ..."
            )


def look_for_task(found: Reservation) -> str:
    """Tell a person where to look for a task that may or may not exist."""
    job = found.job
    seconds = "" if job.seconds is None else f", {job.seconds} s"
    return (
        f"check {job.provider} for a task of {job.model}{seconds} from about "
        f"{found.created_at:%Y-%m-%d %H:%M} UTC. If you find it: kling-ledger reservation "
        f"submitted {found.id} TASK, then kling-ledger resume. If not: kling-ledger reservation "
        f"rollback {found.id} --reason ..."
    )


def claim_task(task_id: str | None, candidates: Sequence[str]) -> str:
    """Tell a person how to assign a task of the bill to a job in doubt."""
    named = ", ".join(candidates[:3])
    more = f" and {len(candidates) - 3} more" if len(candidates) > 3 else ""
    known = candidates[0] if len(candidates) == 1 else "ID"
    return (
        f"If it belongs to {named}{more}: kling-ledger reservation submitted {known} {task_id}, "
        "then reconcile again"
    )


def say_what_it_cost(found: Reservation) -> str:
    """Tell a person how to record the cost of a job, once they know it."""
    if found.is_open:
        return f"Then: kling-ledger reservation commit|rollback {found.id} --reason ..."
    return f"Then: kling-ledger reservation correct {found.id} --amount AMOUNT --reason ..."


def _ask_about_task(found: Reservation) -> str:
    """Tell a person what to do about a task whose state the provider leaves unclear."""
    return (
        f"check {found.job.provider} for task {found.task_id}: kling-ledger resume {found.id}"
        f" polls it again, kling-ledger reconcile --provider {found.job.provider} --statement FILE"
        " settles it by the bill; or settle it yourself: kling-ledger reservation commit|rollback"
        " {found.id} --reason ..."
    )
