"""Refusals of admission. Nothing was changed and nothing was sent."""

from __future__ import annotations

from datetime import datetime

from kling_ledger.errors.ledger import LedgerError
from kling_pricing.money import Money, plain


class RefusedError(LedgerError):
    """Admission was refused: nothing was changed and nothing was sent."""

    code = "refused"


class InsufficientCreditsError(RefusedError):
    """The wallet holds less than the job needs; `fits` is the most that would be admitted."""

    code = "insufficient_credits"

    def __init__(
        self, wallet: str, *, needed: Money, available: Money, fits: Money | None = None
    ) -> None:
        # Written out: the shortfall may exceed the largest `Money`.
        short = f"{plain(needed.amount - available.amount)} {needed.unit}"
        super().__init__(
            f"wallet {wallet}: needed {needed}, available {available}, short by {short}",
            hint=f"fund it with {short}",
        )
        self.wallet = wallet
        self.needed = needed
        self.available = available
        self.short = short
        self.fits = available if fits is None else fits


class BudgetError(RefusedError):
    """A budget's window has less left than the job needs.

    `limit` includes current raises; `left` is negative if a job cost more than was reserved;
    `frees_at` is when the window ends, None if it never does; `fits` is the most that wallet and
    all budgets together would admit now, in the unit of the job.
    """

    code = "budget"

    def __init__(
        self,
        budget: str,
        *,
        limit: Money,
        spent: Money,
        reserved: Money,
        asked: Money,
        frees_at: datetime | None,
        fits: Money,
    ) -> None:
        left = limit - spent - reserved
        until = f", frees at {frees_at:%Y-%m-%d %H:%M} UTC" if frees_at else ""
        super().__init__(
            f"budget {budget}: limit {limit}, spent {spent}, reserved {reserved},"
            f" asked {asked}, left {left}{until}",
            hint=f"{_would_fit(fits)} raise it temporarily",
        )
        self.budget = budget
        self.limit = limit
        self.spent = spent
        self.reserved = reserved
        self.asked = asked
        self.left = left
        self.frees_at = frees_at
        self.fits = fits


class CeilingError(RefusedError):
    """The job costs more than the limit for one job, set by the caller or by a budget."""

    code = "ceiling"

    def __init__(self, *, cost: Money, ceiling: Money, budget: str | None = None) -> None:
        of = f" of budget {budget}" if budget else ""
        super().__init__(
            f"the job costs {cost}, more than the ceiling{of} of {ceiling}",
            hint=f"request fewer seconds, a lower resolution or no sound, or raise the ceiling{of}",
        )
        self.cost = cost
        self.ceiling = ceiling
        self.budget = budget
        self.fits = ceiling


class TotalError(RefusedError):
    """The jobs of a batch cost more than its limit."""

    code = "total"

    def __init__(self, *, cost: Money, most: Money) -> None:
        super().__init__(
            f"the batch costs {cost}, more than its limit of {most}",
            hint="run fewer rows, or raise the limit",
        )
        self.cost = cost
        self.most = most
        self.fits = most


class UnknownWorthError(RefusedError):
    """A budget counts in US dollars, and the value of the job in dollars is unknown."""

    code = "unknown_worth"

    def __init__(self, budget: str, *, asked: Money, unit: str) -> None:
        super().__init__(
            f"budget {budget} counts {unit}, and the value of {asked} in {unit} is unknown",
            hint="reserve from a quote, which has an amount in USD, or set the limit in that unit",
        )
        self.budget = budget
        self.asked = asked
        self.unit = unit


class ApprovalNeededError(RefusedError):
    """The job costs too much to run without a person's approval; `approval` is the request for it.

    Once it is granted, before `expires_at`, the same job is admitted once. `command` grants it;
    `problem` says why the given approval is not valid, None if none was given.
    """

    code = "approval_needed"

    def __init__(
        self,
        approval: str,
        *,
        asked: Money,
        above: Money,
        expires_at: datetime,
        problem: str | None = None,
    ) -> None:
        because = f" ({problem})" if problem else ""
        super().__init__(
            f"the job costs {asked}; above {above} a person must approve it{because}: {approval}"
            f" waits until {expires_at:%Y-%m-%d %H:%M} UTC",
            hint=f"ask a person to grant {approval}, then request the same job again",
        )
        self.approval = approval
        self.asked = asked
        self.above = above
        self.fits = above
        self.expires_at = expires_at
        self.problem = problem

    @property
    def command(self) -> str:
        """The command that grants it."""
        return f"kling-ledger approval grant {self.approval}"


class ApprovalDeniedError(RefusedError):
    """A person denied this job; the decision holds until `until`."""

    code = "approval_denied"

    def __init__(
        self,
        approval: str,
        *,
        by: str,
        reason: str | None,
        asked: Money,
        above: Money,
        until: datetime,
    ) -> None:
        why = f": {reason}" if reason else ""
        super().__init__(
            f"{by} denied {approval}, this job at {asked}{why}",
            hint=f"request a job of at most {above}, or talk to {by}: you can request this job"
            f" again after {until:%Y-%m-%d %H:%M} UTC",
        )
        self.approval = approval
        self.by = by
        self.reason = reason
        self.asked = asked
        self.above = above
        self.fits = above
        self.until = until


class ApprovalsWaitError(RefusedError):
    """Too many jobs of one caller wait for approval: no more are added."""

    code = "approvals_wait"
    retryable = True

    def __init__(self, asked_by: str, *, waiting: int) -> None:
        super().__init__(
            f"{waiting} jobs of {asked_by} already wait for approval: no more can be added",
            hint="wait until some are decided or expire",
        )
        self.asked_by = asked_by
        self.waiting = waiting


def _would_fit(fits: Money) -> str:
    return f"up to {fits} would be admitted now; or" if fits.amount > 0 else "nothing fits now:"
