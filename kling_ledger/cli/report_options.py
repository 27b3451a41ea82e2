"""The options that reports share, and the query that they make."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.output import database_option
from kling_ledger.cli.report_forms import FORMS, OutType
from kling_ledger.cli.spans import Month, period_option, read_month, read_period
from kling_ledger.errors import ConfigError
from kling_pricing.money import USD

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

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

period: Final = period_option()
"""The option `--period`, for the questions about a time."""

journal_period: Final = period_option(
    " A month is the journal's own, as it is closed and sealed, for what was posted."
)
"""The option `--period`, for the questions about a time that can follow the journal."""

month: Final = click.option(
    "--period",
    "month",
    type=Month(),
    metavar="MONTH",
    help="The month of the journal, such as 2026-10 or last-month, as it is closed and sealed.",
)
"""The option `--period`, for the questions about the end of a month."""


def _refuse_period(ctx: click.Context, param: click.Parameter, value: str | None) -> None:  # noqa: ARG001
    if value is not None:
        raise ConfigError(
            "budgets are shown as they stand in their present windows",
            hint="report spend tells of another time, report limits who changed a budget",
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
    month: str | None = None,
    basis: Basis | None = None,
    rates: Path | None = None,
    follows_journal: bool = False,
) -> Query:
    """Return the query that options make; ConfigError for what cannot be asked.

    Where the question `follows_journal`, a month of what was posted is the journal's own.
    """
    from kling_ledger.ledger.windows import read_zone
    from kling_reports.currency import read_rates
    from kling_reports.groups import read_filters, read_groups
    from kling_reports.query import Query

    now = datetime.now(UTC)
    if period is not None:
        if starts_at or ends_at:
            raise ConfigError("--period stands for both ends: give it without --from and --to")
        found = read_period(period, now.astimezone(read_zone(zone)).date())
        if follows_journal and basis != "reserved" and found.month:
            month = read_month(period, now)
        else:
            starts_at, ends_at = found.begins_at, found.ends_at
    span = _span(starts_at, ends_at, read_zone(zone))
    return Query(
        now=now,
        span=span,
        zone=zone,
        by=read_groups(by),
        filters=read_filters(where),
        currency=_currency(currency, rates),
        period=month,
        basis=basis or "reserved",
        rates=None if rates is None else read_rates(rates),
    )


def _currency(written: str | None, rates: Path | None) -> str | None:
    """Return the code of a currency; only USD is known of jobs themselves."""
    if written is None and rates is not None:
        raise ConfigError("--rates are into a currency", hint="name it, as in --currency EUR")
    if written is None:
        return None
    code = written.upper()
    if not _CODE.fullmatch(code):
        raise ConfigError(
            f"not a currency: {written}", hint="give three letters, as in --currency EUR"
        )
    if code != USD and rates is None:
        raise ConfigError(
            f"the worth of a job in {code} is unknown",
            hint="USD is known of each job; report spend and overview take --rates FILE for others",
        )
    return code


def _span(starts_at: datetime | None, ends_at: datetime | None, zone: ZoneInfo) -> Span:
    """Return the time from one end to the other; an end without a zone is one of the query's."""
    from kling_reports.report import Span

    def in_zone(at: datetime | None) -> datetime | None:
        return at and (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)

    span = Span(in_zone(starts_at), in_zone(ends_at))
    if span.starts_at and span.ends_at and span.starts_at >= span.ends_at:
        raise ConfigError(
            "--from is not before --to", hint="--to is the first day after the period"
        )
    return span
