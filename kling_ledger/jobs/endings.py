"""Endings: what the end of a task, as its provider tells it, does to the money of its reservation.

One table, and nothing else decides. A cost that is named is the truth about money, whatever else
is said. Where none is, an answer that contradicts itself moves nothing: a person decides.
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
"""From how many times more, or less, an amount is of another scale and not of this job."""

MAKES_NO_CLIP: Final = frozenset({"custom_element"})
"""Actions that make something else: they are done without a clip too."""

ERROR: Final = "it is completed, but with an error"
NO_CLIP: Final = "it is completed, but has no clip"
FAILED_WITH_CLIP: Final = "it failed, but has a clip"
FAILED: Final = "the provider says that it failed"
BACK_WITHOUT_COST: Final = "it is completed after its credits were returned, and has no cost"
FAILED_AFTER: Final = "the provider says that it failed, but it was already charged"


class Does(StrEnum):
    """What becomes of a reservation."""

    COMMIT = "commit"
    ROLL_BACK = "roll_back"
    DOUBT = "doubt"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Ending:
    """What an end does, its cost and the basis of that; `problem` is what a person should know."""

    does: Does
    problem: str | None = None
    cost: Money | None = None
    settled_by: SettledBy | None = None

    @property
    def is_told(self) -> bool:
        """Whether it rests on what the provider said, and not on our quote."""
        return self.does is Does.ROLL_BACK or self.settled_by == "provider"


def ending(reservation: Reservation, status: TaskStatus, *, facts: ProviderFacts | None) -> Ending:
    """Return what a task's answer does to a reservation as it stands; one that runs does nothing.

    `facts` are its provider's, None for one that is not known: its failures cost nothing.
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
    """Whether a job was charged and has made something, as far as its provider tells."""
    if reservation.state is not State.COMMITTED:
        return False
    has_made = bool(reservation.videos) or reservation.job.action in MAKES_NO_CLIP
    return has_made or reservation.settled_by == "quote"


def is_charged_without_clip(reservation: Reservation) -> bool:
    """Whether a job that is over has cost something and made nothing."""
    is_over = not reservation.is_open and not is_done(reservation)
    return is_over and reservation.spent.micro > 0


def is_absurd(amount: Money, held: Money) -> bool:
    """Whether an amount cannot be of the job that so much is held for, or is in another unit."""
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
        # What was reserved before a run that decides the cost is a guess, and confirms none.
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
    """Return what an answer does that comes late: only what the provider names moves anything."""
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
    """Whether a named cost is one that a reply of another scale would have."""
    held = reservation.held if reservation.is_open else reservation.amount
    return _costs(status) and status.cost is not None and is_absurd(status.cost, held)


def _costs(status: TaskStatus) -> bool:
    return status.cost is not None and status.cost.micro > 0


def _contradiction(reservation: Reservation, status: TaskStatus) -> str | None:
    """Say what of a completed task does not go together, None where all does."""
    error = f"{ERROR}: {status.problem or 'no reason given'}" if status.has_error else None
    has_made = bool(status.videos) or reservation.job.action in MAKES_NO_CLIP
    return noted(error, None if has_made else NO_CLIP)
