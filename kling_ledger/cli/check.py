"""`kling-ledger check`: whether a request would be admitted, what blocks it, and what would fit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from kling_ledger.cli import EXIT_REFUSED
from kling_ledger.cli.books import book_option
from kling_ledger.cli.connections import (
    Connection,
    approve_option,
    ceiling_of,
    connection_options,
    has_key,
    silent,
)
from kling_ledger.cli.defaults import project_option, wallet_option
from kling_ledger.cli.hints import hint_for
from kling_ledger.cli.inputs import label_option, read_labels
from kling_ledger.cli.output import database_option, format_option, print_one, print_table, say
from kling_ledger.cli.request_options import read_body, request_options
from kling_ledger.config import actor

if TYPE_CHECKING:
    from kling_ledger.jobs.checking import Checked, Wish
    from kling_ledger.ledger import Ledger
    from kling_pricing.library import Library

_ANY_PROMPT = "any"


@click.command()
@request_options
@wallet_option
@project_option("The project, such as film/teaser.")
@click.option("--max-cost", metavar="AMOUNT", help='The most that it may cost, such as "0.70 USD".')
@approve_option
@click.option("--key", help="The key that the job would run under.")
@label_option
@book_option
@connection_options
@database_option
@format_option
def check(
    provider: str,
    request_file: BinaryIO | None,
    action: str | None,
    wallet: str,
    project: str | None,
    max_cost: str | None,
    approve_above: str | None,
    key: str | None,
    labels: tuple[str, ...],
    library: Library,
    db: str | None,
    form: str,
    connection: Connection,
    **clip: Any,
) -> int:
    """Show whether `run` would be admitted now, and what would fit. Nothing is reserved or sent.

    \b
    kling-ledger check --provider runapi --request body.json --wallet team --project film/teaser
    kling-ledger check --provider crun --model kling/v3 --seconds 10 --resolution 1080p --sound \\
        --wallet credits

    It needs no API key. With a key, providers with free estimates are asked, as in `run`; without
    one, only the price books count. What would fit always comes from the books. Exit codes: 0 it
    would be admitted, 3 it would be refused or needs a person's approval.
    """
    from kling_ledger.jobs.approving import needs_grant
    from kling_ledger.jobs.checking import Wish
    from kling_ledger.ledger import Ledger

    if request_file is None and clip["prompt"] is None:
        clip["prompt"] = _ANY_PROMPT  # no price depends on it
    body, action = read_body(provider, request_file, action, clip)
    with Ledger(db, create=False) as ledger:
        wish = Wish(wallet, project, read_labels(labels), ceiling_of(ledger, wallet, max_cost), key)
        checked = _checked(ledger, connection, library, wish, (provider, body, action))
        above = ceiling_of(ledger, wallet, approve_above)
        needs = needs_grant(ledger, checked.asked, above=above, asked_by=actor())
    row = {**_row(checked), "needs_approval": needs}
    print_one(row, form, table=lambda: _print_table(checked, needs_approval=needs))
    return EXIT_REFUSED if checked.refusal or needs else 0


def _checked(
    ledger: Ledger,
    connection: Connection,
    library: Library,
    wish: Wish,
    asked: tuple[str, dict[str, Any], str | None],
) -> Checked:
    """Check by the provider's own estimate if its key is set, else by the books alone."""
    from kling_ledger.jobs.checking import check_by_book, check_by_meter
    from kling_ledger.providers.registry import provider_facts
    from kling_pricing.gateways import read_request

    provider, body, action = asked
    if not (provider_facts(provider).estimates and has_key(provider, connection.api_key)):
        request = read_request(provider, body, action=action)
        return check_by_book(ledger, request, wish, at=datetime.now(UTC), library=library)
    meter = connection.meter(
        ledger,
        provider,
        wish.wallet,
        project=wish.project,
        labels=wish.labels,
        ceiling=wish.ceiling,
        library=library,
        on_change=silent,
        on_note=lambda note: say(f"note: {note}"),
    )
    try:
        return check_by_meter(meter, body, action=action, key=wish.key)
    finally:
        meter.provider.close()


def _row(checked: Checked) -> dict[str, Any]:
    from kling_ledger.jobs.checking import checked_dict

    return checked_dict(checked, hint_for)


def _print_table(checked: Checked, *, needs_approval: bool) -> None:
    asked, refusal = checked.asked, checked.refusal
    rows = [
        ("quoted", checked.quoted.amount if checked.quoted else "no book has a price"),
        ("would hold", asked.amount),
        ("from wallet", asked.wallet),
        ("admitted", refusal is None),
        ("needs approval", "a person must approve it first" if needs_approval else None),
        ("because", None if refusal is None else refusal.message),
        ("what helps", None if refusal is None else hint_for(refusal)),
        ("would fit", list(checked.fit.told)),
    ]
    fields = [{"field": name, "value": value} for name, value in rows if value is not None]
    print_table(fields, ["field", "value"], figures=False)
    for note in checked.notes:
        say(f"note: {note}")
