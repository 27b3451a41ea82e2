"""Sorting: what each row of a bill is, and what it adds to the cost of its task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kling_ledger.errors import BillQuestionError
from kling_ledger.evidence.entries import Entry, Kind
from kling_ledger.evidence.reading.answers import NEGATIVE
from kling_ledger.evidence.reading.names import squeezed
from kling_ledger.evidence.reading.rows import Said
from kling_ledger.providers.base import TaskState
from kling_pricing.money import Money

_COSTS: Final = frozenset({Kind.CHARGE, Kind.ITEM})
_PARTS: Final = frozenset({"item", "lineitem", "itemname", "component"})
"""Columns whose name alone says that a row is a part of something."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """The entries of a bill, in its order; `is_negative`: it writes its charges below zero."""

    entries: tuple[Entry, ...]
    is_negative: bool


def sort_rows(rows: Sequence[Said], *, below_zero: str | None, name: str) -> Sorted:
    """Give every row its kind, and its amount the sign that it has in its task's cost.

    `below_zero` is what a person said amounts below zero are: charge or refund. Raises
    BillQuestionError if nothing decides that.
    """
    is_negative = _is_negative(rows, below_zero, name)
    turned = [_turned(row) for row in rows] if is_negative else rows
    charged = {
        row.task_id
        for row in turned
        if _is_cost(row) and not row.gives_back and row.amount is not None and row.amount.micro > 0
    }
    given_back = {row.task_id for row in turned if _is_refund(row)}
    entries = (_entry(row, charged, given_back) for row in turned)
    return Sorted(tuple(entries), is_negative)


def _turned(row: Said) -> Said:
    """Return a row with the sign of its amount reversed; payments into the account keep theirs."""
    if row.amount is None or row.kind is Kind.PAYMENT or row.is_payment:
        return row
    return replace(row, amount=row.amount * -1)


def _is_negative(rows: Iterable[Said], below_zero: str | None, name: str) -> bool:
    """Whether a bill writes its charges below zero, like withdrawals from an account.

    If words call rows charges, and all of those are below zero, it does. If no task adds up to more
    than zero, it may: but these may also be refunds of earlier charges, so a person decides.
    """
    costs = [
        row
        for row in rows
        if _is_cost(row) and not row.gives_back and row.amount is not None and row.amount.micro
    ]
    named = [row.amount for row in costs if row.kind in _COSTS and row.amount is not None]
    if named and all(amount.micro < 0 for amount in named):
        return below_zero != "refund"
    sums: defaultdict[str | None, int] = defaultdict(int)
    for row in costs:
        sums[row.task_id] += 0 if row.amount is None else row.amount.micro
    if not any(total < 0 for total in sums.values()) or any(total > 0 for total in sums.values()):
        return False
    if below_zero is None:
        raise _below_zero(next(row for row in costs if row.amount and row.amount.micro < 0), name)
    return below_zero == "charge"


def _below_zero(row: Said, name: str) -> BillQuestionError:
    return BillQuestionError(
        f"{name}: {row.row.place}: is {row.amount} a charge or a refund? No amount is positive",
        settles="words",
        example=f"{NEGATIVE}=charge",
        hint="say whether negative amounts are charges or refunds",
    )


def _is_cost(row: Said) -> bool:
    return row.task_id is not None and _kind(row) in _COSTS


def _kind(row: Said) -> Kind:
    """Return the kind of a row by its words alone."""
    if row.kind in {Kind.TOTAL, Kind.PAYMENT, Kind.RESERVATION}:
        return row.kind
    if row.task_id is None:
        return Kind.PAYMENT if row.is_payment else Kind.ADJUSTMENT
    if row.kind is None and row.state is TaskState.RUNNING:
        return Kind.RESERVATION
    return row.kind or Kind.CHARGE


def _is_refund(row: Said) -> bool:
    """Whether a row is a refund by its kind or its sign; the state of its task does not count."""
    if row.kind is Kind.REFUND:
        return True
    return _is_cost(row) and row.amount is not None and row.amount.micro < 0


def _entry(row: Said, charged: set[str | None], given_back: set[str | None]) -> Entry:
    kind, amount, state = _kind(row), row.amount, row.state
    if row.gives_back and _is_cost(row):
        kind, amount, state = _given_back(row, charged, given_back)
    elif kind is Kind.REFUND or (row.kind is Kind.REFUND and row.task_id is None):
        amount = _below(amount)
    elif kind is Kind.RESERVATION:
        amount = _below(amount) if row.lets_go else _above(amount)
    elif kind is Kind.CHARGE and amount is not None and amount.micro < 0:
        kind = Kind.REFUND
    return Entry(kind, row.task_id, amount, state, row.at, row.model, row.row.place, row.row.cells)


def _given_back(
    row: Said, charged: set[str | None], given_back: set[str | None]
) -> tuple[Kind, Money | None, TaskState | None]:
    """Read a row whose task was refunded: it gives back what another row charged.

    If no other row charged it, this row is the charge, at zero; one that is named a charge keeps
    its amount if another row gives it back.
    """
    is_named_charge = row.kind in _COSTS
    if row.amount is not None and row.amount.micro < 0:
        return Kind.REFUND, row.amount, None
    if row.task_id in charged and not is_named_charge:
        if row.amount is None or row.amount.micro == 0:
            return Kind.REFUND, None, TaskState.FAILED
        return Kind.REFUND, _below(row.amount), None
    if is_named_charge and row.task_id in given_back:
        return Kind.CHARGE, row.amount, TaskState.FAILED
    zero = None if row.amount is None else row.amount * 0
    return Kind.CHARGE, zero, TaskState.FAILED


def _below(amount: Money | None) -> Money | None:
    return amount if amount is None or amount.micro <= 0 else amount * -1


def _above(amount: Money | None) -> Money | None:
    return amount if amount is None or amount.micro >= 0 else amount * -1


# --- parts ----------------------------------------------------------------------------------


def with_items(
    entries: Sequence[Entry], column: str | None, *, is_said: bool
) -> tuple[tuple[Entry, ...], bool]:
    """Turn charges of one task into parts, if a column tells them apart or a person says so.

    Also returns whether the bill is itemised: a column named for parts says so for every row, even
    if each task has only one row in this bill.
    """
    by_task: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.kind is Kind.CHARGE and entry.task_id is not None:
            by_task[entry.task_id].append(entry)
    parts = {
        entry.place
        for several in by_task.values()
        if len(several) > 1 and (is_said or _are_told_apart(several, column))
        for entry in several
    }
    made = tuple(
        replace(entry, kind=Kind.ITEM) if entry.place in parts else entry for entry in entries
    )
    has_column = column is not None and squeezed(column) in _PARTS
    says_part = has_column and any(entry.raw.get(column or "") for entry in made)
    return made, is_said or says_part or any(entry.kind is Kind.ITEM for entry in made)


def _are_told_apart(several: Sequence[Entry], column: str | None) -> bool:
    items = [entry.raw.get(column or "", "") for entry in several]
    return all(items) and len(set(items)) == len(items)
