"""`kling-ledger reconcile`: compare the ledger with a provider's record, and correct it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kling_ledger.cli import EXIT_DIFFERENCES
from kling_ledger.cli.bill_options import BillForm, bill_options
from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.connections import Connection, connection_options
from kling_ledger.cli.dry_run import dry_run_option, print_transfers
from kling_ledger.cli.inputs import gathered
from kling_ledger.cli.output import Command, database_option, format_option, print_many, say
from kling_ledger.cli.reconcile_rows import proposed, report, say_notes
from kling_ledger.cli.spans import ends_of, period_option
from kling_pricing.counting import counted
from kling_pricing.gateways import GATEWAYS

if TYPE_CHECKING:
    from kling_ledger.evidence.plan import Line
    from kling_ledger.evidence.reading import Bill
    from kling_ledger.evidence.sources import BillFile, Compared
    from kling_ledger.jobs.recovery import Meters
    from kling_ledger.ledger import Ledger
    from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class Scope:
    """What is compared: the bill, if there is one, and the period of the jobs."""

    statement: Path | None = None
    period: str | None = None
    complete: bool = False
    missing: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    lag_hours: float = 24.0

    def in_time(self) -> Scope:
        """Return it with the start and end of its period, if one is named."""
        since, until = ends_of(self.period, self.since, self.until, names="--from and --to")
        return replace(self, since=since, until=until)


@dataclass(frozen=True, slots=True)
class BalanceForm:
    """Whether the account's balance is compared, and what is known about it."""

    asks_balance: bool = True
    topped_up: str | None = None
    sole_user: bool = False


def _scope_options(command: Command) -> Command:
    wrapped = gathered(BalanceForm, "balance")(gathered(Scope, "scope")(command))
    for option in (
        click.option(
            "--sole-user",
            is_flag=True,
            help="Only this ledger spends from the account, so its balance may settle one job.",
        ),
        click.option(
            "--topped-up",
            metavar="AMOUNT",
            help="The amount paid into the account since the last comparison of its balance.",
        ),
        click.option(
            "--balance/--no-balance",
            "asks_balance",
            default=True,
            show_default=True,
            help="Also compare the change of the account's balance.",
        ),
        click.option(
            "--lag-hours",
            type=click.FloatRange(0),
            default=24.0,
            show_default=True,
            metavar="HOURS",
            help="How long a charge may take to appear; newer jobs do not count as missing.",
        ),
        click.option(
            "--missing",
            type=click.IntRange(0),
            metavar="N",
            help="Confirm how many jobs the complete statement lacks, when reconcile asks.",
        ),
        click.option(
            "--complete",
            is_flag=True,
            help="The statement lists every charge between --from and --to: a job that is missing"
            " was never charged.",
        ),
        click.option("--to", "until", type=Instant(), help="Only jobs before then (exclusive)."),
        click.option("--from", "since", type=Instant(), help="Only jobs since then (inclusive)."),
        click.option(
            "--statement",
            type=click.Path(path_type=Path, dir_okay=False),
            help="A bill of one account: CSV, XLSX or JSON. Without it, every task is polled.",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


@click.command()
@click.option("--provider", type=click.Choice(GATEWAYS), help="The provider to compare with.")
@click.option("--undo", metavar="PLAN", help="Undo the corrections of an earlier --apply.")
@click.option("--apply", "applies", is_flag=True, help="Make the proposed corrections.")
@click.option("--all", "shows_all", is_flag=True, help="Also show what agrees.")
@period_option(" In UTC.")
@_scope_options
@bill_options
@connection_options
@dry_run_option
@database_option
@format_option
def reconcile(
    provider: str | None,
    undo: str | None,
    db: str | None,
    form: str,
    scope: Scope,
    balance: BalanceForm,
    form_of_bill: BillForm,
    connection: Connection,
    *,
    applies: bool,
    shows_all: bool,
    dry_run: bool,
) -> int:
    """Compare the ledger with a provider's record; exit 6 while differences or questions remain.

    Credits move only on evidence that names the job, the account and the amount. Everything else
    becomes a question, printed with the command that answers it.

    \b
    kling-ledger reconcile --provider runapi
    kling-ledger reconcile --provider crun --account studio --statement bill.csv --apply
    kling-ledger reconcile --provider crun --statement november.csv --complete \\
        --period 2026-11 --zone Asia/Shanghai --apply
    kling-ledger reconcile --undo pln_...

    --dry-run prints the transfers of --apply or --undo.
    """
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False, dry_run=dry_run) as ledger:
        if undo is not None:
            return _undone(ledger, undo, form, dry_run=dry_run)
        if provider is None:
            raise click.UsageError("give --provider: whose record is it?")
        scope = scope.in_time()
        _check(scope, form_of_bill)
        account = connection.account_at(ledger, provider)
        bill = _bill(ledger, provider, account, connection, scope, form_of_bill)
        with connection.meters(ledger) as meters:
            work = _Work(ledger, provider, account, meters, scope, bill)
            compared = work.compared()
            if dry_run:
                if balance.asks_balance:
                    say("note: the balance is left out: it is compared once corrections are made")
                return _rehearsed(work, compared, form)
            if applies:
                work.apply(compared)
                compared = work.compared()
            work.keep(compared)
        say_notes(compared)
        lines = compared.lines
        if balance.asks_balance:
            # Last, because corrections from the record may explain the whole difference of the
            # balance.
            whose = _Account(provider, account, connection, _paid_in(balance.topped_up, provider))
            keeps = not any(line.stands for line in lines)
            lines = lines + whose.compared(
                ledger, applies=applies, keeps=keeps, is_ours_alone=balance.sole_user
            )
    return report(lines, form, shows_all=shows_all, not_confirmed=compared.not_confirmed)


def _check(scope: Scope, form_of_bill: BillForm) -> None:
    """Refuse options that do not fit together."""
    if scope.statement is None and (scope.complete or form_of_bill.says_anything):
        raise click.UsageError("--complete and the options for reading need a --statement")
    if scope.complete and (scope.since is None or scope.until is None):
        # Missing jobs are given back: that must not hit the jobs of another month.
        raise click.UsageError("--complete needs a period: give --period, or --from and --to")
    if scope.missing is not None and not scope.complete:
        raise click.UsageError("--missing needs a --complete statement")


def _bill(
    ledger: Ledger,
    provider: str,
    account: str,
    connection: Connection,
    scope: Scope,
    form_of_bill: BillForm,
) -> tuple[BillFile, Bill] | None:
    """Read the statement, None if every task is to be polled instead."""
    from kling_ledger.evidence.sources import BillFile, read

    if scope.statement is None:
        return None
    file = BillFile(
        scope.statement,
        account,
        connection.address_of(provider),
        form_of_bill.answers(ledger),
        is_complete=scope.complete,
        lag_s=scope.lag_hours * 3600,
        missing=scope.missing,
    )
    return file, read(ledger, provider, file)


@dataclass(frozen=True, slots=True)
class _Work:
    """One comparison: the record, its source, and what is done with it."""

    ledger: Ledger
    provider: str
    account: str
    meters: Meters
    scope: Scope
    bill: tuple[BillFile, Bill] | None

    def compared(self) -> Compared:
        """Compare the provider's record with the account's jobs as they are now."""
        from kling_ledger.evidence.sources import Compared, compare_bill, not_confirmed
        from kling_ledger.evidence.tasks import ask_tasks

        since, until = self.scope.since, self.scope.until
        if self.bill is not None:
            file, bill = self.bill
            now = datetime.now(UTC)
            return compare_bill(
                self.ledger, self.provider, file, bill, now=now, since=since, until=until
            )
        ours = self.ledger.reservations.at_provider(self.provider, since=since, until=until)
        # A job of a script's own client has no account or address: poll it too.
        there = [one for one in ours if one.job.account == self.account or one.job.address is None]
        others = len(ours) - len(there)
        told = counted(others, "job of another account was", "jobs of other accounts were")
        notes = (f"{told} not polled",) if others else ()
        lines = ask_tasks(there, self.meters)
        return Compared(lines, notes=notes, not_confirmed=not_confirmed(there, lines))

    def apply(self, compared: Compared) -> None:
        """Apply the proposals, and print what was done and how to undo it."""
        made = self.made(compared)
        if made is not None:
            say(f"plan {made}: kling-ledger reconcile --undo {made} undoes it")

    def made(self, compared: Compared) -> str | None:
        """Apply the proposals and print them; return the plan's id, None if there are none."""
        from kling_ledger.evidence.apply import plan_of

        plan = plan_of(
            self.provider,
            self.account,
            self._source,
            compared.proposed(),
            compared.entries,
            unlisted=compared.unlisted if compared.missing is None else (),
        )
        applied = self.ledger.evidence.apply(plan)
        if applied is None or not plan.corrections:
            return None
        for one in plan.corrections:
            say(f"{one.reservation_id}: {proposed([one.change])}")
        return applied.id

    def keep(self, compared: Compared) -> None:
        """Store what the record says about each task, for the reports."""
        from kling_ledger.evidence.apply import records_of

        records = records_of(self.provider, self.account, self._source, compared.lines)
        self.ledger.evidence.keep_records(records)

    @property
    def _source(self) -> str:
        from kling_ledger.ledger.evidence import ASKED

        return ASKED if self.scope.statement is None else self.scope.statement.name


def _rehearsed(work: _Work, compared: Compared, form: str) -> int:
    """Print what the record's corrections would move; the balance depends on those."""
    say_notes(compared)
    work.made(compared)
    print_transfers(work.ledger, form)
    return EXIT_DIFFERENCES if any(line.stands for line in compared.lines) else 0


def _undone(ledger: Ledger, plan_id: str, form: str, *, dry_run: bool) -> int:
    """Undo a plan and print the state of each reservation."""
    undone = ledger.evidence.undo(plan_id)
    if dry_run:
        print_transfers(ledger, form)
        return 0
    rows = [
        {"reservation": one.id, "state": str(one.state), "spent": str(one.spent)}
        for one in undone.reservations
    ]
    print_many(rows, ("reservation", "state", "spent"), form, empty="nothing had moved")
    back = counted(len(rows), "reservation is", "reservations are")
    say(f"plan {plan_id} is undone: {back} as before")
    return 0


def _paid_in(written: str | None, provider: str) -> Money | None:
    from kling_ledger.providers.registry import provider_facts
    from kling_pricing.errors import AmountError
    from kling_pricing.money import Money

    if written is None:
        return None
    unit = provider_facts(provider).unit
    amount = Money.parse(written, default_unit=unit)
    if amount.unit != unit:
        raise AmountError("unit", got=amount.unit, allowed=unit)
    return amount


@dataclass(frozen=True, slots=True)
class _Account:
    """The account whose balance is compared, and the amount paid in since the last time."""

    provider: str
    account: str
    connection: Connection
    topped_up: Money | None

    def compared(
        self, ledger: Ledger, *, applies: bool, keeps: bool, is_ours_alone: bool
    ) -> list[Line]:
        """Return the differences between the balance and the journal, after any corrections."""
        from kling_ledger.evidence.apply import plan_of

        lines = self._lines(ledger, keeps=keeps, is_ours_alone=is_ours_alone)
        corrected = [line for line in lines if line.change is not None]
        if applies and corrected:
            ledger.evidence.apply(plan_of(self.provider, self.account, "balance", corrected))
            lines = self._lines(ledger, keeps=keeps, is_ours_alone=is_ours_alone)
        return lines

    def _lines(self, ledger: Ledger, *, keeps: bool, is_ours_alone: bool) -> list[Line]:
        from kling_ledger.errors import ConfigError, NoAnswerError
        from kling_ledger.evidence.balances import look_at_balance
        from kling_ledger.providers.registry import provider_facts

        if not provider_facts(self.provider).tells_balance:
            return []
        try:
            meter = self.connection.meter(ledger, self.provider, "")
        except ConfigError as error:
            say(f"note: the balance was not read: {error}")
            return []
        with closing(meter.provider):
            try:
                seen = look_at_balance(
                    ledger, meter, self.topped_up, keeps=keeps, is_ours_alone=is_ours_alone
                )
            except NoAnswerError as error:
                say(f"note: {error}")
                return []
        if seen.note is not None:
            say(f"note: {seen.note}")
        return [] if seen.line is None else [seen.line]
