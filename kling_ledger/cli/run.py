"""`kling-ledger run`: quote, reserve, submit, poll, then commit or roll back one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli import EXIT_IN_DOUBT, EXIT_JOB_FAILED
from kling_ledger.cli.inputs import read_text
from kling_ledger.cli.output import Command, database_option, format_option, print_one, say
from kling_ledger.cli.reservation import reservation_dict
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.errors import ProviderError
    from kling_ledger.ledger import Ledger, Reservation
    from kling_ledger.meter import Meter


def provider_options(command: Command) -> Command:
    """Add the options that say how to reach a provider and how long to wait for it."""
    for option in (
        click.option(
            "--poll-every",
            type=click.FloatRange(0.05),
            default=2.0,
            show_default=True,
            metavar="SECONDS",
            help="How often to ask for the job.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(0.1),
            default=900.0,
            show_default=True,
            metavar="SECONDS",
            help="How long a job may take before it is in doubt; its credits stay reserved.",
        ),
        click.option("--api-key", help="The provider's key. [env: RUNAPI_API_KEY, preferred]"),
        click.option("--base-url", metavar="URL", help="Where the provider is, for a sandbox."),
    ):
        command = option(command)
    return command


@click.command()
@click.option(
    "--provider", type=click.Choice(["runapi"]), required=True, help="Who makes the clip."
)
@click.option(
    "--request",
    "request_file",
    type=click.File("rb"),
    required=True,
    help="The provider's own JSON body; - for stdin.",
)
@click.option("--action", help="What the request asks for, where the body does not say.")
@click.option("--wallet", required=True, help="Who pays.")
@click.option("--project", help="What it is for, such as film/teaser.")
@click.option("--max-cost", metavar="AMOUNT", help='The most that it may cost, such as "0.70 USD".')
@click.option(
    "--key", help="Your own id of this job: asked for again, it is followed, not repeated."
)
@provider_options
@database_option
@format_option
def run(
    request_file: Any,
    action: str | None,
    wallet: str,
    project: str | None,
    max_cost: str | None,
    key: str | None,
    db: str | None,
    form: str,
    provider: str,  # noqa: ARG001 - the only one so far
    **options: Any,
) -> int:
    """Run one request, within what its wallet holds, and print its reservation.

    \b
    kling-ledger run --provider runapi --request body.json --wallet team --project film/teaser
    """
    from kling_ledger.ledger import Ledger
    from kling_pricing.requests import parse_body

    body = parse_body(read_text(request_file))
    with Ledger(db, create=False) as ledger:
        unit = ledger.wallet(wallet).unit
        ceiling = None if max_cost is None else Money.parse(max_cost, default_unit=unit)
        meter = make_meter(ledger, wallet, project=project, ceiling=ceiling, **options)
        reservation = meter.reserve(body, action=action, key=key)
        try:
            ended = meter.carry_on(reservation, body)
        except KeyboardInterrupt:
            ended = ledger.reservation(reservation.id)
    return report(ended, form)


def make_meter(
    ledger: Ledger,
    wallet: str,
    *,
    project: str | None = None,
    ceiling: Money | None = None,
    api_key: str | None,
    base_url: str | None,
    poll_every: float,
    timeout: float,
) -> Meter:
    """Return a meter for a provider; the key goes to the provider's client and nowhere else."""
    from kling_ledger import config
    from kling_ledger.meter import Meter, Patience
    from kling_ledger.providers import runapi

    key = config.api_key(runapi.KEY_VARIABLE, api_key)
    url = config.base_url(base_url, default=runapi.DEFAULT_BASE_URL)
    timeout_s = max(1, min(runapi.CALL_TIMEOUT_S, int(timeout)))
    return Meter(
        ledger,
        runapi.connect(key, base_url=url, timeout_s=timeout_s),
        wallet=wallet,
        project=project,
        ceiling=ceiling,
        patience=Patience(poll_every_s=poll_every, longest_s=timeout),
        on_change=_say_state,
        on_trouble=_say_trouble,
    )


def report(ended: Reservation, form: str) -> int:
    """Print a reservation that was run, say what is left to do, and return the exit code."""
    from kling_ledger.ledger import State

    print_one(reservation_dict(ended), form)
    if ended.state is State.COMMITTED:
        if ended.problem:
            say(f"note: {ended.problem}")
        return 0 if ended.videos or ended.settled_by == "quote" else EXIT_JOB_FAILED
    if not ended.is_open:
        return EXIT_JOB_FAILED
    say(f"the credits stay reserved until there is a verdict: kling-ledger resume {ended.id}")
    return EXIT_IN_DOUBT


def _say_trouble(error: ProviderError) -> None:
    say(f"note: {error}")


def _say_state(reservation: Reservation) -> None:
    problem = f" ({reservation.problem})" if reservation.problem else ""
    amount = reservation.committed or reservation.amount
    say(f"{reservation.state} {amount}{problem}")
