"""Totals: the sums that a bill states, checked against its rows: this shows a file that was cut
off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kling_ledger.evidence.entries import Entry, Kind

_NO_COST: Final = frozenset({Kind.PAYMENT, Kind.RESERVATION, Kind.TOTAL})


@dataclass(frozen=True, slots=True)
class Totals:
    """The entries with their totals marked, notes, and whether a total differs from its rows."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    differs: bool = False


def find_totals(
    entries: Sequence[Entry],
    *,
    written: Sequence[int],
    balances: frozenset[str],
    kind_column: str | None = None,
) -> Totals:
    """Check every total against the rows above it: all of them, or those since the last total.

    `written` are the amounts as the file has them, in millionths, 0 for a row without one;
    `balances` are the places of totals that are not sums. A last row with little more than an
    amount, and no word in `kind_column`, is a total too if it equals the sum.
    """
    found = tuple(_with_last(entries, written, kind_column))
    notes, differs = [], False
    totals = [entry.place for entry in found if entry.kind is Kind.TOTAL]
    if totals:
        notes.append(f"rows with totals were skipped: {', '.join(totals[:3])}")
    for index, entry in enumerate(found):
        if entry.kind is not Kind.TOTAL or entry.place in balances or entry.amount is None:
            continue
        if abs(entry.amount.micro) not in _sums(found, written, index):
            differs = True
            notes.append(_difference(found, index))
    return Totals(found, tuple(notes), differs)


def _with_last(
    entries: Sequence[Entry], written: Sequence[int], kind_column: str | None
) -> Iterator[Entry]:
    """Mark the last row as a total if it has no task and is the sum of the others."""
    last = len(entries) - 1
    for index, entry in enumerate(entries):
        is_sum = (
            index == last > 0
            and entry.kind is Kind.ADJUSTMENT
            and entry.amount is not None
            and _says_little(entry, kind_column)
            and abs(entry.amount.micro) in _sums(entries, written, index)
        )
        yield replace(entry, kind=Kind.TOTAL) if is_sum else entry


def _says_little(entry: Entry, kind_column: str | None) -> bool:
    """Whether a row says nothing but an amount, and perhaps its unit."""
    if entry.task_id is not None or entry.state is not None or entry.raw.get(kind_column or ""):
        return False
    return sum(map(bool, entry.raw.values())) <= 2


def _sums(entries: Sequence[Entry], written: Sequence[int], end: int) -> set[int]:
    """Return the sums that a total may state: all or costs only, since the last total or ever."""
    since = next((n + 1 for n in range(end - 1, -1, -1) if entries[n].kind is Kind.TOTAL), 0)
    return {
        abs(total)
        for start in {0, since}
        for total in (
            sum(_micro(one) for one in entries[start:end] if one.kind not in _NO_COST),
            sum(_micro(one) for one in entries[start:end] if one.kind is not Kind.TOTAL),
            sum(
                amount
                for one, amount in zip(entries[start:end], written[start:end], strict=True)
                if one.kind is not Kind.TOTAL
            ),
        )
    }


def _micro(entry: Entry) -> int:
    return 0 if entry.amount is None else entry.amount.micro


def _difference(entries: Sequence[Entry], index: int) -> str:
    total = entries[index].amount
    rows = [one.amount for one in entries[:index] if one.kind not in _NO_COST and one.amount]
    come_to = (
        f"the rows add up to {sum(rows[1:], start=rows[0])}" if rows else "no row has an amount"
    )
    return f"{entries[index].place}: the total says {total}, {come_to}: the export may be cut off"
