"""The options that reports share, and the query that they make."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.output import database_option
from kling_ledger.cli.report_forms import FORMS, OutType
from kling_ledger.errors import ConfigError
from kling_pricing.money import USD

if TYPE_CHECKING:
    from kling_reports.query import Basis, Query
    from kling_reports.report import Span

Command = TypeVar("Command", bound=Callable[..., Any])

_CODE: Final = re.compile("[A-Z]{3}")
_MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}")


class Edge(Instant):
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
        type=Edge(),
        metavar="WHEN",
        help="From this month, day or instant on: 2026-10, 2026-10-01, 2026-10-01T12:00Z.",
    ),
    "ends_at": click.option(
        "--to", "ends_at", type=Edge(), metavar="WHEN", help="End of the time (exclusive)."
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
        metavar="CODE",
        help="Tell amounts in this currency: USD, at the rate that each job was reserved at, or "
        "another one with --rates.",
    ),
    "rates": click.option(
        "--rates",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Dated rates: a table with day, from, to, rate and source, or TOML with [[rate]].",
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
        "label:NAME; of what was posted also period, the month of the journal.",
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
    help="The month of the journal, such as 2026-10, as it is closed and sealed, or `last`, the "
    "one before this; not with --from or --to.",
)
"""The option `--period`, for the questions that follow the journal."""


def _refuse_period(ctx: click.Context, param: click.Parameter, value: str | None) -> None:  # noqa: ARG001
    if value is not None:
        raise ConfigError(
            "a month of the journal is for what was posted, and not for this question",
            hint="use --from and --to, or ask report spend --basis posted or report statement",
        )


no_period: Final = click.option(
    "--period", hidden=True, expose_value=False, callback=_refuse_period, help="Is refused."
)
"""The option `--period` where there is none: whoever tries it is told what to ask instead."""

basis: Final = click.option(
    "--basis",
    type=click.Choice(["reserved", "posted"]),
    default="reserved",
    show_default=True,
    help="When money counts: a job when it was reserved, with all that it has cost since; or each "
    "charge and refund when it was posted.",
)
"""The option `--basis`, the axis of time."""


def query_of(
    *,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    zone: str = "UTC",
    where: tuple[str, ...] = (),
    currency: str | None = None,
    by: tuple[str, ...] = (),
    period: str | None = None,
    basis: Basis | None = None,
    rates: Path | None = None,
) -> Query:
    """Return the query that options make; ConfigError for what cannot be asked."""
    from kling_reports.currency import read_rates
    from kling_reports.groups import read_filters, read_groups
    from kling_reports.query import Query

    span = _span(starts_at, ends_at, zone)
    now = datetime.now(UTC)
    if period is not None and (starts_at or ends_at):
        raise ConfigError("--period is a month such as 2026-10, without --from and --to")
    if period is not None and basis == "reserved":
        raise ConfigError(
            "--period is a month of what was posted", hint="add --basis posted, or use --from"
        )
    return Query(
        now=now,
        span=span,
        zone=zone,
        by=read_groups(by),
        filters=read_filters(where),
        currency=_currency(currency, rates),
        period=None if period is None else _month(period, now),
        basis=basis or "reserved",
        rates=None if rates is None else read_rates(rates),
    )


def _month(written: str, now: datetime) -> str:
    """Return a month of the journal; `last` is the last one that is over, in UTC."""
    if written == "last":
        return f"{now.replace(day=1) - timedelta(days=1):%Y-%m}"
    if not _MONTH.fullmatch(written):
        raise ConfigError(f"{written} is no month", hint="--period 2026-10, or --period last")
    return written


def _currency(written: str | None, rates: Path | None) -> str | None:
    """Return the code of a currency; only USD is known of jobs themselves."""
    if written is None and rates is not None:
        raise ConfigError("--rates are into a currency", hint="name it, as in --currency EUR")
    if written is None:
        return None
    code = written.upper()
    if not _CODE.fullmatch(code):
        raise ConfigError(f"{written} is no currency", hint="three letters, as in --currency EUR")
    if code != USD and rates is None:
        raise ConfigError(
            f"nobody knows what a job is worth in {code}",
            hint="USD is known of each job; report spend and overview take --rates FILE for others",
        )
    return code


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
