"""`kling-ledger report`: what was spent, on what, against which budget, and what is still open.

Each question is a module of kling_reports with `report(database, query) -> Report`.
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
"""The questions that read once: that is of one state by itself, and several threads add it up."""


@click.group()
def report() -> None:
    """What was spent, on what, against which budget; what failed, and what is still open."""


@report.command()
@by("provider")
@period
@options()
def overview(**given: Any) -> None:
    """What to know first, in words; this period beside the last one; who spent most; budgets.

    The time is that of --period, of --from and --to, or the running month, which is compared with
    the same days of the month before. Amounts are in USD at each job's own rate. --out page.html is
    the page to keep open: it filters, sorts and drills down without a server.
    """
    _answer("overview", **given)


@report.command()
@by("project", "provider", "model")
@basis
@journal_period
@tenants
@options()
def spend(**given: Any) -> None:
    """Clips, failures, seconds and cost, by project, provider and model or as asked.

    \b
    kling-ledger report spend --basis posted --period 2026-10

    is what the month charged and gave back, as the statement and the close pack have it.
    """
    _answer("spend", follows_journal=True, **given)


@report.command()
@tenants
@no_period
@options("starts_at", "ends_at", "where", "currency", "rates")
def budgets(**given: Any) -> None:
    """Each budget: what is spent, reserved and left, how fast it goes, and when it runs out."""
    _answer("budgets", **given)


@report.command()
@tenants
@period
@options("currency")
def limits(**given: Any) -> None:
    """Who changed which budget, when, why, and from what to what; removed budgets too.

    --where takes what a budget covers (project, provider, model, wallet, label:NAME) and who
    changed it (user).
    """
    _answer("limits", **given)


@report.command()
@by("provider", "model")
@period
@options("currency", "rates")
def variance(**given: Any) -> None:
    """What was quoted, estimated, held and settled, and how near the quotes were."""
    _answer("variance", **given)


@report.command("open")
@tenants
@period
@options("rates")
def open_(**given: Any) -> None:
    """Credits that are still set aside, by age, and what to do about them."""
    _answer("open", **given)


@report.command()
@journal_period
@options("currency", "rates")
def statement(**given: Any) -> None:
    """Each wallet from its opening to its closing balance, and every line between."""
    _answer("statement", follows_journal=True, **given)


@report.command()
@month
@options("starts_at", "ends_at", "currency", "rates")
def purchases(**given: Any) -> None:
    """What was paid for credits, what is left of it, and which fundings are allowances.

    With --period as it stood at the end of that month.
    """
    _answer("purchases", **given)


@report.command()
@by("provider", "model")
@period
@options("currency", "rates")
def failures(**given: Any) -> None:
    """What failed, what it would have cost, and what came back."""
    _answer("failures", **given)


@report.command()
@month
@options("starts_at", "ends_at", "currency", "rates")
def accruals(**given: Any) -> None:
    """What jobs may still cost at a month's end, and how far off the month before was."""
    _answer("accruals", **given)


@report.command()
@period
@options("currency", "rates")
def reconciliation(**given: Any) -> None:
    """What our figures rest on, what is in doubt, and what was corrected."""
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
                database = opened.enter_context(_opened(address, question))
                answers[name] = module.report(database, query)
                jobs.extend(_filtered_by(database, query))
                if any(one.stream is not None for one in answers[name].tables):
                    # Its rows are read when they are written.
                    kept_open.push(opened.pop_all())
        _say_what_no_job_has(jobs, query)
        answer = replace(_joined(answers, tenants), ledger=ledger_name(database_url(db)))
        if known == "table" and table is None:
            answer = _without(answer, getattr(module, "DETAILS", ()))
        write(answer, known, out, table=table)


def _without(answer: Report, left_out: tuple[str, ...]) -> Report:
    """Return an answer without some of its tables, and say where these are."""
    if not left_out:
        return answer
    kept = tuple(table for table in answer.tables if table.name not in left_out)
    note = f"Days and jobs are in the page: kling-ledger report {answer.name} --out page.html"
    return replace(answer, tables=kept, notes=(*answer.notes, note))


def _joined(answers: dict[str, Report], tenants: str | None) -> Report:
    """Return the answer, or those of several ledgers in one."""
    if tenants is None:
        return answers[""]
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
def _opened(address: str | None, question: str) -> Iterator[Database]:
    """Open a ledger as it is at one moment: all tables of a report are of that."""
    from kling_ledger.ledger import Ledger

    with Ledger(address, create=False) as ledger:
        if question in _ONE_SUM:
            yield ledger.database
        else:
            with ledger.database.snapshot() as database:
                yield database


def _filtered_by(database: Database, query: Query) -> Iterator[DataFrame]:
    """Give what jobs have in the columns of --where, if there is any."""
    if query.filters:
        from kling_reports.doors import reservations
        from kling_reports.groups import sources

        # What is the journal's own is of no job.
        of_jobs = [name for name in sources((), query.filters) if name in reservations.KINDS]
        if of_jobs:
            yield reservations.alike(database, columns=of_jobs)


def _say_what_no_job_has(jobs: list[DataFrame], query: Query) -> None:
    """Say of each value of --where that no job has, which values there are: it may be misspelt."""
    if not jobs:
        return
    from pandas import concat

    from kling_reports.groups import unknown

    known_of = concat(jobs, ignore_index=True)
    asked = [one for one in query.filters if one.group.source in known_of]
    for written, known in unknown(asked, known_of):
        there = f"there are {', '.join(known)}" if known else "no job has any"
        say(f"note: no job has {written}: {there}")
