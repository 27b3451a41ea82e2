"""Approving: a job above a sum is reserved only once a person has granted it.

Which sum that is, is for whoever lets the job in to say; what a person decided, the ledger knows.
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
"""How much is said again of an id that a caller names: theirs may be anything."""


def approved(
    ledger: Ledger,
    asked: Asked,
    *,
    above: Money | None,
    asked_by: str,
    approval: str | None = None,
    said: str | None = None,
) -> Asked:
    """Return the job as it may be reserved: as it is up to `above`, else under its approval's key.

    `approval` is the id that a caller names; without one, what `asked_by` was granted for the same
    job counts. The key lets an approval be of one reservation, which whoever names it again is
    given as it stands; the caller's own key stays, and what that has reserved before needs none.
    `said` is the job in words for the person who decides, written from the job unless it is given.

    Raises ApprovalNeededError, after a person was asked; ApprovalDeniedError; ApprovalsWaitError;
    and ConfigError for a caller's key that an approval could have.
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
    """Whether `approved` would not let a job in, as nobody has granted it; nobody is asked."""
    if above is None or _is_free(ledger, asked, above):
        return False
    standing = ledger.approvals.standing_for(asked, asked_by=asked_by)
    return standing is None or standing.verdict != "granted"


def in_words(asked: Asked) -> str:
    """Say what a job is, without its prompt: `kling-3.0 text_to_video at runapi, 5 s, 1080p`."""
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
    """Whether a job needs nobody's word: it is cheap enough, or was reserved before."""
    return asked.amount <= above or _is_reserved(ledger, asked.key)


def _is_reserved(ledger: Ledger, key: str | None) -> bool:
    return key is not None and key in ledger.reservations.of_keys([key])


def _found(ledger: Ledger, approval: str) -> Approval | None:
    try:
        return ledger.approvals.get(approval)
    except NotFoundError:
        return None


def _problem_of(found: Approval | None, asked: Asked, at: datetime, *, called: str) -> str | None:
    """Say why an approval that was named does not let a job in; None where it does."""
    if found is None:
        return f"no such approval: {called}"
    if not found.is_of(asked):
        return f"{found.id} is for another job"
    match found.standing_at(at):
        case "used":
            # The key gives the one reservation again, and no other.
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
