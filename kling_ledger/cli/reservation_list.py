"""`kling-ledger reservation list`: the latest reservations, some or all, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.inputs import gathered
from kling_ledger.cli.keys import repeated
from kling_ledger.cli.known_words import meant
from kling_ledger.cli.output import (
    database_option,
    format_option,
    print_csv,
    print_json_rows,
    print_many,
    say,
)
from kling_ledger.cli.reservation_rows import COLUMNS, NO_PROJECT, reservation_dict
from kling_ledger.cli.spans import ends_of, period_option

if TYPE_CHECKING:
    from kling_ledger.ledger import Ledger, Reservation

STATES: Final = (
    "reserved",
    "submitting",
    "submitted",
    "in_doubt",
    "committed",
    "rolled_back",
    "expired",
)
_SHOWN: Final = (*(name for name in COLUMNS if name != "created_at"), "age", "created_at")
_GIVES_WAY: Final = ("created_at", "id", "unit", "project", "model", "wallet")
"""Columns that a narrow terminal drops first: the instant, since the age is shown, and the id,
which is longer than the rest together.
"""
_PAGE: Final = 1000
_AGES: Final = (("d", 86_400), ("h", 3_600), ("min", 60))


@dataclass(frozen=True, slots=True)
class Choice:
    """The filters of a listing."""

    state: str | None
    wallet: str | None
    project: str | None
    provider: str | None
    account: str | None
    model: str | None
    label: str | None
    since: datetime | None
    until: datetime | None


@click.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only reservations in this state.")
@click.option("--wallet", help="Only reservations of this wallet.")
@click.option(
    "--project", help="Only reservations of this project; film/ is film and everything below it."
)
@click.option("--provider", help="Only reservations at this provider.")
@click.option("--account", help="Only reservations on this account.")
@click.option("--model", help="Only reservations of this model.")
@click.option("--label", metavar="NAME=VALUE", help="Only reservations with this label.")
@click.option(
    "--since",
    "--from",
    type=Instant(),
    help="Only reservations made at this instant or later (UTC).",
)
@click.option(
    "--until", "--to", type=Instant(), help="Only reservations made before this instant (UTC)."
)
@gathered(Choice, "choice")
@period_option(" In UTC.")
@click.option("--after", metavar="ID", help="Continue after this reservation, with older ones.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=50,
    show_default=True,
    help="The most to list.",
)
@database_option
@format_option
def list_reservations(
    choice: Choice,
    period: str | None,
    after: str | None,
    limit: int,
    db: str | None,
    form: str,
) -> None:
    """List the latest reservations, newest first."""
    from kling_ledger.ledger import Ledger
    from kling_pricing.gateways import GATEWAYS

    provider = choice.provider and (meant(choice.provider, GATEWAYS) or choice.provider)
    since, until = ends_of(period, choice.since, choice.until, names="--since and --until")
    choice = replace(choice, provider=provider, since=since, until=until)
    with Ledger(db, create=False) as ledger:
        # One more than is shown, to know whether there are more.
        found = _paged(ledger, choice, after, limit + 1)
        last = _print(islice(found, limit), form)
        if last is not None and next(found, None) is not None:
            say(f"note: there are more. To list the next:\n  {repeated({'--after': last})}")


def _paged(ledger: Ledger, choice: Choice, after: str | None, limit: int) -> Iterator[Reservation]:
    """Read this many reservations, only a page of them in memory at a time."""
    from kling_ledger.ledger import State

    wanted = asdict(choice)
    wanted["state"] = State(choice.state) if choice.state else None
    wanted["wallet"] = choice.wallet and ledger.wallets.get(choice.wallet).id
    while limit > 0:
        page = ledger.reservations.latest(**wanted, after=after, limit=min(limit, _PAGE))
        yield from page
        if len(page) < min(limit, _PAGE):
            return
        after = page[-1].id
        limit -= len(page)


def _print(found: Iterable[Reservation], form: str) -> str | None:
    """Print reservations as they come, a table once all are read; return the last one's id."""
    last: list[str] = []

    def rows() -> Iterator[dict[str, Any]]:
        for one in found:
            last[:] = [one.id]
            yield reservation_dict(one)

    if form == "json":
        print_json_rows(rows())
    elif form == "csv":
        print_csv(rows(), COLUMNS)
    else:
        print_many(_narrow(rows()), _SHOWN, form, empty="no reservations", optional=_GIVES_WAY)
    return last[0] if last else None


def _narrow(rows: Iterable[dict[str, Any]]) -> list[dict[str, str | None]]:
    """Keep only what a table shows of many rows; equal values are stored once."""
    now = datetime.now(UTC)
    known: dict[str, str] = {}
    kept = []
    for row in rows:
        row["project"] = row["project"] or NO_PROJECT
        row["age"] = _age(now - datetime.fromisoformat(row["created_at"]))
        kept.append({name: row[name] and known.setdefault(row[name], row[name]) for name in _SHOWN})
    return kept


def _age(age: timedelta) -> str:
    """Format an age in its largest whole unit: 3d, 2h, 5min, 40s."""
    seconds = max(int(age.total_seconds()), 0)
    unit, size = next(((unit, size) for unit, size in _AGES if seconds >= size), ("s", 1))
    return f"{seconds // size}{unit}"
