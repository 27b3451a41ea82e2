"""What `reservation create` is asked to set aside: a priced request body, or an amount by name."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from kling_ledger.cli.inputs import read_text
from kling_ledger.cli.output import instant
from kling_pricing.money import USD, Money

if TYPE_CHECKING:
    from kling_ledger.ledger import Job
    from kling_pricing.library import Library


def check_source(amount: str | None, job: dict[str, Any]) -> None:
    """Refuse options that say two things, or nothing, of what to reserve."""
    if (amount is None) == (job["request_file"] is None):
        raise click.UsageError("give --amount, or --provider and its --request FILE")
    if amount is None and job["provider"] is None:
        raise click.UsageError("--request needs the --provider whose body it is")
    told = [name for name in ("model", "usd") if job[name] is not None]
    if amount is None and told:
        raise click.UsageError(f"the body of --request says it already: leave out --{told[0]}")


def expiry(
    span: timedelta | None, at: datetime | None, key: str | None, now: datetime
) -> datetime | None:
    """Return when a reservation expires; a call that is repeated by its key may come later."""
    if span is not None and at is not None:
        raise click.UsageError("give --expires-in or --expires-at, not both")
    if at is not None and at <= now and key is None:
        raise click.UsageError(f"--expires-at {instant(at)} has passed: name an instant to come")
    return at if span is None else now + span


def priced(
    *,
    at: datetime,
    provider: str,
    request_file: BinaryIO,
    action: str | None,
    library: Library,
    **_: object,
) -> tuple[Money, Job]:
    """Price a request body; return what it costs and what it asks for."""
    from kling_ledger.jobs.quoting import job_of
    from kling_pricing.gateways import parse_body, read_request

    request = read_request(provider, parse_body(read_text(request_file)), action=action)
    quoted = request.quote(at=at, book=library.book(provider))
    return quoted.amount, job_of(request, quoted)


def named(
    amount: str,
    unit: str,
    *,
    provider: str | None,
    model: str | None,
    action: str | None,
    usd: str | None,
    **_: object,
) -> tuple[Money, Job]:
    """Read an amount that the caller names, and what else is known of its job."""
    from kling_ledger.ledger import Job

    worth = None if usd is None else Money.parse(usd, default_unit=USD)
    what = Job(provider=provider, model=model, action=action, usd=worth)
    return Money.parse(amount, default_unit=unit), what
