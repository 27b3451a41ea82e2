"""Tasks: a provider's record, asked for task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from kling_ledger.evidence.charges import Charge, Record
from kling_ledger.jobs.recovery import AT_ONCE, MeterFor
from kling_ledger.ledger import Reservation
from kling_ledger.ledger.evidence import ASKED
from kling_ledger.providers.base import TaskState, TaskStatus
from kling_ledger.providers.registry import FACTS
from kling_pricing.errors import KlingError
from kling_pricing.money import Money


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
        return Charge(task_id, status.cost, _state_of(provider, status), problem=status.problem)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="reconcile") as pool:
        answers = list(pool.map(ask, asked))
    charges = tuple(answer for answer in answers if isinstance(answer, Charge))
    unanswered = {
        one.task_id or "": answer
        for one, answer in zip(asked, answers, strict=True)
        if isinstance(answer, str)
    }
    return Record(provider, ASKED, charges, unanswered=unanswered, billed=frozenset(known))


def _state_of(provider: str, status: TaskStatus) -> TaskState:
    """Return a task's state; a failure that may have been charged is none without its cost."""
    is_free = FACTS[provider].frees_failures or status.cost is not None
    return status.state if is_free or status.state is not TaskState.FAILED else TaskState.UNKNOWN
