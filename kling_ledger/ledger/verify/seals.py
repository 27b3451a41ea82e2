"""Seals: every sealed month is sealed again and compared, with what it carried forward."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from kling_ledger.ledger import first_seals, periods, seals
from kling_ledger.ledger.engines.transaction import Row, Transaction
from kling_ledger.ledger.verify.findings import Finding
from kling_ledger.ledger.verify.laws import CARRIED, STILL_HELD

_CHAIN: Final = "a seal goes on from the seal before it"
_SEALED: Final = "a sealed period is as it was sealed"
_CHANGED: Final = "it was changed"
_ADDED: Final = "it was put in afterwards"
_WORDS: Final = {
    "job_event": "a job event",
    "budget_event": "a budget event",
    "accrual": "an accrual",
    "purchase_lot": "a purchase",
}
_UNSEALED: Final = (
    "SELECT DISTINCT period FROM sealed_part"
    " WHERE period NOT IN (SELECT name FROM period WHERE state <> 'open' AND format IS NOT NULL)"
)


def seal_findings(transaction: Transaction) -> Iterator[Finding]:
    """Recompute the seal of every sealed month, and name the rows that break one."""
    rows = periods.sealed(transaction)
    for row in transaction.rows(_UNSEALED):
        yield Finding("what was sealed stays sealed", row["period"], "it was sealed and is not")
    yield from _chain_findings(rows)
    yield from _findings([row for row in rows if row["format"] is not None], transaction)
    for row in rows:
        if row["format"] is None:
            yield from _first_findings(transaction, row)


def accrual_findings(transaction: Transaction) -> Iterator[Finding]:
    """Add up what each sealed month carried forward: nothing that was held may be missing."""
    carried = _amounts(transaction, "accrual", "amount_micro")
    moved = _amounts(transaction, "transfer", STILL_HELD)
    for row in transaction.rows("SELECT name FROM period WHERE state = 'hard' ORDER BY name"):
        name = row["name"]
        for unit in sorted({unit for _, unit in moved}):
            held = sum(moved[month, its] for month, its in moved if its == unit and month <= name)
            if carried.get((name, unit), 0) != held:
                went = f"{carried.get((name, unit), 0)} millionths of {unit} went out of it"
                yield Finding(CARRIED, name, f"{went}, its transfers left {held}")


def _chain_findings(rows: Sequence[Row]) -> Iterator[Finding]:
    previous: str | None = None
    for row in rows:
        if row["previous_seal"] != previous:
            yield Finding(_CHAIN, row["name"], "the chain is broken")
        previous = row["seal"]


def _findings(rows: Sequence[Row], transaction: Transaction) -> Iterator[Finding]:
    """Compare months with their seals; consecutive months of one format are read together."""
    for seal_format, some in groupby(rows, itemgetter("format")):
        if seal_format in seals.SECTIONS:
            yield from _findings_of(seal_format, list(some), transaction)
        else:
            for row in some:
                yield Finding(_SEALED, row["name"], f"seals of format {seal_format} are unknown")


def _findings_of(
    seal_format: int, rows: Sequence[Row], transaction: Transaction
) -> Iterator[Finding]:
    months = seals.sums_of(
        transaction, seal_format=seal_format, first=rows[0]["name"], last=rows[-1]["name"]
    )
    for row in rows:
        sums = months[row["name"]]
        now = (seals.seal_of(row, sums), sums["transfer"].rows)
        if now != (row["seal"], row["transfers"]):
            yield from _named(transaction, row["name"], seals.SECTIONS[seal_format])
            problem = f"sealed as {row['seal'][:16]}, what is there gives {now[0][:16]}"
            yield Finding(_SEALED, row["name"], problem)


def _named(
    transaction: Transaction, period: str, sections: Sequence[seals.Section]
) -> Iterator[Finding]:
    """Name the rows of a month that have changed since it was sealed."""
    for section in sections:
        known = _kept(transaction, period, section)
        what = _WORDS.get(section.name, f"a {section.name}")
        law = f"{what} of a sealed period is as it was sealed"
        for rows in seals.chunks(transaction, section, first=period, last=period):
            for key, digest in seals.digests_of(section, [row["line"] for row in rows]).items():
                yield from _row_findings(law, key, digest, known)
        for key in known:
            yield Finding(law, key, f"it was in {period} and is missing")


def _kept(transaction: Transaction, period: str, section: seals.Section) -> dict[str, str]:
    rows = transaction.rows(
        "SELECT digests FROM sealed_part WHERE period = :period AND section = :section",
        period=period,
        section=section.name,
    )
    return {key: digest for row in rows for key, digest in json.loads(row["digests"]).items()}


def _row_findings(law: str, key: str, digest: str, known: dict[str, str]) -> Iterator[Finding]:
    sealed = known.pop(key, None)
    if sealed is None:
        yield Finding(law, key, _ADDED)
    elif sealed != digest:
        yield Finding(law, key, _CHANGED)


def _first_findings(transaction: Transaction, row: Row) -> Iterator[Finding]:
    """Compare the transfers of a month with its seal of the first format."""
    name = row["name"]
    law = "a transfer of a sealed period is as it was sealed"
    found = transaction.rows(
        "SELECT transfer_id, digest FROM sealed_transfer WHERE period = :period"
        " ORDER BY transfer_id",
        period=name,
    )
    known = {one["transfer_id"]: one["digest"] for one in found}
    seal = first_seals.FirstSeal(row["previous_seal"])
    for line in first_seals.lines(transaction, name):
        seal.add(line)
        yield from _row_findings(law, line.id, line.digest, known)
    for transfer_id in known:
        yield Finding(law, transfer_id, f"it was in {name} and is missing")
    if (seal.value, seal.transfers) != (row["seal"], row["transfers"]):
        problem = f"sealed as {row['seal'][:16]}, its transfers give {seal.value[:16]}"
        yield Finding(_SEALED, name, problem)


def _amounts(transaction: Transaction, table: str, amount: str) -> dict[tuple[str, str], int]:
    """Add up a table's amounts by period and unit."""
    query = f"SELECT period, unit, SUM({amount}) AS total FROM {table} GROUP BY period, unit"
    return {(row["period"], row["unit"]): int(row["total"]) for row in transaction.rows(query)}
