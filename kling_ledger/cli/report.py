"""`kling-ledger report`: what was spent, on what."""

from __future__ import annotations

import click

from kling_ledger.cli.output import (
    database_option,
    empty_where_there_is_no_ledger,
    format_option,
    print_many,
)
from kling_reports import GROUPS


@click.group()
def report() -> None:
    """What was spent, on what."""


@report.command()
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(GROUPS),
    default=("project", "provider", "model"),
    show_default="project, provider, model",
    help="What to add up by; give it several times. Days and months are UTC.",
)
@database_option
@format_option
def spend(by: tuple[str, ...], db: str | None, form: str) -> None:
    """Clips, failures, seconds and cost, by project, provider and model or as asked."""
    from kling_ledger.ledger import Ledger
    from kling_reports import frames
    from kling_reports.render.rows import columns, rows
    from kling_reports.spend import spend as add_up

    reserved = frames.no_reservations()
    with empty_where_there_is_no_ledger(), Ledger(db, create=False) as ledger:
        reserved = frames.reservations(ledger.database)
    table = add_up(reserved, list(dict.fromkeys(by)))
    empty = "nothing was reserved yet"
    give_way = ("seconds", "open", "failed")
    print_many(rows(table), columns(table), form, empty=empty, optional=give_way)
