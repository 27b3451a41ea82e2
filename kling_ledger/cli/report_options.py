"""The options shared by reports, and the query built from them."""

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
    """One end of a period: a month, a day or an instant, in the query's zone unless it has one."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the instant, naive if it has no zone; a usage error for anything else."""
        text = f"{value}-01" if _MONTH.fullmatch(str(value)) else str(value)
        super().convert(text, param, ctx)
        return datetime.fromisoformat(text)


_OPTIONS: Final = {
    "starts_at": click.option(
        "--from",
        "starts_at",
        type=Edge(),
        metavar="WHEN",
        help="Start of the period (inclusive), a month, day or instant: 2026-10, 2026-10-01, "
        "2026-10-01T12:00Z.",
    ),
    "ends_at": click.option(
        "--to", "ends_at", type=Edge(), metavar="WHEN", help="End of the period (exclusive)."
    ),
    "zone": click.option(
        "--timezone",
        "zone",
        default="UTC",
        show_default=True,
        metavar="ZONE",
        help="The time zone of days, such as Europe/Berlin.",
    ),
    "where": click.option(
        "--where",
        multiple=True,
        metavar="WORD=VALUE",
        help="Only these: provider=crun, project=film/, label:team=ads, sound=no, model=-. "
        "Same word: OR; different words: AND.",
    ),
    "currency": click.option(
        "--currency",
        metavar="CODE",
        help="Show amounts in this currency: USD, at the rate each job was reserved at, or "
        "another with --rates.",
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
        help="Write to a file, in the format of its extension, or each table to its own file "
        "in a folder.",
    ),
    "table": click.option(
        "--table", metavar="NAME", help="Only this table of the report, in any format."
    ),
    "form": click.option(
        "--format",
        "form",
        type=click.Choice(list(FORMS)),
        help="The format. [default: from the extension of --out, csv in a folder, else table]",
    ),
    "db": database_option,
}


def options(*left_out: str) -> Callable[[Command], Command]:
    """Add the options shared by reports, except those that this one does not need."""

    def add(command: Command) -> Command:
        # The last decorator comes first in the help.
        for name, option in reversed(_OPTIONS.items()):
            if name not in left_out:
                command = option(command)
        return command

    return add


def by(*default: str) -> Callable[[Command], Command]:
    """Add `--by`, with its default."""
    return click.option(
        "--by",
        multiple=True,
        default=default,
        show_default=", ".join(default),
        metavar="WORD",
        help="What to group by; may be repeated: day, week, month, project, project:LEVEL, "
        "wallet, provider, account, model, action, resolution, sound, user, label:NAME; "
        "with --basis posted also period, the month of the journal.",
    )


tenants: Final = click.option(
    "--tenants",
    is_flag=False,
    flag_value="",
    metavar="[NAME,...]",
    help="Read every ledger of a PostgreSQL database, or those of the named schemas: see db "
    "tenants.",
)
"""The option `--tenants`, for reports over several ledgers."""

period: Final = period_option()
"""The option `--period`, for reports about a period."""

journal_period: Final = period_option(
    " With --basis posted, a month is the journal's month, as closed and sealed."
)
"""The option `--period`, for reports that can follow the months of the journal."""

month: Final = click.option(
    "--period",
    "month",
    type=Month(),
    metavar="MONTH",
    help="The month of the journal, such as 2026-10 or last-month, as it is closed and sealed.",
)
"""The option `--period`, for reports about the end of a month."""


def _refuse_period(ctx: click.Context, param: click.Parameter, value: str | None) -> None:  # noqa: ARG001
    if value is not None:
        raise ConfigError(
            "budgets are shown in their current windows",
            hint="use report spend for another period, report limits for who changed a budget",
        )


no_period: Final = click.option(
    "--period", hidden=True, expose_value=False, callback=_refuse_period, help="Is refused."
)
"""The option `--period` for a report without one: its error names the reports to use instead."""

basis: Final = click.option(
    "--basis",
    type=click.Choice(["reserved", "posted"]),
    default="reserved",
    show_default=True,
    help="When an amount counts: reserved counts a job's whole cost at the time it was "
    "reserved; posted counts each charge and refund when it was posted.",
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
    """Return the query for the options; ConfigError for an impossible one.

    If the report `follows_journal`, a month of posted amounts is the journal's month.
    """
    from kling_ledger.ledger.windows import read_zone
    from kling_reports.currency import read_rates
    from kling_reports.groups import read_filters, read_groups
    from kling_reports.query import Query

    now = datetime.now(UTC)
    if period is not None:
        if starts_at or ends_at:
            raise ConfigError("--period replaces --from and --to: give one or the other")
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
    """Return the code of a currency; jobs themselves have only USD."""
    if written is None and rates is not None:
        raise ConfigError("--rates need a --currency", hint="give one, such as --currency EUR")
    if written is None:
        return None
    code = written.upper()
    if not _CODE.fullmatch(code):
        raise ConfigError(
            f"not a currency: {written}", hint="use three letters, as in --currency EUR"
        )
    if code != USD and rates is None:
        raise ConfigError(
            f"the value of a job in {code} is unknown",
            hint="jobs have a value in USD; for other currencies, report spend and overview "
            "accept --rates FILE",
        )
    return code


def _span(starts_at: datetime | None, ends_at: datetime | None, zone: ZoneInfo) -> Span:
    """Return the period between two ends; an end without a zone is in the query's zone."""
    from kling_reports.report import Span

    def in_zone(at: datetime | None) -> datetime | None:
        return at and (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)

    span = Span(in_zone(starts_at), in_zone(ends_at))
    if span.starts_at and span.ends_at and span.starts_at >= span.ends_at:
        raise ConfigError(
            "--from is not before --to", hint="--to is the first day after the period"
        )
    return span
