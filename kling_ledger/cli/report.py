"""`kling-ledger report`: what was spent, on what, against which budget, and what is still open.

Each question is a module of kling_reports with `report(database, query) -> Report`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli.output import say
from kling_ledger.cli.report_exports import register
from kling_ledger.cli.report_forms import form_of, write
from kling_ledger.cli.report_options import by, options, period, query_of

if TYPE_CHECKING:
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
@options()
def spend(**given: Any) -> None:
    """Clips, failures, seconds and cost, by project, provider and model or as asked."""
    _answer("spend", **given)


@report.command()
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
    question: str, *, db: str | None, out: Path | None, form: str | None, **given: Any
) -> None:
    # What is wrong with the options is said before the ledger is opened.
    known = form_of(form, out)
    query = query_of(**given)
    module = import_module(f"kling_reports.{question}")
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        answered: Report = module.report(ledger.database, query)
        _say_what_no_job_has(ledger.database, query)
    write(answered, known, out)


def _say_what_no_job_has(database: Database, query: Query) -> None:
    """Say of each value of --where that no job has, which values there are: it may be misspelt."""
    if not query.filters:
        return
    from kling_reports.doors import reservations
    from kling_reports.groups import sources, unknown

    jobs = reservations.alike(database, columns=sources((), query.filters))
    for written, known in unknown(query.filters, jobs):
        there = f"there are {', '.join(known)}" if known else "no job has any"
        say(f"note: no job has {written}: {there}")
