"""Approving: a job above a sum is reserved only after a person has granted it.

The caller chooses that sum; the ledger keeps what the person decided.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from kling_ledger.errors import (
    ApprovalDeniedError,
    ApprovalNeededError,
    ConfigError,
    NotFoundError,
)
from kling_ledger.ledger import Asked, Ledger
from kling_ledger.ledger.approvals import KEY_PREFIX, Approval
from kling_pricing.money import Money

_LONGEST_ID: Final = 40
"""How many characters of a caller's approval id are quoted in an error: it may be anything."""


def approved(
    ledger: Ledger,
    asked: Asked,
    *,
    above: Money | None,
    asked_by: str,
    approval: str | None = None,
    said: str | None = None,
) -> Asked:
    """Return the job as it may be reserved: unchanged up to `above`, else under its approval's key.

    `approval` is the id that the caller names; without one, any approval granted to `asked_by` for
    the same job counts. An approval is good for one reservation: naming it again returns that one
    as it stands. The caller's own key stays, and a job that it has already reserved needs no
    approval. `said` describes the job for the person who decides; by default it is written from the
    job.

    Raises ApprovalNeededError, after the approval was requested; ApprovalDeniedError;
    ApprovalsWaitError; and ConfigError for a caller's key that looks like an approval's.
    """
    if asked.key is not None and asked.key.startswith(KEY_PREFIX):
        raise ConfigError(f"a key cannot begin with {KEY_PREFIX}: that prefix is for approvals")
    if above is None or _is_free(ledger, asked, above):
        return asked
    problem = None
    if approval is not None:
        found = _found(ledger, approval)
        problem = _problem_of(found, asked, ledger.now(), called=approval[:_LONGEST_ID])
        if found is not None and problem is None:
            return _under(found, asked)
    standing = ledger.approvals.ask(asked, said=said or in_words(asked), asked_by=asked_by)
    if standing.verdict == "granted":
        return _under(standing, asked)
    raise _refusal(standing, asked, above, problem)


def needs_grant(ledger: Ledger, asked: Asked, *, above: Money | None, asked_by: str) -> bool:
    """Whether `approved` would refuse a job because nobody has granted it; requests nothing."""
    if above is None or _is_free(ledger, asked, above):
        return False
    standing = ledger.approvals.standing_for(asked, asked_by=asked_by)
    return standing is None or standing.verdict != "granted"


def in_words(asked: Asked) -> str:
    """Describe a job, without its prompt: `kling-3.0 text_to_video at runapi, 5 s, 1080p`."""
    job = asked.job
    what = " ".join(word for word in (job.model, job.action) if word) or "a job"
    return ", ".join(
        part
        for part in (
            f"{what} at {job.provider}",
            f"{job.seconds} s" if job.seconds else "",
            job.resolution or "",
            {True: "with sound", False: "without sound", None: ""}[job.sound],
        )
        if part
    )


def _under(granted: Approval, asked: Asked) -> Asked:
    """Return a job that uses an approval up, and is known by the caller's own key too."""
    if asked.key is None:
        return replace(asked, key=granted.key)
    return replace(asked, approval=granted.key)


def _is_free(ledger: Ledger, asked: Asked, above: Money) -> bool:
    """Whether a job needs no approval: it is cheap enough, or was already reserved."""
    return asked.amount <= above or _is_reserved(ledger, asked.key)


def _is_reserved(ledger: Ledger, key: str | None) -> bool:
    return key is not None and key in ledger.reservations.of_keys([key])


def _found(ledger: Ledger, approval: str) -> Approval | None:
    try:
        return ledger.approvals.get(approval)
    except NotFoundError:
        return None


def _problem_of(found: Approval | None, asked: Asked, at: datetime, *, called: str) -> str | None:
    """Say why the approval that the caller named does not cover a job; None if it does."""
    if found is None:
        return f"no such approval: {called}"
    if not found.is_of(asked):
        return f"{found.id} is for another job"
    match found.standing_at(at):
        case "used":
            # The key returns the one reservation that used it, and no other.
            return None
        case "granted" if asked.amount <= found.ceiling:
            return None
        case "granted":
            return f"{found.id} is granted for at most {found.ceiling}"
        case "denied":
            return f"{found.id} was denied by {found.decided_by}"
        case "expired":
            return f"{found.id} has expired"
        case _:
            return f"{found.id} is not decided yet"


def _refusal(
    standing: Approval, asked: Asked, above: Money, problem: str | None
) -> ApprovalNeededError | ApprovalDeniedError:
    if standing.verdict == "denied":
        return ApprovalDeniedError(
            standing.id,
            by=standing.decided_by or "somebody",
            reason=standing.reason,
            asked=asked.amount,
            above=above,
            until=standing.expires_at,
        )
    return ApprovalNeededError(
        standing.id,
        asked=asked.amount,
        above=above,
        expires_at=standing.expires_at,
        problem=problem,
    )
