"""Costs: what the rows of one task add up to, or the question that they leave open.

Rows are added up only if there is one way to read them. Two plain charges of a task may be two
charges, or one written twice; a refund alone does not say which charge it reduces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from kling_ledger.evidence.entries import Entry, Kind
from kling_ledger.evidence.record import Reading, TaskRows
from kling_ledger.ledger.corrections import BillEntry
from kling_ledger.providers.base import TaskState
from kling_pricing.money import Money

_COSTING: Final = frozenset({Kind.CHARGE, Kind.REFUND, Kind.ADJUSTMENT, Kind.ITEM})

PARTS: Final = (
    "the rows of a task may be parts of its cost, and only a complete bill has all of them"
)
TWICE: Final = "it has {count} different charges: are they parts of one cost?"
REFUND_ALONE: Final = "{amount} is refunded, but no bill has shown the charge"
MORE_BACK: Final = "the refunds exceed the charges by {amount}"
FAILED: Final = "it failed, and the row does not say whether {amount} was charged"
NO_AMOUNT: Final = "the row has no amount"
NOT_LISTED: Final = "the complete bill {source} had no charge for it: is this an older bill?"
EXPORTED_TWICE: Final = "a row of an earlier bill may be the same: {place} of {source}"


def read_task(rows: TaskRows, unit: str, *, is_itemised: bool, is_complete: bool) -> Reading:
    """Return the cost of a task by its rows, or a question; `is_complete`: all rows are here."""
    fresh = [one for one in rows.entries if one.kind in _COSTING]
    if not fresh:
        return _without_cost(rows.entries)
    if _all_running(fresh):
        return Reading(is_running=True, entries=rows.entries)
    beside = _beside(rows, fresh, is_complete=is_complete)
    same = _exported_twice(beside, fresh) or _not_listed(rows, is_complete=is_complete)
    if same is not None:
        return Reading(question=same, seen=_sum(fresh, unit), entries=rows.entries)
    parts = [(one.kind, one.amount) for one in fresh]
    parts += [(Kind(one.kind), one.amount) for one in beside]
    reading = _of_parts(parts, fresh, unit, is_itemised=is_itemised, is_complete=is_complete)
    if reading.refund is not None:
        counted = {one.digest for one in rows.earlier}
        back = _positive(_sum((one for one in fresh if one.digest not in counted), unit))
        return Reading(refund=back, seen=reading.seen, entries=rows.entries)
    return Reading(
        cost=reading.cost,
        question=reading.question,
        has_failed=all(one.state is TaskState.FAILED for one in fresh),
        seen=reading.seen,
        is_twice=reading.is_twice,
        entries=rows.entries,
    )


def _of_parts(
    parts: Sequence[tuple[Kind, Money | None]],
    fresh: Sequence[Entry],
    unit: str,
    *,
    is_itemised: bool,
    is_complete: bool,
) -> Reading:
    amounts = [amount for _, amount in parts if amount is not None]
    total = sum(amounts, start=Money.zero(unit))
    charges = [
        amount
        for kind, amount in parts
        if kind in {Kind.CHARGE, Kind.ITEM} and amount is not None and amount.micro >= 0
    ]
    question = _question(parts, fresh, total, charges, is_itemised=is_itemised)
    if question is None and not charges:
        if is_complete or not amounts:
            question = REFUND_ALONE.format(amount=_positive(total)) if amounts else NO_AMOUNT
        else:
            return Reading(refund=_positive(total), seen=total)
    if question is None and is_itemised and not is_complete:
        question = PARTS
    is_twice = not is_itemised and _positive_count(charges) > 1
    return Reading(
        cost=total if question is None else None, question=question, seen=total, is_twice=is_twice
    )


def _question(
    parts: Sequence[tuple[Kind, Money | None]],
    fresh: Sequence[Entry],
    total: Money,
    charges: Sequence[Money],
    *,
    is_itemised: bool,
) -> str | None:
    """Return why the sum of some rows may not be the cost; None if it is."""
    if not is_itemised and _positive_count(charges) > 1:
        return TWICE.format(count=_positive_count(charges))
    if total.micro < 0 and charges:
        return MORE_BACK.format(amount=_positive(total))
    gives_back = any(kind is Kind.REFUND for kind, _ in parts)
    failed = [
        one.amount
        for one in fresh
        if one.state is TaskState.FAILED and one.amount is not None and one.amount.micro > 0
    ]
    if failed and not gives_back:
        return FAILED.format(amount=failed[0])
    silent = [kind for kind, amount in parts if amount is None]
    if silent and (not charges or Kind.REFUND in silent or _has_failed_silently(fresh)):
        return NO_AMOUNT
    return None


def _has_failed_silently(entries: Iterable[Entry]) -> bool:
    """Whether a row says that a task failed, but not whether it was charged."""
    return any(one.state is TaskState.FAILED and one.amount is None for one in entries)


def _without_cost(entries: Sequence[Entry]) -> Reading:
    """Read rows that name no cost, only what is held or a state."""
    held = [one for one in entries if one.kind is Kind.RESERVATION]
    return Reading(
        is_running=bool(held), question=None if held else NO_AMOUNT, entries=tuple(entries)
    )


def _all_running(entries: Iterable[Entry]) -> bool:
    return all(one.state is TaskState.RUNNING for one in entries)


def _beside(rows: TaskRows, fresh: Sequence[Entry], *, is_complete: bool) -> list[BillEntry]:
    """Return the rows of earlier bills that count besides this bill's.

    A complete bill may have all of them in another form, with the same amounts or the same total:
    then none count.
    """
    known = {one.digest for one in fresh}
    others = [one for one in rows.earlier if one.digest not in known and Kind(one.kind) in _COSTING]
    theirs = Counter(one.amount.micro for one in others if one.amount is not None)
    amounts = Counter(one.amount.micro for one in fresh if one.amount is not None)
    is_same = theirs <= amounts or (theirs.total() and _total(theirs) == _total(amounts))
    return [] if is_complete and is_same else others


def _total(amounts: Counter[int]) -> int:
    return sum(amount * times for amount, times in amounts.items())


def _exported_twice(beside: Sequence[BillEntry], fresh: Sequence[Entry]) -> str | None:
    """Say which row of an earlier bill may be a row of this bill in another form."""
    forms = {frozenset(one.raw) for one in fresh}
    for earlier in beside:
        is_other_form = frozenset(earlier.raw) not in forms
        alike = (one for one in fresh if _is_alike(one, earlier) or _is_newer(earlier, one))
        if is_other_form or next(alike, None) is not None:
            return EXPORTED_TWICE.format(place=earlier.place, source=earlier.source)
    return None


def _is_newer(earlier: BillEntry, one: Entry) -> bool:
    """Whether an earlier bill listed a task at zero that this bill charges."""
    was_free = earlier.amount is not None and earlier.amount.micro == 0
    return was_free and one.kind is Kind.CHARGE and bool(one.amount and one.amount.micro > 0)


def _not_listed(rows: TaskRows, *, is_complete: bool) -> str | None:
    """Say which complete bill had no charge for the task, unless this bill is complete too."""
    unlisted = [one for one in rows.earlier if one.kind == Kind.TOTAL]
    return NOT_LISTED.format(source=unlisted[0].source) if unlisted and not is_complete else None


def _is_alike(one: Entry, earlier: BillEntry) -> bool:
    """Whether two rows may say the same: some exports renumber their rows."""
    is_then = None in (one.at, earlier.at) or one.at == earlier.at
    return is_then and one.amount == earlier.amount


def _sum(entries: Iterable[Entry], unit: str) -> Money:
    return sum((one.amount for one in entries if one.amount is not None), start=Money.zero(unit))


def _positive_count(charges: Iterable[Money]) -> int:
    return sum(amount.micro > 0 for amount in charges)


def _positive(amount: Money) -> Money:
    return Money.zero(amount.unit) - amount
