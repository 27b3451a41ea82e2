"""Rows: what each row of a bill says, cell by cell, as it is written."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kling_ledger.errors import BillQuestionError, ConfigError
from kling_ledger.evidence.entries import Kind
from kling_ledger.evidence.reading.columns import ask_for_words
from kling_ledger.evidence.reading.grid import Grid
from kling_ledger.evidence.reading.names import BALANCES, by_name, names_of
from kling_ledger.evidence.reading.numbers import (
    Style,
    check_unit,
    is_nothing,
    money_of,
    style_of,
    unguarded,
)
from kling_ledger.evidence.reading.words import Meaning, Words, is_payment, is_total
from kling_ledger.providers.base import TaskState
from kling_ledger.tabular.table import Row
from kling_pricing.money import Money

_SHORTENED: Final = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+[0-9]+|[0-9]+[.,]0+")
_NO_MEANING: Final = Meaning()


@dataclass(frozen=True, slots=True)
class Said:
    """What a row says; its amount has the sign that the file gives it.

    `kind` comes from the column of kinds, or from a state word that names a kind. With `gives_back`
    the state word says that the task's charge was refunded.
    """

    row: Row
    task_id: str | None
    amount: Money | None
    kind: Kind | None
    state: TaskState | None
    gives_back: bool
    lets_go: bool
    is_balance: bool
    is_payment: bool
    at: datetime | None
    model: str | None
    item: str


class Reader:
    """Reads the rows of one bill, whose columns are known."""

    def __init__(
        self,
        grid: Grid,
        columns: Mapping[str, str],
        *,
        unit: str,
        words: Words,
        known_tasks: Collection[str],
        numbers: Style | None,
    ) -> None:
        self._grid, self._columns, self._unit, self._words = grid, columns, unit, words
        self._known = frozenset(known_tasks)
        amounts = [pair for pair in grid.placed(columns["amount"]) if not is_nothing(pair[1])]
        self._style = style_of(amounts, beside=self._beside(), said=numbers, name=grid.name)
        self._kinds = self._meanings("kind")
        self._states = self._meanings("state")
        self._refuse_changed_ids()

    def rows(self, instants: Sequence[datetime | None]) -> Iterator[Said]:
        """Yield what each row says, without the rows that have a word to ignore."""
        for row, at in zip(self._grid.rows, instants, strict=True):
            kind, state = self._meaning(row, "kind"), self._meaning(row, "state")
            if not (kind.is_ignored or state.is_ignored):
                yield self._said(row, kind, state, at)

    def _said(self, row: Row, kind: Meaning, state: Meaning, at: datetime | None) -> Said:
        where = f"{self._grid.name}: {row.place}"
        task_id = self._task(row)
        gives_back = state.kind is Kind.REFUND and kind.kind is not Kind.REFUND
        said = self._kind_of(row, task_id, kind, state, where)
        is_foreign = said in {Kind.PAYMENT, Kind.TOTAL}
        amount = self._foreign(row, where) if is_foreign else self._amount(row, where)
        if task_id and not is_foreign and amount is None and state.state is None and not gives_back:
            raise ConfigError(f"{where}: it has neither an amount nor a state")
        return Said(
            row,
            None if is_foreign else task_id,
            amount,
            said,
            state.state,
            gives_back,
            kind.lets_go or state.lets_go,
            kind.is_balance or state.is_balance,
            task_id is None and any(map(is_payment, row.cells.values())),
            at,
            self._cell(row, "model") or None,
            self._cell(row, "item"),
        )

    def _kind_of(
        self, row: Row, task_id: str | None, kind: Meaning, state: Meaning, where: str
    ) -> Kind | None:
        """Return the kind that the words of a row name; None if they name none."""
        found = kind.kind or (None if state.kind is Kind.REFUND else state.kind)
        if task_id is None and any(map(is_total, row.cells.values())):
            return Kind.TOTAL
        if task_id is not None and task_id not in self._known:
            if is_total(task_id):
                return Kind.TOTAL
            called = self._words.kind(task_id)
            return called if called in {Kind.TOTAL, Kind.PAYMENT} else found
        if found in {Kind.PAYMENT, Kind.TOTAL} and task_id is not None:
            word = self._cell(row, "kind") or self._cell(row, "state")
            raise BillQuestionError(
                f"{where}: what does {word!r} mean next to task {task_id}?",
                settles="words",
                example=f"{word}=charge",
                hint="give the meaning of the word",
            )
        return found

    def _cell(self, row: Row, ours: str) -> str:
        cell: str = row.cells.get(self._columns.get(ours, ""), "")
        return cell

    def _task(self, row: Row) -> str | None:
        written = self._cell(row, "task_id")
        if written in self._known:
            return written
        return None if is_nothing(written) else unguarded(written).strip()

    def _amount(self, row: Row, where: str) -> Money | None:
        check_unit(self._cell(row, "unit"), self._unit, where)
        return money_of(self._cell(row, "amount"), self._style, unit=self._unit, where=where)

    def _foreign(self, row: Row, where: str) -> Money | None:
        """Return the amount of a total or payment; None if it is unreadable or in another unit."""
        try:
            return self._amount(row, where)
        except ConfigError:
            return None

    def _beside(self) -> Iterator[str]:
        """Return other amounts of the file, which may show how its numbers are written."""
        for column in self._grid.columns:
            if column in by_name([column], "amount") or BALANCES.intersection(names_of(column)):
                yield from filter(None, self._grid.cells(column))

    def _meanings(self, ours: str) -> Mapping[str, Meaning]:
        """Return what each word of a column means; BillQuestionError for an unknown one."""
        column = self._columns.get(ours)
        if column is None:
            return {}
        said = {cell for cell in self._grid.cells(column) if not is_nothing(cell)}
        unknown = self._words.unknown(sorted(said))
        if unknown:
            raise ask_for_words(self._grid, column, unknown)
        return {word: self._words.meaning(word) or _NO_MEANING for word in said}

    def _meaning(self, row: Row, ours: str) -> Meaning:
        meanings = self._kinds if ours == "kind" else self._states
        return meanings.get(self._cell(row, ours), _NO_MEANING)

    # --- ids that a spreadsheet changed -----------------------------------------------------

    def _refuse_changed_ids(self) -> None:
        """Refuse task ids that lost digits: they would match no job, or the wrong one."""
        column = self._columns["task_id"]
        unknown = [pair for pair in self._grid.placed(column) if pair[1] not in self._known]
        long = [pair for pair in unknown if pair[1].isdecimal() and len(pair[1]) > 16]
        if not all(cell[15:].strip("0") == "" for _, cell in long):
            long = []
        changed = [pair for pair in unknown if _SHORTENED.fullmatch(pair[1])] + long
        if changed:
            place, cell = changed[0]
            raise BillQuestionError(
                f"{self._grid.name}: {place}: a spreadsheet changed the task {cell} and lost "
                "its digits",
                settles="columns",
                example="task_id=NAME",
                hint="export the bill again with that column as text, or name another column",
            )
