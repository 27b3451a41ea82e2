"""The options that reports share, and the query that they make."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.output import database_option
from kling_ledger.cli.report_forms import FORMS, OutType
from kling_ledger.errors import ConfigError

if TYPE_CHECKING:
    from kling_reports.query import Query
    from kling_reports.report import Span

Command = TypeVar("Command", bound=Callable[..., Any])

_MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}")


class _Edge(Instant):
    """One end of a span: a month, a day or an instant, in the query's zone unless it has one."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the instant, naive where its zone was not said; a usage error for no instant."""
        text = f"{value}-01" if _MONTH.fullmatch(str(value)) else str(value)
        super().convert(text, param, ctx)
        return datetime.fromisoformat(text)


_OPTIONS: Final = {
    "starts_at": click.option(
        "--from",
        "starts_at",
        type=_Edge(),
        metavar="WHEN",
        help="From this month, day or instant on: 2026-10, 2026-10-01, 2026-10-01T12:00Z.",
    ),
    "ends_at": click.option(
        "--to", "ends_at", type=_Edge(), metavar="WHEN", help="End of the time (exclusive)."
    ),
    "zone": click.option(
        "--timezone",
        "zone",
        default="UTC",
        show_default=True,
        metavar="ZONE",
        help="Where days begin, such as Europe/Berlin.",
    ),
    "where": click.option(
        "--where",
        multiple=True,
        metavar="WORD=VALUE",
        help="Only these: provider=crun, project=film/, label:team=ads, sound=no, model=-. The "
        "same word: OR; different words: AND.",
    ),
    "currency": click.option(
        "--currency",
        type=click.Choice(["USD"]),
        help="Convert each amount at the rate that its job was reserved at.",
    ),
    "out": click.option(
        "--out",
        type=OutType(),
        metavar="FILE|DIR/",
        help="Write it to a file, whose ending says the form, or each table to a file of its own "
        "in a folder.",
    ),
    "table": click.option(
        "--table", metavar="NAME", help="Only this table of the report, in any form."
    ),
    "form": click.option(
        "--format",
        "form",
        type=click.Choice(list(FORMS)),
        help="The form. [default: by the ending of --out, csv in a folder, else table]",
    ),
    "db": database_option,
}


def options(*left_out: str) -> Callable[[Command], Command]:
    """Add the options that questions share, without those that this one has no use for."""

    def add(command: Command) -> Command:
        # A decorator that comes last stands first in the help.
        for name, option in reversed(_OPTIONS.items()):
            if name not in left_out:
                command = option(command)
        return command

    return add


def by(*default: str) -> Callable[[Command], Command]:
    """Add `--by`, with the words that are meant where none are given."""
    return click.option(
        "--by",
        multiple=True,
        default=default,
        show_default=", ".join(default),
        metavar="WORD",
        help="What to add up by, several times if you like: day, week, month, project, "
        "project:LEVEL, wallet, provider, account, model, action, resolution, sound, user, "
        "label:NAME.",
    )


tenants: Final = click.option(
    "--tenants",
    is_flag=False,
    flag_value="",
    metavar="[NAME,...]",
    help="Ask every ledger of a PostgreSQL database, or of the schemas named: see db tenants.",
)
"""The option `--tenants`, for the questions that are asked of several ledgers at a time."""

period: Final = click.option(
    "--period",
    metavar="MONTH",
    help="The month of the journal, such as 2026-10, as it is closed and sealed; not with --from "
    "or --to.",
)
"""The option `--period`, for the questions that follow the journal."""


def query_of(
    *,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    zone: str = "UTC",
    where: tuple[str, ...] = (),
    currency: str | None = None,
    by: tuple[str, ...] = (),
    period: str | None = None,
) -> Query:
    """Return the query that options make; ConfigError for what cannot be asked."""
    from kling_reports.groups import read_filters, read_groups
    from kling_reports.query import Query

    span = _span(starts_at, ends_at, zone)
    if period is not None and (starts_at or ends_at or not _MONTH.fullmatch(period)):
        raise ConfigError("--period is a month such as 2026-10, without --from and --to")
    return Query(
        now=datetime.now(UTC),
        span=span,
        zone=zone,
        by=read_groups(by),
        filters=read_filters(where),
        currency=currency,
        period=period,
    )


def _span(starts_at: datetime | None, ends_at: datetime | None, zone: str) -> Span:
    """Return the time from one end to the other; an end without a zone is one of the query's."""
    from kling_ledger.ledger.windows import read_zone
    from kling_reports.report import Span

    known = read_zone(zone)

    def in_zone(at: datetime | None) -> datetime | None:
        return at and (at if at.tzinfo else at.replace(tzinfo=known)).astimezone(UTC)

    span = Span(in_zone(starts_at), in_zone(ends_at))
    if span.starts_at and span.ends_at and span.starts_at >= span.ends_at:
        raise ConfigError("--from is not before --to", hint="--to names the first day left out")
    return span
