"""`kling-ledger approval`: jobs that a person must approve, and the decisions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli.output import (
    database_option,
    format_option,
    instant,
    print_many,
    print_one,
    say,
)
from kling_pricing.money import Money, plain

if TYPE_CHECKING:
    from kling_ledger.ledger.approvals import Approval

_COLUMNS = (
    *("id", "said", "asked", "ceiling", "unit", "wallet", "project", "asked_by", "state"),
    *("decided_by", "expires_at"),
)
_OPTIONAL = ("decided_by", "expires_at", "ceiling", "project", "wallet")


@click.group()
def approval() -> None:
    """Grant or deny jobs that cost too much to run without a person's approval.

    The ledger trusts the name in KLING_LEDGER_ACTOR: it records who asked and who decided, but does
    not check that they are different people.
    """


@approval.command("list")
@click.option("--all", "has_all", is_flag=True, help="Include decided and expired ones.")
@database_option
@format_option
def list_approvals(db: str | None, form: str, *, has_all: bool) -> None:
    """List what waits for a person, oldest first."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        rows = [approval_dict(one) for one in ledger.approvals.all(undecided_only=not has_all)]
    empty = "no approvals yet" if has_all else "nothing waits for an approval"
    print_many(rows, _COLUMNS, form, empty=empty, optional=_OPTIONAL)


@approval.command()
@click.argument("approval_id", metavar="ID")
@database_option
@format_option
def show(approval_id: str, db: str | None, form: str) -> None:
    """Show one approval: the job, who asked, who decided, and the reservation that used it."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        found = ledger.approvals.get(approval_id)
    print_one(approval_dict(found), form)


@approval.command()
@click.argument("approval_id", metavar="ID")
@click.option("--reason", help="The reason, kept with the approval.")
@click.option(
    "--max-cost",
    metavar="AMOUNT",
    help="The most that the job may cost if its price rises before it is sent. [default: what was"
    " asked]",
)
@database_option
@format_option
def grant(
    approval_id: str, reason: str | None, max_cost: str | None, db: str | None, form: str
) -> None:
    """Allow a job once, if it is requested again before the approval expires.

    \b
    kling-ledger approval grant apr_06f... --reason "the client waits" --max-cost "6 USD"
    """
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        unit = ledger.approvals.get(approval_id).asked.unit
        ceiling = None if max_cost is None else Money.parse(max_cost, default_unit=unit)
        granted = ledger.approvals.grant(approval_id, reason=reason, ceiling=ceiling)
    print_one(approval_dict(granted), form)
    say(f"granted: the caller may request the job again until {instant(granted.expires_at)}")


@approval.command()
@click.argument("approval_id", metavar="ID")
@click.option("--reason", required=True, help="The reason, shown to whoever asked.")
@database_option
@format_option
def deny(approval_id: str, reason: str, db: str | None, form: str) -> None:
    """Refuse a job: until the approval expires, the same job is refused with the reason."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        denied = ledger.approvals.deny(approval_id, reason=reason)
    print_one(approval_dict(denied), form)


def approval_dict(found: Approval) -> dict[str, Any]:
    """Return an approval for printing: amounts as plain decimal strings in its unit."""
    return {
        "id": found.id,
        "said": found.said,
        "asked": plain(found.asked.amount),
        "ceiling": plain(found.ceiling.amount),
        "unit": found.asked.unit,
        "wallet": found.wallet,
        "project": found.project,
        "provider": found.provider,
        "model": found.model,
        "action": found.action,
        "state": found.standing_at(datetime.now(UTC)),
        "asked_by": found.asked_by,
        "asked_at": instant(found.asked_at),
        "expires_at": instant(found.expires_at),
        "decided_by": found.decided_by,
        "decided_at": found.decided_at and instant(found.decided_at),
        "reason": found.reason,
        "reservation_id": found.reservation_id,
        "payload_hash": found.payload_hash,
    }
