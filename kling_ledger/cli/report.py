"""`kling-ledger report`: what was spent, on what, against which budget, and what is still open.

Each question is a module of kling_reports with `report(database, query) -> Report`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli.output import say
from kling_ledger.cli.report_exports import register
from kling_ledger.cli.report_forms import form_of, write
from kling_ledger.cli.report_options import by, options, period, query_of
from kling_ledger.errors import NoLedgerError

if TYPE_CHECKING:
    from kling_ledger.ledger.engines.database import Database
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
    with _database(db) as database:
        answered: Report = module.report(database, query)
    write(answered, known, out)


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
