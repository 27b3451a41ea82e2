"""A reservation as commands print it, and warnings for budgets near their limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kling_ledger.cli.output import instant, say
from kling_pricing.money import plain, plain_or_none

if TYPE_CHECKING:
    from kling_ledger.ledger import BudgetWarning, Reservation

COLUMNS: Final = (
    "id",
    "state",
    "wallet",
    "project",
    "model",
    "amount",
    "committed",
    "unit",
    "created_at",
)
"""The columns of a listing in CSV."""

NO_PROJECT: Final = "(no project)"
"""What a table shows for a job without a project, rather than a blank."""


def reservation_dict(found: Reservation) -> dict[str, Any]:
    """Return a reservation for printing: amounts as plain decimal strings in its unit."""
    job = found.job
    return {
        "id": found.id,
        "state": str(found.state),
        "wallet": found.wallet,
        "project": found.project,
        "labels": dict(found.labels),
        "provider": job.provider,
        "model": job.model,
        "action": job.action,
        "task_id": found.task_id,
        "amount": plain(found.amount.amount),
        "quoted": plain_or_none(found.quoted),
        "low": plain_or_none(found.low),
        "estimated": plain_or_none(found.estimated),
        "reserved": plain(found.held.amount),
        "committed": plain_or_none(found.committed),
        "refunded": plain(found.refunded.amount),
        "variance": plain_or_none(found.variance),
        "unit": found.amount.unit,
        "usd": plain_or_none(job.usd),
        "settled_by": found.settled_by,
        "seconds": job.seconds,
        "billed_seconds": job.billed_seconds,
        "resolution": job.resolution,
        "sound": job.sound,
        "videos": list(found.videos),
        "videos_expire_at": found.videos_expire_at and instant(found.videos_expire_at),
        "problem": found.problem,
        "actor": found.actor,
        "expires_at": found.expires_at and instant(found.expires_at),
        "created_at": instant(found.created_at),
        "updated_at": instant(found.updated_at),
    }


def say_warnings(found: Reservation) -> None:
    """Print which budget thresholds this reservation has crossed."""
    highest = {warning.budget: warning for warning in sorted(found.warnings, key=_threshold)}
    for warning in highest.values():
        say(f"warning: {warning}")


def _threshold(warning: BudgetWarning) -> int:
    return warning.threshold
