"""`kling-ledger reservation`: set credits aside for a job, move it on, and end it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.inputs import Span, read_labels
from kling_ledger.cli.output import (
    database_option,
    empty_where_there_is_no_ledger,
    format_option,
    instant,
    print_many,
    print_one,
    say,
)
from kling_ledger.cli.reservation_asked import check_source, expiry, named, priced
from kling_ledger.ledger.states import State
from kling_pricing.clip import ACTIONS
from kling_pricing.money import Money, plain, plain_or_none

if TYPE_CHECKING:
    from kling_ledger.ledger import BudgetWarning, Reservation, SettledBy

Command = TypeVar("Command", bound=Callable[..., Any])

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
_NO_REASON = "rolled back by hand"


def label_option(command: Command) -> Command:
    """Add `--label NAME=VALUE` to a command; what was given reaches it as `labels`."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="NAME=VALUE",
        help="What budgets and reports tell jobs apart by, such as team=a; may be repeated.",
    )(command)


def _key_option(command: Command) -> Command:
    return click.option(
        "--key", help="Your own id of this call: it is done once, however often you ask."
    )(command)


@click.group()
def reservation() -> None:
    """Credits set aside for one job each: create, move on, commit, roll back, refund, show.

    \b
    A script with a provider's client of its own goes:
    kling-ledger reservation create --wallet team --amount "0.675 USD" --key job-7 --format json
    kling-ledger reservation submitting ID        before the request is sent
    kling-ledger reservation submitted ID TASK    once the provider has named its task
    kling-ledger reservation commit ID --amount "0.60 USD"    or rollback ID
    """


@reservation.command()
@click.option("--wallet", required=True, help="Who pays.")
@click.option("--amount", help='How much to set aside, such as "0.675 USD".')
@click.option("--provider", metavar="NAME", help="Who makes the clip, such as runapi.")
@click.option(
    "--request",
    "request_file",
    type=click.File("rb"),
    help="The provider's own JSON body, which is priced; - for stdin.",
)
@click.option(
    "--action",
    type=click.Choice(ACTIONS),
    help="What the request asks for, where the body does not say.",
)
@click.option("--model", metavar="ID", help="Which model the --amount is for.")
@click.option("--usd", metavar="AMOUNT", help="What an --amount in another unit is worth in USD.")
@click.option("--project", help="What it is for, such as film/teaser.")
@label_option
@_key_option
@click.option("--max-cost", metavar="AMOUNT", help='The most that it may cost, such as "0.70 USD".')
@click.option(
    "--expires-in",
    type=Span(),
    metavar="SPAN",
    help="Give it back if nothing is sent: 30m, 2h, 3d.",
)
@click.option(
    "--expires-at", type=Instant(), metavar="INSTANT", help="The same, as an instant to come."
)
@book_option
@database_option
@format_option
def create(
    wallet: str,
    amount: str | None,
    project: str | None,
    labels: tuple[str, ...],
    key: str | None,
    max_cost: str | None,
    expires_in: timedelta | None,
    expires_at: datetime | None,
    db: str | None,
    form: str,
    **job: Any,
) -> None:
    """Set credits aside for one job, if its wallet and every budget that covers it admit it.

    \b
    kling-ledger reservation create --wallet team --amount "0.675 USD" --project film/teaser
    kling-ledger reservation create --wallet team --provider runapi --request body.json
    """
    from kling_ledger.ledger import Ledger

    now = datetime.now(UTC)
    check_source(amount, job)
    expires = expiry(expires_in, expires_at, key, now)
    with Ledger(db, create=False) as ledger:
        unit = ledger.wallets.get(wallet).unit
        cost, what = priced(at=now, **job) if amount is None else named(amount, unit, **job)
        made = ledger.reserve(
            wallet,
            cost,
            job=what,
            project=project,
            labels=read_labels(labels),
            key=key,
            ceiling=None if max_cost is None else Money.parse(max_cost, default_unit=unit),
            expires_at=expires,
        )
    print_one(reservation_dict(made), form)
    say_warnings(made)


@reservation.command("list")
@click.option(
    "--state", type=click.Choice([str(state) for state in State]), help="Only those in this state."
)
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
        owner = None if wallet is None else ledger.wallets.get(wallet).id
        found = ledger.reservations.latest(state=chosen, wallet=owner, limit=limit)
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
        print_one(reservation_dict(ledger.reservations.get(id_)), form)


@reservation.command()
@click.argument("id_", metavar="ID")
@database_option
@format_option
def submitting(id_: str, db: str | None, form: str) -> None:
    """Write down that the request is about to be sent: only one caller may, and only once."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        print_one(reservation_dict(ledger.mark_submitting(id_)), form)


@reservation.command()
@click.argument("id_", metavar="ID")
@click.argument("task")
@database_option
@format_option
def submitted(id_: str, task: str, db: str | None, form: str) -> None:
    """Write down that the provider took the job, and the TASK that it calls it."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        print_one(reservation_dict(ledger.mark_submitted(id_, task)), form)


@reservation.command("in-doubt")
@click.argument("id_", metavar="ID")
@click.option("--reason", required=True, help="Why nobody knows, such as a time-out.")
@database_option
@format_option
def in_doubt(id_: str, reason: str, db: str | None, form: str) -> None:
    """Write down that nobody knows what became of the job; its credits stay reserved."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        print_one(reservation_dict(ledger.mark_in_doubt(id_, reason)), form)


@reservation.command()
@click.argument("id_", metavar="ID")
@click.option(
    "--amount", help='What the provider charged, such as "0.675 USD". [default: what is reserved]'
)
@click.option("--part", "is_part", is_flag=True, help="More will come: the rest stays reserved.")
@click.option("--reason", help="How you know, for the journal.")
@_key_option
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
) -> None:
    """Charge what a job really cost, less or more than was reserved; the rest goes back."""
    from kling_ledger.ledger import Ledger

    if is_part and amount is None:
        raise click.UsageError("--part needs an --amount")
    with Ledger(db, create=False) as ledger:
        found = ledger.reservations.get(id_)
        if amount is not None or not _is_committed(found):
            charged = (
                None if amount is None else Money.parse(amount, default_unit=found.amount.unit)
            )
            settled_by: SettledBy = "quote" if amount is None else "person"
            found = ledger.commit(
                id_, charged, settled_by=settled_by, reason=reason, is_part=is_part, key=key
            )
    print_one(reservation_dict(found), form)
    if is_part and key is None:
        say("note: without a --key, the same part again is charged again")


@reservation.command()
@click.argument("id_", metavar="ID")
@click.option("--reason", default=_NO_REASON, help="How you know that nothing is charged.")
@_key_option
@database_option
@format_option
def rollback(id_: str, reason: str, key: str | None, db: str | None, form: str) -> None:
    """Return all credits of a job that were not committed."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        print_one(reservation_dict(ledger.roll_back(id_, reason, key=key)), form)


@reservation.command()
@click.argument("id_", metavar="ID")
@click.option("--amount", required=True, help='What the provider gave back, such as "0.20 USD".')
@click.option("--reason", required=True, help="How you know, for the journal.")
@_key_option
@database_option
@format_option
def refund(id_: str, amount: str, reason: str, key: str | None, db: str | None, form: str) -> None:
    """Give back some of what was committed, because the provider did."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        unit = ledger.reservations.get(id_).amount.unit
        back = Money.parse(amount, default_unit=unit)
        print_one(reservation_dict(ledger.refund(id_, back, reason=reason, key=key)), form)
    if key is None:
        say("note: without a --key, the same refund again is given again")


@reservation.command()
@database_option
@format_option
def expire(db: str | None, form: str) -> None:
    """End every reservation whose time is over and of which nothing was sent; list them."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        rows = [reservation_dict(entry) for entry in ledger.expire()]
    print_many(rows, _COLUMNS, form, empty="nothing has expired", optional=_OPTIONAL)


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
        "quoted": plain(found.amount.amount),
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
    """Say which budgets this reservation has brought past which of their thresholds."""
    highest = {warning.budget: warning for warning in sorted(found.warnings, key=_threshold)}
    for warning in highest.values():
        say(f"warning: {warning}")


def _threshold(warning: BudgetWarning) -> int:
    return warning.threshold


def _is_committed(found: Reservation) -> bool:
    """Whether there is nothing left to charge; one that came to nothing needs an amount."""
    if found.is_open or found.state == "committed":
        return not found.is_open
    raise click.UsageError(
        f"{found.id} is {found.state} and holds nothing: say with --amount what was charged"
    )
