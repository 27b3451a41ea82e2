"""What the reports' tests share: a ledger full of jobs, and its figures worked out another way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from kling_ledger.ledger import Job, Ledger
from kling_pricing.money import Money
from kling_reports.currency import Rates
from kling_reports.groups import read_filters, read_groups
from kling_reports.query import Basis, Query
from kling_reports.report import EVER, Span, Table
from tests.ledgers import Chance, Clock, found

START = datetime(2026, 3, 20, 12, tzinfo=UTC)
UNITS = {"team": "USD", "crun": "crun-credit", "shop": "USD"}


@dataclass(frozen=True)
class Made:
    """One job of a history: what it was, when, and what became of it; amounts in millionths."""

    wallet: str = "team"
    minute: int = 0
    quoted: int = 675_000
    end: str = "committed"
    cost: int = 675_000
    refund: int = 0
    project: str | None = "film/teaser"
    provider: str | None = "runapi"
    model: str | None = "kling-3.0"
    sound: bool | None = True
    seconds: int | None = 5
    labels: Mapping[str, str] | None = None
    usd: int | None = None
    settled_by: str = "provider"


@contextmanager
def ledger_of(url: str, jobs: Sequence[Made]) -> Iterator[Ledger]:
    """A ledger in which these jobs were reserved and brought to their ends, in their order."""
    clock = Clock(START)
    with Ledger(url, clock=clock, chance=Chance(), actor="ann") as ledger:
        for name, unit in UNITS.items():
            ledger.wallets.create(name, unit)
            ledger.wallets.fund(name, Money(Decimal(10**6), unit))
        for job in jobs:
            clock.now = START + timedelta(minutes=job.minute)
            _live(ledger, clock, job)
        yield ledger


def _live(ledger: Ledger, clock: Clock, made: Made) -> None:
    unit = UNITS[made.wallet]
    job = Job(
        provider=made.provider,
        model=made.model,
        sound=made.sound,
        billed_seconds=made.seconds,
        usd=None if made.usd is None else Money.from_micro(made.usd, "USD"),
    )
    one = ledger.reserve(
        made.wallet,
        Money.from_micro(made.quoted, unit),
        job=job,
        project=made.project,
        labels=made.labels,
    )
    clock.forward(seconds=30)
    cost = Money.from_micro(made.cost, unit)
    if made.end == "part":
        ledger.commit(one.id, cost, is_part=True, key=one.id, settled_by="provider")
    if made.end in {"in_doubt", "rolled_back", "late"}:
        ledger.mark_submitting(one.id)
    if made.end == "in_doubt":
        ledger.mark_in_doubt(one.id, "no reply")
    if made.end in {"rolled_back", "late"}:
        ledger.roll_back(one.id, "the clip could not be made")
    if made.end in {"committed", "late"}:
        settled: Any = made.settled_by
        ledger.commit(one.id, cost, settled_by=settled)
    if made.refund and made.end in {"committed", "late"}:
        ledger.refund(one.id, Money.from_micro(min(made.refund, made.cost), unit), reason="bad")


def query(
    *by: str,
    where: Sequence[str] = (),
    zone: str = "UTC",
    span: Span = EVER,
    currency: str | None = None,
    now: datetime = START,
    period: str | None = None,
    basis: Basis = "reserved",
    rates: Rates | None = None,
) -> Query:
    """A query as the command line would ask it."""
    return Query(
        now=now,
        span=span,
        zone=zone,
        by=read_groups(by),
        filters=read_filters(where),
        currency=currency,
        period=period,
        basis=basis,
        rates=rates,
    )


def rows(table: Table, *keys: str) -> list[tuple[Any, ...]]:
    """Some columns of a table, by their keys, as plain values."""
    names = [column.key for column in table.columns]
    return [tuple(row[names.index(key)] for key in keys) for row in table.rows()]


def totals(table: Table, *keys: str) -> list[tuple[Any, ...]]:
    """Some columns of a table's totals."""
    names = [column.key for column in table.columns]
    return [tuple(row[names.index(key)] for key in keys) for row in table.total_rows()]


def journal(ledger: Ledger) -> dict[str, dict[str, int]]:
    """What the journal alone says was spent and is held, in millionths, by unit."""
    lines = found(ledger, "SELECT unit, debit_account, credit_account, amount_micro FROM transfer")
    sums: dict[str, dict[str, int]] = {unit: {"spent": 0, "held": 0} for unit in UNITS.values()}
    for line in lines:
        unit, amount = sums[line["unit"]], line["amount_micro"]
        for account, sign in ((line["credit_account"], 1), (line["debit_account"], -1)):
            if account.startswith("provider/"):
                unit["spent"] += sign * amount
            if account.endswith("/reserved"):
                unit["held"] += sign * amount
    return sums
