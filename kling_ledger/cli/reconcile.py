"""`kling-ledger reconcile`: our journal beside a provider's own record, and what would mend it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli import EXIT_DIFFERENCES
from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.connections import Connection, connection_options
from kling_ledger.cli.output import database_option, format_option, print_many, say
from kling_pricing.gateways import GATEWAYS
from kling_pricing.money import plain_or_none

if TYPE_CHECKING:
    from kling_ledger.evidence.charges import Record
    from kling_ledger.evidence.plan import Line
    from kling_ledger.evidence.sources import Source
    from kling_ledger.ledger import Change, Ledger, Reservation
    from kling_pricing.money import Money

_COLUMNS = (
    "verdict",
    "reservation",
    "task",
    "state",
    "ours",
    "theirs",
    "unit",
    "problem",
    "proposal",
)


@click.command()
@click.option(
    "--provider", type=click.Choice(GATEWAYS), required=True, help="Whose record to compare with."
)
@click.option(
    "--statement",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The provider's bill, CSV or JSON; without it every task is asked for.",
)
@click.option(
    "--columns",
    metavar="OURS=THEIRS,...",
    help="What the statement calls task_id, amount, unit, state, created_at, model.",
)
@click.option("--from", "since", type=Instant(), help="Only jobs from then on (inclusive).")
@click.option("--to", "until", type=Instant(), help="Only jobs before then (exclusive).")
@click.option(
    "--complete",
    is_flag=True,
    help="The statement has every charge of jobs from --from to --to: what is missing there was"
    " never charged.",
)
@click.option(
    "--lag-hours",
    type=click.FloatRange(0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="How long a charge may take to turn up: jobs that young at the end are not missed.",
)
@click.option(
    "--balance/--no-balance",
    "asks_balance",
    default=True,
    show_default=True,
    help="Compare how the account's balance moved; no, where others spend from it too.",
)
@click.option(
    "--topped-up",
    metavar="AMOUNT",
    help="What was paid into the account since its balance was last compared.",
)
@click.option("--apply", "applies", is_flag=True, help="Make the proposed corrections.")
@click.option("--all", "shows_all", is_flag=True, help="Show what agrees too.")
@connection_options
@database_option
@format_option
def reconcile(
    provider: str,
    lag_hours: float,
    topped_up: str | None,
    db: str | None,
    form: str,
    connection: Connection,
    *,
    asks_balance: bool,
    applies: bool,
    shows_all: bool,
    **bill: Any,
) -> int:
    """Compare the ledger with a provider's record; exit 6 while differences stand.

    \b
    kling-ledger reconcile --provider runapi
    kling-ledger reconcile --provider crun --statement bill.csv --apply
    kling-ledger reconcile --provider crun --statement november.csv --complete \\
        --from 2026-11-01 --to 2026-12-01 --apply
    """
    from kling_ledger.evidence.apply import records_of
    from kling_ledger.evidence.plan import compare
    from kling_ledger.ledger import Ledger

    source = _source(provider, connection, **bill)
    account = _Account(provider, connection, _paid_in(topped_up, provider))
    now = datetime.now(UTC)
    with Ledger(db, create=False) as ledger, connection.meters(ledger) as meters:

        def compared() -> tuple[Record, list[Line]]:
            record, ours = source.read(ledger, meters)
            return record, compare(record, ours, now=now, lag_s=lag_hours * 3600)

        record, lines = compared()
        if applies:
            _apply(ledger, lines)
            record, lines = compared()
        ledger.evidence.keep_records(records_of(record, lines))
        if asks_balance:
            # Last, because what the record has mended may be all that the balance missed.
            keeps = not any(line.stands for line in lines)
            lines += account.compared(ledger, applies=applies, keeps=keeps)
    return _report(lines, form, shows_all=shows_all)


def _source(
    provider: str,
    connection: Connection,
    *,
    statement: Path | None,
    columns: str | None,
    since: datetime | None,
    until: datetime | None,
    complete: bool,
) -> Source:
    """Return where the provider's record is read; UsageError where options do not fit together."""
    from kling_ledger.evidence.bill_columns import read_mapping
    from kling_ledger.evidence.sources import Bill, Source

    if statement is None and (complete or columns):
        raise click.UsageError("--complete and --columns are about a --statement")
    if complete and (since is None or until is None):
        # What is missing is given back: that must not happen to the jobs of another month.
        raise click.UsageError("--complete for which time? Say it with --from and --to")
    bill = None
    if statement is not None:
        address = connection.address_of(provider)
        bill = Bill(statement, read_mapping(columns), complete, address)
    return Source(provider, bill, since, until)


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
    """The account whose balance is compared, and what was paid into it since the last time."""

    provider: str
    connection: Connection
    topped_up: Money | None

    def compared(self, ledger: Ledger, *, applies: bool, keeps: bool) -> list[Line]:
        """Return where the account moved away from our journal, once that is mended if asked to."""
        lines = self._lines(ledger, keeps=keeps)
        if applies and any(line.proposal for line in lines):
            _apply(ledger, lines)
            lines = self._lines(ledger, keeps=keeps)
        return lines

    def _lines(self, ledger: Ledger, *, keeps: bool) -> list[Line]:
        from kling_ledger.errors import ConfigError, NoAnswerError
        from kling_ledger.evidence.balances import look_at_balance
        from kling_ledger.providers.registry import provider_facts

        if not provider_facts(self.provider).tells_balance:
            return []
        try:
            reached = self.connection.meter(ledger, self.provider, "").provider
        except ConfigError as error:
            say(f"note: the balance was not asked for: {error}")
            return []
        with closing(reached):
            try:
                seen = look_at_balance(ledger, reached, self.topped_up, keeps=keeps)
            except NoAnswerError as error:
                say(f"note: {error}")
                return []
        if seen.note is not None:
            say(f"note: {seen.note}")
        return [] if seen.line is None else [seen.line]


def _apply(ledger: Ledger, lines: Iterable[Line]) -> None:
    from kling_ledger.evidence.apply import apply

    for line, error in apply(ledger, lines):
        what = line.reservation.id if line.reservation else ""
        say(f"{what}: {_proposed(line.proposal)}" if error is None else f"{what}: error: {error}")


def _report(lines: list[Line], form: str, *, shows_all: bool) -> int:
    from kling_ledger.evidence.plan import Verdict

    counts = Counter(str(line.verdict) for line in lines)
    told = [line for line in lines if shows_all or line.verdict is not Verdict.MATCHED]
    print_many(
        [_row(line) for line in told],
        _COLUMNS,
        form,
        empty="no differences",
        optional=("state", "task"),
    )
    say(", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "no jobs")
    return EXIT_DIFFERENCES if any(line.stands for line in lines) else 0


def _row(line: Line) -> dict[str, Any]:
    ours, charge = line.reservation, line.charge
    return {
        "verdict": str(line.verdict),
        "reservation": None if ours is None else ours.id,
        "task": charge.task_id if charge else ours.task_id if ours else None,
        "state": _states(ours, line),
        "ours": plain_or_none(line.ours),
        "theirs": plain_or_none(line.theirs),
        "unit": _unit(line),
        "problem": line.problem or _to_look_for(line),
        "proposal": _proposed(line.proposal) or None,
    }


def _unit(line: Line) -> str:
    amount = line.reservation.amount if line.reservation else line.theirs
    return "" if amount is None else amount.unit


def _states(ours: Reservation | None, line: Line) -> str:
    theirs = line.charge.state if line.charge else None
    return " / ".join(str(state) for state in (ours.state if ours else None, theirs) if state)


def _proposed(changes: Iterable[Change]) -> str:
    """Write what is proposed: `submitted as T, commit 0.675 USD`."""
    return ", ".join(_one(change) for change in changes)


def _one(change: Change) -> str:
    if change.is_correction:
        return f"correct to {change.amount}"
    if change.task_id is not None:
        return f"submitted as {change.task_id}"
    words = {"committed": "commit", "rolled_back": "roll back"}
    word = words.get(str(change.to_state), str(change.to_state))
    return word if change.amount is None else f"{word} {change.amount}"


def _to_look_for(line: Line) -> str | None:
    """Tell where to look for the task of a job in doubt that no record names."""
    from kling_ledger.cli.next_steps import look_for_task

    found = line.reservation
    is_unknown = found is not None and found.task_id is None and line.verdict == "only_ours"
    return look_for_task(found) if found is not None and is_unknown else None
