"""`kling-ledger reservation`: reserve credits for a job, update its state, and end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kling_ledger.cli.dry_run import dry_run_option, print_transfers
from kling_ledger.cli.inputs import key_option
from kling_ledger.cli.keys import keyed
from kling_ledger.cli.output import (
    database_option,
    format_option,
    print_many,
    print_one,
    say,
)
from kling_ledger.cli.reservation_create import create
from kling_ledger.cli.reservation_list import list_reservations
from kling_ledger.cli.reservation_resolve import resolve
from kling_ledger.cli.reservation_rows import COLUMNS, reservation_dict
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.ledger import Reservation, SettledBy

_OPTIONAL = ("created_at", "wallet", "model", "project", "unit")
_NO_REASON = "rolled back by hand"


@click.group()
def reservation() -> None:
    """Reserve credits for one job each: create, update, commit, roll back, refund, show.

    \b
    A script that uses a provider's client:
    kling-ledger reservation create --wallet team --amount "0.675 USD" --key job-7 --format json
    kling-ledger reservation submitting ID        before sending the request
    kling-ledger reservation submitted ID TASK    once the provider returns a task id
    kling-ledger reservation commit ID --amount "0.60 USD"    or rollback ID
    """


reservation.add_command(create)
reservation.add_command(list_reservations)
reservation.add_command(resolve)


@reservation.command()
@click.argument("id_", metavar="ID")
@database_option
@format_option
def show(id_: str, db: str | None, form: str) -> None:
    """Show one reservation."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        print_one(reservation_dict(ledger.reservations.get(id_)), form)


@reservation.command()
@click.argument("id_", metavar="ID")
@database_option
@format_option
def submitting(id_: str, db: str | None, form: str) -> None:
    """Record that the request is about to be sent: only one caller can, and only once."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        print_one(reservation_dict(ledger.mark_submitting(id_)), form)


@reservation.command()
@click.argument("id_", metavar="ID")
@click.argument("task")
@database_option
@format_option
def submitted(id_: str, task: str, db: str | None, form: str) -> None:
    """Record that the provider accepted the job, and its TASK id."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        print_one(reservation_dict(ledger.mark_submitted(id_, task)), form)


@reservation.command("in-doubt")
@click.argument("id_", metavar="ID")
@click.option("--reason", required=True, help="Why its outcome is unknown, such as a time-out.")
@database_option
@format_option
def in_doubt(id_: str, reason: str, db: str | None, form: str) -> None:
    """Put a job in doubt: its outcome is unknown, and its credits stay reserved."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        print_one(reservation_dict(ledger.mark_in_doubt(id_, reason)), form)


@reservation.command()
@click.argument("id_", metavar="ID")
@click.option(
    "--amount",
    metavar="AMOUNT",
    help='What the provider charged, such as "0.675 USD". [default: what is reserved]',
)
@click.option(
    "--part", "is_part", is_flag=True, help="Charge only a part now: the rest stays reserved."
)
@click.option("--reason", help="How you know; kept in the journal.")
@key_option
@dry_run_option
@database_option
@format_option
def commit(
    id_: str,
    amount: str | None,
    reason: str | None,
    key: str | None,
    db: str | None,
    form: str,
    *,
    is_part: bool,
    dry_run: bool,
) -> None:
    """Charge the real cost of a job, less or more than was reserved; the rest is returned."""
    from kling_ledger.ledger import Ledger

    if is_part and amount is None:
        raise click.UsageError("--part needs an --amount")
    with Ledger(db, create=False, dry_run=dry_run) as ledger:
        found = ledger.reservations.get(id_)
        if amount is not None or not _is_committed(found):
            charged = (
                None if amount is None else Money.parse(amount, default_unit=found.amount.unit)
            )
            settled_by: SettledBy = "quote" if amount is None else "person"
            with keyed(key) as own:
                found = ledger.commit(
                    id_, charged, settled_by=settled_by, reason=reason, is_part=is_part, key=own
                )
    if dry_run:
        print_transfers(ledger, form)
        return
    print_one(reservation_dict(found), form)
    if is_part and key is None:
        say("note: without a --key, repeating this command charges the part again")


@reservation.command()
@click.argument("id_", metavar="ID")
@click.option("--reason", default=_NO_REASON, help="How you know that nothing was charged.")
@key_option
@dry_run_option
@database_option
@format_option
def rollback(
    id_: str, reason: str, key: str | None, db: str | None, form: str, *, dry_run: bool
) -> None:
    """Return all credits of a job that were not committed."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False, dry_run=dry_run) as ledger, keyed(key) as own:
        ended = ledger.roll_back(id_, reason, key=own)
    if dry_run:
        print_transfers(ledger, form)
        return
    print_one(reservation_dict(ended), form)


@reservation.command()
@click.argument("id_", metavar="ID")
@click.option(
    "--amount",
    metavar="AMOUNT",
    required=True,
    help='What the provider gave back, such as "0.20 USD".',
)
@click.option("--reason", required=True, help="How you know; kept in the journal.")
@key_option
@dry_run_option
@database_option
@format_option
def refund(
    id_: str,
    amount: str,
    reason: str,
    key: str | None,
    db: str | None,
    form: str,
    *,
    dry_run: bool,
) -> None:
    """Return part of a committed amount, because the provider refunded it."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False, dry_run=dry_run) as ledger:
        unit = ledger.reservations.get(id_).amount.unit
        back = Money.parse(amount, default_unit=unit)
        with keyed(key) as own:
            refunded = ledger.refund(id_, back, reason=reason, key=own)
    if dry_run:
        print_transfers(ledger, form)
        return
    print_one(reservation_dict(refunded), form)
    if key is None:
        say("note: without a --key, repeating this command refunds again")


@reservation.command()
@click.argument("id_", metavar="ID")
@click.option(
    "--amount", metavar="AMOUNT", required=True, help="The final cost of the job; 0 is allowed."
)
@click.option("--reason", required=True, help="How you know; kept in the journal.")
@key_option
@dry_run_option
@database_option
@format_option
def correct(
    id_: str,
    amount: str,
    reason: str,
    key: str | None,
    db: str | None,
    form: str,
    *,
    dry_run: bool,
) -> None:
    """Set the final cost of an ended job: the difference is charged or given back.

    Use it to answer a question of `reconcile` about an ended job.
    """
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False, dry_run=dry_run) as ledger:
        unit = ledger.reservations.get(id_).amount.unit
        cost = Money.parse(amount, default_unit=unit)
        with keyed(key) as own:
            ended = ledger.correct(id_, cost, reason=reason, settled_by="person", key=own)
    if dry_run:
        print_transfers(ledger, form)
        return
    print_one(reservation_dict(ended), form)


@reservation.command()
@dry_run_option
@database_option
@format_option
def expire(db: str | None, form: str, *, dry_run: bool) -> None:
    """Expire every reservation that is past its time and was never sent; list them."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False, dry_run=dry_run) as ledger:
        rows = [reservation_dict(entry) for entry in ledger.expire()]
    if dry_run:
        print_transfers(ledger, form)
        return
    print_many(rows, COLUMNS, form, empty="nothing has expired", optional=_OPTIONAL)


def _is_committed(found: Reservation) -> bool:
    """Whether there is nothing left to charge; a rolled-back or expired job needs an amount."""
    if found.is_open or found.state == "committed":
        return not found.is_open
    raise click.UsageError(
        f"{found.id} is {found.state} and holds nothing: give the charged amount with --amount"
    )
