"""`kling-ledger reservation`: list and show reservations, and end one by one's own verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli.output import (
    database_option,
    empty_where_there_is_no_ledger,
    format_option,
    instant,
    print_many,
    print_one,
)
from kling_pricing.money import Money, plain, plain_or_none

if TYPE_CHECKING:
    from kling_ledger.ledger import Reservation

_COLUMNS = (
    "id",
    "state",
    "wallet",
    "project",
    "model",
    "quoted",
    "committed",
    "unit",
    "created_at",
)
_OPTIONAL = ("created_at", "wallet", "model", "project", "unit")
_STATES = (
    "reserved",
    "submitting",
    "submitted",
    "in_doubt",
    "committed",
    "rolled_back",
    "expired",
)


@click.group()
def reservation() -> None:
    """List, show and end reservations: credits set aside for one job each."""


@reservation.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Only those in this state.")
@click.option("--wallet", help="Only those of this wallet.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=50,
    show_default=True,
    help="How many at most.",
)
@database_option
@format_option
def list_reservations(
    state: str | None, wallet: str | None, limit: int, db: str | None, form: str
) -> None:
    """List the latest reservations, newest first."""
    from kling_ledger.ledger import Ledger, State

    rows = []
    with empty_where_there_is_no_ledger(), Ledger(db, create=False) as ledger:
        chosen = State(state) if state else None
        found = ledger.reservations(state=chosen, wallet=wallet, limit=limit)
        rows = [reservation_dict(entry) for entry in found]
    print_many(rows, _COLUMNS, form, empty="no reservations", optional=_OPTIONAL)


@reservation.command()
@click.argument("id_", metavar="ID")
@database_option
@format_option
def show(id_: str, db: str | None, form: str) -> None:
    """Show one reservation."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        print_one(reservation_dict(ledger.reservation(id_)), form)


@reservation.command()
@click.argument("id_", metavar="ID")
@click.option("--amount", required=True, help='What the provider charged, such as "0.675 USD".')
@click.option("--reason", required=True, help="How you know, for the journal.")
@database_option
@format_option
def commit(id_: str, amount: str, reason: str, db: str | None, form: str) -> None:
    """Charge a job by your own verdict, where the provider gives none; the rest goes back."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        unit = ledger.reservation(id_).amount.unit
        charged = Money.parse(amount, default_unit=unit)
        print_one(
            reservation_dict(ledger.commit(id_, charged, settled_by="person", reason=reason)), form
        )


@reservation.command()
@click.argument("id_", metavar="ID")
@click.option("--reason", required=True, help="How you know that nothing is charged.")
@database_option
@format_option
def rollback(id_: str, reason: str, db: str | None, form: str) -> None:
    """Return all credits of a job by your own verdict, where the provider gives none."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        print_one(reservation_dict(ledger.roll_back(id_, reason)), form)


def reservation_dict(found: Reservation) -> dict[str, Any]:
    """Return a reservation for printing: amounts as plain decimal strings in its unit."""
    job = found.job
    return {
        "id": found.id,
        "state": str(found.state),
        "wallet": found.wallet,
        "project": found.project,
        "provider": job.provider,
        "model": job.model,
        "action": job.action,
        "task_id": found.task_id,
        "quoted": plain(found.amount.amount),
        "committed": plain_or_none(found.committed),
        "variance": plain_or_none(found.variance),
        "unit": found.amount.unit,
        "usd": plain_or_none(job.usd),
        "settled_by": found.settled_by,
        "seconds": job.seconds,
        "billed_seconds": job.billed_seconds,
        "resolution": job.resolution,
        "sound": job.sound,
        "videos": list(found.videos),
        "problem": found.problem,
        "created_at": instant(found.created_at),
        "updated_at": instant(found.updated_at),
    }
