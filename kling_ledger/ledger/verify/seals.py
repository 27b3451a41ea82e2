"""Seals: every sealed month, sealed again, and what it carried forward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kling_ledger.ledger import periods
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.schema import PERIOD
from kling_ledger.ledger.verify.findings import Finding
from kling_ledger.ledger.verify.laws import CARRIED, STILL_HELD

_SEALED: Final = "a transfer of a sealed period is as it was sealed"


def seal_findings(transaction: Transaction) -> Iterator[Finding]:
    """Seal every sealed month again, and name the transfers that break a seal."""
    previous: str | None = None
    rows = transaction.rows(
        f"SELECT {PERIOD.selected} FROM period WHERE state = 'hard' ORDER BY name"
    )
    for row in rows:
        name = row["name"]
        if row["previous_seal"] != previous:
            yield Finding("a seal goes on from the seal before it", name, "the chain is broken")
        known = _known_digests(transaction, name)
        seal = periods.Seal(row["previous_seal"])
        for line in periods.lines(transaction, name):
            yield from _line_findings(line.id, seal.add(line), known)
        for transfer_id in known:
            yield Finding(_SEALED, transfer_id, f"it was in {name} and is missing")
        if (seal.value, seal.transfers) != (row["seal"], row["transfers"]):
            problem = f"sealed as {row['seal'][:16]}, its transfers give {seal.value[:16]}"
            yield Finding("a sealed period is as it was sealed", name, problem)
        previous = row["seal"]


def accrual_findings(transaction: Transaction) -> Iterator[Finding]:
    """Add up what each sealed month carried forward: nothing that was held may be missing."""
    carried = _sums(transaction, "accrual", "amount_micro")
    moved = _sums(transaction, "transfer", STILL_HELD)
    for row in transaction.rows("SELECT name FROM period WHERE state = 'hard' ORDER BY name"):
        name = row["name"]
        for unit in sorted({unit for _, unit in moved}):
            held = sum(moved[month, its] for month, its in moved if its == unit and month <= name)
            if carried.get((name, unit), 0) != held:
                went = f"{carried.get((name, unit), 0)} millionths of {unit} went out of it"
                yield Finding(CARRIED, name, f"{went}, its transfers left {held}")


def _known_digests(transaction: Transaction, period: str) -> dict[str, str]:
    rows = transaction.rows(
        "SELECT transfer_id, digest FROM sealed_transfer WHERE period = :period"
        " ORDER BY transfer_id",
        period=period,
    )
    return {row["transfer_id"]: row["digest"] for row in rows}


def _line_findings(transfer_id: str, digest: str, known: dict[str, str]) -> Iterator[Finding]:
    sealed = known.pop(transfer_id, None)
    if sealed is None:
        yield Finding(_SEALED, transfer_id, "it was put in afterwards")
    elif sealed != digest:
        yield Finding(_SEALED, transfer_id, "it was changed")


def _sums(transaction: Transaction, table: str, amount: str) -> dict[tuple[str, str], int]:
    """Add up a table's amounts by period and unit."""
    query = f"SELECT period, unit, SUM({amount}) AS total FROM {table} GROUP BY period, unit"
    return {(row["period"], row["unit"]): int(row["total"]) for row in transaction.rows(query)}
