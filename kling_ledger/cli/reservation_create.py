"""`kling-ledger reservation create`: reserve the cost of a job, by request or amount."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from kling_ledger.cli import EXIT_REFUSED
from kling_ledger.cli.books import book_option
from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.dry_run import dry_run_option, print_transfers
from kling_ledger.cli.inputs import Span, key_option, label_option, read_labels, read_text
from kling_ledger.cli.output import database_option, format_option, instant, print_one, say
from kling_ledger.cli.reservation_rows import reservation_dict, say_warnings
from kling_pricing.clip import ACTIONS
from kling_pricing.money import USD, Money

if TYPE_CHECKING:
    from kling_ledger.ledger import Job, Reservation
    from kling_pricing.library import Library


@click.command()
@click.option("--wallet", required=True, help="The wallet that pays.")
@click.option("--amount", help='How much to reserve, such as "0.675 USD".')
@click.option("--provider", metavar="NAME", help="Who makes the clip, such as runapi.")
@click.option(
    "--request",
    "request_file",
    type=click.File("rb"),
    help="The provider's own JSON body, to be priced; - for stdin.",
)
@click.option(
    "--action",
    type=click.Choice(ACTIONS),
    help="What the request is for, if the body does not say.",
)
@click.option("--model", metavar="ID", help="The model that the --amount is for.")
@click.option("--usd", metavar="AMOUNT", help="The value in USD of an --amount in another unit.")
@click.option("--project", help="The project, such as film/teaser.")
@label_option
@key_option
@click.option("--max-cost", metavar="AMOUNT", help='The most that it may cost, such as "0.70 USD".')
@click.option(
    "--expires-in",
    type=Span(),
    metavar="SPAN",
    help="Release the credits after this time if nothing was sent: 30m, 2h, 3d.",
)
@click.option(
    "--expires-at", type=Instant(), metavar="INSTANT", help="The same, as a future instant."
)
@book_option
@dry_run_option
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
    *,
    dry_run: bool,
    **job: Any,
) -> int:
    """Reserve credits for one job, if its wallet and every matching budget admit it.

    Exits with 0 only if the credits are reserved and nothing was sent yet. A --key that was used
    before returns its reservation: exits with 3 if that has ended, expired or been sent, so that
    `create && send` never sends twice or without a reservation.

    \b
    kling-ledger reservation create --wallet team --amount "0.675 USD" --project film/teaser
    kling-ledger reservation create --wallet team --provider runapi --request body.json
    """
    from kling_ledger.ledger import Ledger

    now = datetime.now(UTC)
    _check_source(amount, job)
    expires = _expiry(expires_in, expires_at, key, now)
    with Ledger(db, create=False, dry_run=dry_run) as ledger:
        unit = ledger.wallets.get(wallet).unit
        cost, what = _priced(at=now, **job) if amount is None else _named(amount, unit, **job)
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
    if dry_run:
        print_transfers(ledger, form)
    else:
        print_one(reservation_dict(made), form)
    say_warnings(made)
    return _told_whether_to_send(made, now)


def _told_whether_to_send(made: Reservation, now: datetime) -> int:
    """Print why the existing reservation of a key must not be sent; return the exit code."""
    is_past = made.expires_at is not None and made.expires_at <= now
    if made.state == "reserved" and not is_past:
        return 0
    state = "past its expiry" if made.state == "reserved" else made.state
    why = "it was sent before" if made.is_open and not is_past else "nothing is reserved for it"
    say(f"refused: this key belongs to {made.id}, which is {state}: {why}")
    say("hint: use another --key for another job")
    return EXIT_REFUSED


def _check_source(amount: str | None, job: dict[str, Any]) -> None:
    """Refuse options that give two amounts to reserve, or none."""
    if (amount is None) == (job["request_file"] is None):
        raise click.UsageError("give --amount, or --provider and its --request FILE")
    if amount is None and job["provider"] is None:
        raise click.UsageError("--request needs a --provider")
    told = [name for name in ("model", "usd") if job[name] is not None]
    if amount is None and told:
        raise click.UsageError(f"the body of --request already says it: leave out --{told[0]}")


def _expiry(
    span: timedelta | None, at: datetime | None, key: str | None, now: datetime
) -> datetime | None:
    """Return when a reservation expires; a call repeated with its key may come later."""
    if span is not None and at is not None:
        raise click.UsageError("give --expires-in or --expires-at, not both")
    if at is not None and at <= now and key is None:
        raise click.UsageError(f"--expires-at {instant(at)} has passed: use a time in the future")
    return at if span is None else now + span


def _priced(
    *,
    at: datetime,
    provider: str,
    request_file: BinaryIO,
    action: str | None,
    library: Library,
    **_: object,
) -> tuple[Money, Job]:
    """Price a request body; return its cost and its job."""
    from kling_ledger.jobs.quoting import job_of
    from kling_pricing.gateways import parse_body, read_request

    request = read_request(provider, parse_body(read_text(request_file)), action=action)
    quoted = request.quote(at=at, book=library.book(provider))
    return quoted.hold, job_of(request, quoted)


def _named(
    amount: str,
    unit: str,
    *,
    provider: str | None,
    model: str | None,
    action: str | None,
    usd: str | None,
    **_: object,
) -> tuple[Money, Job]:
    """Read the caller's amount, and what else is known about its job."""
    from kling_ledger.ledger import Job

    worth = None if usd is None else Money.parse(usd, default_unit=USD)
    what = Job(provider=provider, model=model, action=action, usd=worth)
    return Money.parse(amount, default_unit=unit), what
