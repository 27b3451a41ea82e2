"""`kling-ledger report`: spending, budgets, failures and open reservations.

Each report is a module of kling_reports with `report(database, query) -> Report`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli.output import say
from kling_ledger.cli.report_erp import erp_journal
from kling_ledger.cli.report_exports import register
from kling_ledger.cli.report_forms import Out, form_of, write
from kling_ledger.cli.report_options import (
    basis,
    by,
    journal_period,
    month,
    no_period,
    options,
    period,
    query_of,
    tenants,
)
from kling_ledger.config import database_url, ledger_name
from kling_ledger.errors import ConfigError

if TYPE_CHECKING:
    from pandas import DataFrame

    from kling_ledger.ledger.engines.database import Database
    from kling_reports.query import Query
    from kling_reports.report import Report


_ONE_SUM: Final = {"spend"}
"""Reports that read once: a single read is consistent by itself, and several threads can sum it."""


@click.group()
def report() -> None:
    """Report what was spent, on what, against which budget; what failed and what is open."""


@report.command()
@by("provider")
@period
@options()
def overview(**given: Any) -> None:
    """The findings in words; this period against the previous one; top spenders; budgets.

    The default period is the current month, compared with the same days of the month before.
    Amounts are in USD at each job's own rate. --out page.html writes a page that filters, sorts and
    drills down without a server.
    """
    _answer("overview", **given)


@report.command()
@by("project", "provider", "model")
@basis
@journal_period
@tenants
@options()
def spend(**given: Any) -> None:
    """Clips, failures, seconds and cost, by default per project, provider and model.

    \b
    kling-ledger report spend --basis posted --period 2026-10

    shows what the month charged and gave back, like the statement and the close pack.
    """
    _answer("spend", follows_journal=True, **given)


@report.command()
@tenants
@no_period
@options("starts_at", "ends_at", "where", "currency", "rates")
def budgets(**given: Any) -> None:
    """Each budget: spent, reserved and left, its burn rate, and when it runs out."""
    _answer("budgets", **given)


@report.command()
@tenants
@period
@options("currency")
def limits(**given: Any) -> None:
    """Who changed which budget, when, why and how; removed budgets included.

    --where filters by a budget's scope (project, provider, model, wallet, label:NAME) and by who
    changed it (user).
    """
    _answer("limits", **given)


@report.command()
@by("provider", "model")
@period
@options("currency", "rates")
def variance(**given: Any) -> None:
    """Amounts quoted, estimated, held and settled, and the accuracy of the quotes."""
    _answer("variance", **given)


@report.command("open")
@tenants
@period
@options("rates")
def open_(**given: Any) -> None:
    """Credits that are still reserved, by age, and what to do about them."""
    _answer("open", **given)


@report.command()
@journal_period
@options("currency", "rates")
def statement(**given: Any) -> None:
    """Each wallet from its opening to its closing balance, with every line between."""
    _answer("statement", follows_journal=True, **given)


@report.command()
@month
@options("starts_at", "ends_at", "currency", "rates")
def purchases(**given: Any) -> None:
    """Purchases of credits, what is left of them, and which fundings are allowances.

    With --period, as of the end of that month.
    """
    _answer("purchases", **given)


@report.command()
@by("provider", "model")
@period
@options("currency", "rates")
def failures(**given: Any) -> None:
    """Failed jobs, what they would have cost, and what was returned."""
    _answer("failures", **given)


@report.command()
@month
@options("starts_at", "ends_at", "currency", "rates")
def accruals(**given: Any) -> None:
    """What open jobs may still cost at a month's end, and how accurate the previous month was."""
    _answer("accruals", **given)


@report.command()
@period
@options("currency", "rates")
def reconciliation(**given: Any) -> None:
    """The evidence behind the figures, jobs in doubt, and corrections."""
    _answer("reconciliation", **given)


register(report)
report.add_command(erp_journal)


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
    # Errors in the options are reported before the ledger is opened.
    known = form_of(form, out)
    query = query_of(**given)
    module = import_module(f"kling_reports.{question}")
    ledgers = {"": db} if tenants is None else _tenants(db, tenants)
    answers: dict[str, Report] = {}
    jobs: list[DataFrame] = []
    with ExitStack() as kept_open:
        for name, address in ledgers.items():
            with ExitStack() as opened:
                database = opened.enter_context(_opened(address, question))
                answers[name] = module.report(database, query)
                jobs.extend(_filtered_by(database, query))
                if any(one.stream is not None for one in answers[name].tables):
                    # Its rows are read while they are written.
                    kept_open.push(opened.pop_all())
        _say_what_no_job_has(jobs, query)
        answer = replace(_joined(answers, tenants), ledger=ledger_name(database_url(db)))
        if known == "table" and table is None:
            answer = _without(answer, getattr(module, "DETAILS", ()))
        write(answer, known, out, table=table)


def _without(answer: Report, left_out: tuple[str, ...]) -> Report:
    """Return an answer without some of its tables, and print where to find those."""
    if not left_out:
        return answer
    kept = tuple(table for table in answer.tables if table.name not in left_out)
    note = f"Days and jobs are on the page: kling-ledger report {answer.name} --out page.html"
    return replace(answer, tables=kept, notes=(*answer.notes, note))


def _joined(answers: dict[str, Report], tenants: str | None) -> Report:
    """Return the answer, or the answers of several ledgers as one."""
    if tenants is None:
        return answers[""]
    from kling_reports.tenants import joined

    return joined(answers)


def _tenants(db: str | None, written: str) -> dict[str, str]:
    """Return the addresses of the requested ledgers, by tenant."""
    from kling_ledger.ledger.tenants import addresses

    names = tuple(name.strip() for name in written.split(",") if name.strip())
    found = addresses(database_url(db), names)
    if not found:
        raise ConfigError("no schema of this database holds a ledger that this role may read")
    return found


@contextmanager
def _opened(address: str | None, question: str) -> Iterator[Database]:
    """Open a ledger as of one moment: all tables of a report show the same state."""
    from kling_ledger.ledger import Ledger

    with Ledger(address, create=False) as ledger:
        if question in _ONE_SUM:
            yield ledger.database
        else:
            with ledger.database.snapshot() as database:
                yield database


def _filtered_by(database: Database, query: Query) -> Iterator[DataFrame]:
    """Yield the jobs' values in the columns of --where."""
    if query.filters:
        from kling_reports.doors import reservations
        from kling_reports.groups import sources

        # A filter on the journal's own columns concerns no job.
        of_jobs = [name for name in sources((), query.filters) if name in reservations.KINDS]
        if of_jobs:
            yield reservations.alike(database, columns=of_jobs)


def _say_what_no_job_has(jobs: list[DataFrame], query: Query) -> None:
    """For each --where value without a job, print the existing values: it may be misspelt."""
    if not jobs:
        return
    from pandas import concat

    from kling_reports.groups import unknown

    known_of = concat(jobs, ignore_index=True)
    asked = [one for one in query.filters if one.group.source in known_of]
    for written, known in unknown(asked, known_of):
        there = f"there are {', '.join(known)}" if known else "no job has any"
        say(f"note: no job has {written}: {there}")
