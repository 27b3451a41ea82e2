"""`kling-ledger report`: what was spent, on what, against which budget, and what is still open.

Each question is a module of kling_reports with `report(database, query) -> Report`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli.output import say
from kling_ledger.cli.report_exports import register
from kling_ledger.cli.report_forms import Out, form_of, write
from kling_ledger.cli.report_options import by, options, period, query_of, tenants
from kling_ledger.config import database_url
from kling_ledger.errors import ConfigError

if TYPE_CHECKING:
    from pandas import DataFrame

    from kling_ledger.ledger.engines.database import Database
    from kling_reports.query import Query
    from kling_reports.report import Report


@click.group()
def report() -> None:
    """What was spent, on what, against which budget; what failed, and what is still open."""


@report.command()
@by("provider")
@options()
def overview(**given: Any) -> None:
    """Spend by month, cost per second, budgets, variance and open credits, in one page."""
    _answer("overview", **given)


@report.command()
@by("project", "provider", "model")
@tenants
@options()
def spend(**given: Any) -> None:
    """Clips, failures, seconds and cost, by project, provider and model or as asked."""
    _answer("spend", **given)


@report.command()
@tenants
@options("starts_at", "ends_at", "where", "currency")
def budgets(**given: Any) -> None:
    """Each budget: what is spent, reserved and left, how fast it goes, and when it runs out."""
    _answer("budgets", **given)


@report.command()
@by("provider", "model")
@options("currency")
def variance(**given: Any) -> None:
    """What was quoted, committed and billed, and how near the quotes were."""
    _answer("variance", **given)


@report.command("open")
@tenants
@options()
def open_(**given: Any) -> None:
    """Credits that are still set aside, by age, and what to do about them."""
    _answer("open", **given)


@report.command()
@period
@options("currency")
def statement(**given: Any) -> None:
    """Each wallet from its opening to its closing balance, and every line between."""
    _answer("statement", **given)


@report.command()
@by("provider", "model")
@options("currency")
def failures(**given: Any) -> None:
    """What failed, what it would have cost, and what came back."""
    _answer("failures", **given)


@report.command()
@options("currency")
def reconciliation(**given: Any) -> None:
    """What our figures rest on, what is in doubt, and what was corrected."""
    _answer("reconciliation", **given)


register(report)


def _answer(
    question: str,
    *,
    db: str | None,
    out: Out | None,
    form: str | None,
    table: str | None,
    tenants: str | None = None,
    **given: Any,
) -> None:
    # What is wrong with the options is said before the ledger is opened.
    known = form_of(form, out)
    query = query_of(**given)
    module = import_module(f"kling_reports.{question}")
    ledgers = {"": db} if tenants is None else _tenants(db, tenants)
    answers: dict[str, Report] = {}
    jobs: list[DataFrame] = []
    with ExitStack() as kept_open:
        for name, address in ledgers.items():
            with ExitStack() as opened:
                database = opened.enter_context(_opened(address))
                answers[name] = module.report(database, query)
                jobs.extend(_filtered_by(database, query))
                if any(one.stream is not None for one in answers[name].tables):
                    # Its rows are read when they are written.
                    kept_open.push(opened.pop_all())
        _say_what_no_job_has(jobs, query)
        write(_joined(answers) if tenants is not None else answers[""], known, out, table=table)


def _joined(answers: Mapping[str, Report]) -> Report:
    from kling_reports.tenants import joined

    return joined(answers)


def _tenants(db: str | None, written: str) -> dict[str, str]:
    """Return the addresses of the ledgers that are asked, by tenant."""
    from kling_ledger.ledger.tenants import addresses

    names = tuple(name.strip() for name in written.split(",") if name.strip())
    found = addresses(database_url(db), names)
    if not found:
        raise ConfigError("no schema of this database holds a ledger that this role may read")
    return found


@contextmanager
def _opened(address: str | None) -> Iterator[Database]:
    """Open a ledger as it is at one moment: all tables of a report are of that."""
    from kling_ledger.ledger import Ledger

    with Ledger(address, create=False) as ledger, ledger.database.snapshot() as database:
        yield database


def _filtered_by(database: Database, query: Query) -> Iterator[DataFrame]:
    """Give what jobs have in the columns of --where, if there is any."""
    if query.filters:
        from kling_reports.doors import reservations
        from kling_reports.groups import sources

        yield reservations.alike(database, columns=sources((), query.filters))


def _say_what_no_job_has(jobs: list[DataFrame], query: Query) -> None:
    """Say of each value of --where that no job has, which values there are: it may be misspelt."""
    if not jobs:
        return
    from pandas import concat

    from kling_reports.groups import unknown

    for written, known in unknown(query.filters, concat(jobs, ignore_index=True)):
        there = f"there are {', '.join(known)}" if known else "no job has any"
        say(f"note: no job has {written}: {there}")
