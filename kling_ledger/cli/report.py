"""`kling-ledger report`: what was spent, on what, against which budget, and what is still open.

Each question is a module of kling_reports with `report(database, query) -> Report`. Each form is a
module of kling_reports.render with `render(report) -> bytes`; the terminal's is
`render(report, *, width, is_terminal) -> str`. FORMS says which form is which module, and which
ending of a file's name asks for it.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.output import database_option, say
from kling_ledger.cli.report_exports import register
from kling_ledger.errors import ConfigError, NoLedgerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_ledger.ledger.engines.database import Database
    from kling_reports.query import Query
    from kling_reports.report import Report

Command = TypeVar("Command", bound=Callable[..., Any])

FORMS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "table": ("terminal", (".txt",)),
    "json": ("json", (".json",)),
    "csv": ("csv", (".csv",)),
    "parquet": ("parquet", (".parquet",)),
    "xlsx": ("xlsx", (".xlsx",)),
    "html": ("html", (".html", ".htm")),
}
"""Every form: the module of kling_reports.render that writes it, and the files that ask for it."""

_ON_A_TERMINAL: Final = ("table", "json", "csv")
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


_OPTIONS: Final = (
    click.option(
        "--from",
        "starts_at",
        type=_Edge(),
        metavar="WHEN",
        help="From this month, day or instant on: 2026-10, 2026-10-01, 2026-10-01T12:00Z.",
    ),
    click.option(
        "--to", "ends_at", type=_Edge(), metavar="WHEN", help="Up to this one, which is left out."
    ),
    click.option(
        "--timezone",
        "zone",
        default="UTC",
        show_default=True,
        metavar="ZONE",
        help="Where days begin, such as Europe/Berlin.",
    ),
    click.option(
        "--where",
        multiple=True,
        metavar="WORD=VALUE",
        help="Only these: provider=crun, project=film/, label:team=ads, sound=no, model=-. Of one "
        "word any may hold, of several words all must.",
    ),
    click.option(
        "--currency",
        type=click.Choice(["USD"]),
        help="Convert each amount at the rate that its job was reserved at.",
    ),
    click.option(
        "--out",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write it to a file; its ending says the form.",
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(list(FORMS)),
        help="The form. [default: by the ending of --out, else table]",
    ),
    database_option,
)


def _options(*left_out: str) -> Callable[[Command], Command]:
    """Add the options that questions share, without those that this one has no use for."""

    def add(command: Command) -> Command:
        for option in reversed(_OPTIONS):
            command = option(command)
        parameters: list[click.Parameter] = getattr(command, "__click_params__", [])
        parameters[:] = [one for one in parameters if one.name not in left_out]
        return command

    return add


def _by(*default: str) -> Callable[[Command], Command]:
    """Add `--by`, with the words that are meant where none are given."""
    return click.option(
        "--by",
        multiple=True,
        default=default,
        show_default=", ".join(default),
        metavar="WORD",
        help="What to add up by, several times if you like: day, week, month, project, "
        "project:LEVEL, wallet, provider, model, action, resolution, sound, user, label:NAME.",
    )


_period: Final = click.option(
    "--period",
    metavar="MONTH",
    help="The month of the journal, such as 2026-10, as it is closed and sealed; not with --from "
    "or --to.",
)


@click.group()
def report() -> None:
    """What was spent, on what, against which budget; what failed, and what is still open."""


@report.command()
@_by("provider")
@_options()
def overview(**given: Any) -> None:
    """Spend by month, cost per second, budgets, variance and open credits, in one page."""
    _answer("overview", **given)


@report.command()
@_by("project", "provider", "model")
@_options()
def spend(**given: Any) -> None:
    """Clips, failures, seconds and cost, by project, provider and model or as asked."""
    _answer("spend", **given)


@report.command()
@_options("starts_at", "ends_at", "where", "currency")
def budgets(**given: Any) -> None:
    """Each budget: what is spent, reserved and left, how fast it goes, and when it runs out."""
    _answer("budgets", **given)


@report.command()
@_by("provider", "model")
@_options("currency")
def variance(**given: Any) -> None:
    """What was quoted, committed and billed, and how near the quotes were."""
    _answer("variance", **given)


@report.command("open")
@_options()
def open_(**given: Any) -> None:
    """Credits that are still set aside, by age, and what to do about them."""
    _answer("open", **given)


@report.command()
@_period
@_options("currency")
def statement(**given: Any) -> None:
    """Each wallet from its opening to its closing balance, and every line between."""
    _answer("statement", **given)


@report.command()
@_by("provider", "model")
@_options("currency")
def failures(**given: Any) -> None:
    """What failed, what it would have cost, and what came back."""
    _answer("failures", **given)


@report.command()
@_options("currency")
def reconciliation(**given: Any) -> None:
    """What our figures rest on, what is in doubt, and what was corrected."""
    _answer("reconciliation", **given)


register(report)


def _answer(
    question: str,
    *,
    db: str | None,
    out: Path | None,
    form: str | None,
    **given: Any,
) -> None:
    form = form or _form_of(out)
    if out is None and form not in _ON_A_TERMINAL:
        raise ConfigError(f"{form} is written to a file", hint=f"name it with --out report.{form}")
    query = _query(**given)
    module = import_module(f"kling_reports.{question}")
    with _database(db) as database:
        answered: Report = module.report(database, query)
    write(answered, form, out)


def _query(
    *,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    zone: str = "UTC",
    where: tuple[str, ...] = (),
    currency: str | None = None,
    by: tuple[str, ...] = (),
    period: str | None = None,
) -> Query:
    from kling_ledger.ledger.windows import read_zone
    from kling_reports.groups import read_filters, read_groups
    from kling_reports.query import Query
    from kling_reports.report import Span

    known = read_zone(zone)

    def in_zone(at: datetime | None) -> datetime | None:
        return at and (at if at.tzinfo else at.replace(tzinfo=known)).astimezone(UTC)

    span = Span(in_zone(starts_at), in_zone(ends_at))
    if span.starts_at and span.ends_at and span.starts_at >= span.ends_at:
        raise ConfigError("--from is not before --to", hint="--to names the first day left out")
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


@contextmanager
def _database(url: str | None) -> Iterator[Database]:
    """Open the ledger's database; where nobody has made one yet, an empty one, and say so."""
    from kling_ledger.ledger import Ledger

    try:
        ledger = Ledger(url, create=False)
    except NoLedgerError as error:
        say(f"note: {error}")
        with tempfile.TemporaryDirectory() as folder, Ledger(f"{folder}/empty") as nothing:
            yield nothing.database
        return
    with ledger:
        yield ledger.database


def _form_of(out: Path | None) -> str:
    if out is None:
        return "table"
    for form, (_, endings) in FORMS.items():
        if out.suffix.lower() in endings:
            return form
    known = ", ".join(ending for _, endings in FORMS.values() for ending in endings)
    raise ConfigError(f"no form is known for {out.name}", hint=f"use --format, or one of {known}")


def write(answered: Report, form: str, out: Path | None = None) -> None:
    """Write a report in a form of FORMS, to a file or to standard output."""
    render = import_module(f"kling_reports.render.{FORMS[form][0]}").render
    if form == "table":
        is_terminal = out is None and sys.stdout.isatty()
        text: str = render(answered, width=_width(), is_terminal=is_terminal)
        written = text.encode()
    else:
        written = render(answered)
    if out is None:
        click.echo(written, nl=False)
    else:
        out.write_bytes(written)
        say(f"wrote {out}")


def _width() -> int:
    """Return how wide the terminal is; a file or a pipe has no width, and nothing is cut there."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
