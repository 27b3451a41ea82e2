"""Endings: what the end of a task, as its provider reports it, does to the reservation's money.

All of it is decided here. A named cost is the truth about money, whatever else the answer says.
Without one, an answer that contradicts itself moves nothing: a person decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kling_ledger.jobs.overcharge import noted
from kling_ledger.ledger import Reservation, SettledBy, State
from kling_ledger.providers.base import TaskState, TaskStatus
from kling_ledger.providers.facts import ProviderFacts
from kling_pricing.money import Money

ABSURD_TIMES: Final = 100
"""An amount this many times higher or lower than the hold is in another scale, not this job's."""

MAKES_NO_CLIP: Final = frozenset({"custom_element"})
"""Actions that make something other than a clip: they complete without one."""

ERROR: Final = "it is completed, but with an error"
NO_CLIP: Final = "it is completed, but has no clip"
FAILED_WITH_CLIP: Final = "it failed, but has a clip"
FAILED: Final = "the provider says that it failed"
BACK_WITHOUT_COST: Final = "it is completed after its credits were returned, and has no cost"
FAILED_AFTER: Final = "the provider says that it failed, but it was already charged"


class Does(StrEnum):
    """What happens to a reservation."""

    COMMIT = "commit"
    ROLL_BACK = "roll_back"
    DOUBT = "doubt"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Ending:
    """What an end does, its cost and the basis of that cost; `problem` is for a person."""

    does: Does
    problem: str | None = None
    cost: Money | None = None
    settled_by: SettledBy | None = None

    @property
    def is_told(self) -> bool:
        """Whether it is based on the provider's report, not on our quote."""
        return self.does is Does.ROLL_BACK or self.settled_by == "provider"


def ending(reservation: Reservation, status: TaskStatus, *, facts: ProviderFacts | None) -> Ending:
    """Return what a task's answer does to a reservation as it is; a running task does nothing.

    `facts` are those of its provider; None for an unknown provider, whose failures cost nothing.
    """
    if status.state not in {TaskState.COMPLETED, TaskState.FAILED}:
        return Ending(Does.NOTHING)
    if (
        facts is not None
        and facts.charges_what_it_holds
        and _is_of_another_scale(reservation, status)
    ):
        odd = f"its cost is given as {status.cost}, which cannot be right for this job"
        does = Does.DOUBT if reservation.is_open else Does.NOTHING
        return Ending(does, odd)
    if not reservation.is_open:
        return _after_its_end(reservation, status, facts)
    if status.state is TaskState.COMPLETED:
        return _completed(reservation, status, facts)
    return _failed(status, facts)


def is_done(reservation: Reservation) -> bool:
    """Whether a job was charged and has made something, as far as its provider says."""
    if reservation.state is not State.COMMITTED:
        return False
    has_made = bool(reservation.videos) or reservation.job.action in MAKES_NO_CLIP
    return has_made or reservation.settled_by == "quote"


def is_charged_without_clip(reservation: Reservation) -> bool:
    """Whether a job is over, was charged and made nothing."""
    is_over = not reservation.is_open and not is_done(reservation)
    return is_over and reservation.spent.micro > 0


def is_absurd(amount: Money, held: Money) -> bool:
    """Whether an amount is too far from the hold to belong to the job, or in another unit."""
    if amount.unit != held.unit:
        return True
    return not held.micro <= amount.micro * ABSURD_TIMES <= held.micro * ABSURD_TIMES**2


def _completed(reservation: Reservation, status: TaskStatus, facts: ProviderFacts | None) -> Ending:
    contradiction = _contradiction(reservation, status)
    problem = contradiction or status.problem
    if status.cost is not None:
        return Ending(Does.COMMIT, problem, status.cost, "provider")
    if contradiction:
        return Ending(Does.DOUBT, problem)
    theirs = reservation.provider_held
    if theirs is not None and facts is not None and facts.charges_what_it_holds:
        # If the run decides the cost, what was reserved before it is a guess: it confirms nothing.
        settled_by: SettledBy = "quote" if reservation.is_ranged else "provider"
        return Ending(Does.COMMIT, problem, theirs, settled_by)
    return Ending(Does.COMMIT, problem, reservation.held, "quote")


def _failed(status: TaskStatus, facts: ProviderFacts | None) -> Ending:
    problem = status.problem or FAILED
    if _costs(status):
        return Ending(Does.COMMIT, problem, status.cost, "provider")
    if status.cost is None and status.videos:
        return Ending(Does.DOUBT, noted(FAILED_WITH_CLIP, status.problem))
    is_free = facts is None or facts.frees_failures or status.cost is not None
    return Ending(Does.ROLL_BACK if is_free else Does.DOUBT, problem)


def _after_its_end(
    reservation: Reservation, status: TaskStatus, facts: ProviderFacts | None
) -> Ending:
    """Return what a late answer does: only a cost that the provider names moves anything."""
    has_failed = status.state is TaskState.FAILED
    if reservation.state is State.COMMITTED:
        return Ending(Does.NOTHING, FAILED_AFTER if has_failed else None)
    if has_failed:
        return _failed(status, facts) if _costs(status) else Ending(Does.NOTHING)
    late = _completed(reservation, status, facts)
    if late.settled_by == "provider" and late.cost is not None:
        return late if late.cost.micro else Ending(Does.NOTHING)
    return Ending(Does.NOTHING, BACK_WITHOUT_COST)


def _is_of_another_scale(reservation: Reservation, status: TaskStatus) -> bool:
    """Whether the named cost is in another scale than the reservation."""
    held = reservation.held if reservation.is_open else reservation.amount
    return _costs(status) and status.cost is not None and is_absurd(status.cost, held)


def _costs(status: TaskStatus) -> bool:
    return status.cost is not None and status.cost.micro > 0


def _contradiction(reservation: Reservation, status: TaskStatus) -> str | None:
    """Say what in the answer about a completed task contradicts itself; None if nothing does."""
    error = f"{ERROR}: {status.problem or 'no reason given'}" if status.has_error else None
    has_made = bool(status.videos) or reservation.job.action in MAKES_NO_CLIP
    return noted(error, None if has_made else NO_CLIP)
