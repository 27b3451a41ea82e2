"""The approvals of a ledger: `ledger.approvals`. Each method is one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from kling_ledger.ledger import approvals
from kling_ledger.ledger.access import Access
from kling_ledger.ledger.approvals import LIVES_S, Approval, Verdict
from kling_ledger.ledger.asking import Asked
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Approvals:
    """Approvals of jobs by a person, by id."""

    _access: Access

    def ask(self, asked: Asked, *, said: str, asked_by: str, lives_s: int = LIVES_S) -> Approval:
        """Request approval of a job; an existing approval for it is returned instead.

        `said` is the job in words, without its prompt; `asked_by` is the requester: only their own
        earlier requests count. The returned approval may already be granted or denied. It can be
        decided, and used, for `lives_s` seconds. Raises ApprovalsWaitError, a refusal, if too many
        requests of the same requester wait.
        """
        known = self.standing_for(asked, asked_by=asked_by)
        if known is not None:
            return known
        stamp = self._access.stamp()
        return self._access.write(
            lambda transaction: approvals.ask(
                transaction, asked, said=said, asked_by=asked_by, lives_s=lives_s, stamp=stamp
            )
        )

    def standing_for(self, asked: Asked, *, asked_by: str) -> Approval | None:
        """Return the existing approval of a job, as `ask` would; None if it would ask."""
        at_us = self._access.at_us()
        with self._access.read() as transaction:
            return approvals.standing_for(transaction, asked, asked_by=asked_by, at_us=at_us)

    def grant(
        self, approval_id: str, *, reason: str | None = None, ceiling: Money | None = None
    ) -> Approval:
        """Allow the job to be reserved once, before the approval expires, for at most the requested
        amount.

        A `ceiling` allows more, in case its price rises. Raises ApprovalClosedError if it was
        already decided, or has expired.
        """
        return self._decide(approval_id, "granted", reason=reason, ceiling=ceiling)

    def deny(self, approval_id: str, *, reason: str | None = None) -> Approval:
        """Deny the job; raises ApprovalClosedError as `grant` does."""
        return self._decide(approval_id, "denied", reason=reason, ceiling=None)

    def get(self, approval_id: str) -> Approval:
        """Return an approval by its id; NotFoundError if there is none."""
        with self._access.read() as transaction:
            return approvals.find(transaction, approval_id)

    def all(self, *, undecided_only: bool = False) -> list[Approval]:
        """Return all approvals, oldest first, or those that a person can decide now."""
        at_us = self._access.at_us() if undecided_only else None
        with self._access.read() as transaction:
            return approvals.every(transaction, undecided_at_us=at_us)

    def _decide(
        self, approval_id: str, verdict: Verdict, *, reason: str | None, ceiling: Money | None
    ) -> Approval:
        stamp = self._access.stamp(reason)
        return self._access.write(
            lambda transaction: approvals.decide(
                transaction, approval_id, verdict, ceiling=ceiling, stamp=stamp
            )
        )
