"""What one call of the command did: what was asked, what it said, every table before and after."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.cli import Said
from tests.evidence_bills import Bill, Look, Pick

Row = dict[str, Any]
Tables = dict[str, list[Row]]


@dataclass(frozen=True, slots=True)
class Reconcile:
    """One call: a bill is written, or the last one taken again, and compared."""

    look: Look = field(default_factory=Look)
    account: str = "north"
    pick: Pick = "all"
    shows_others: bool = True
    says_complete: bool = True
    says_zone: bool = True
    applies: bool = True
    says_missing: bool = True
    overstates_missing: bool = False
    """Whether a number of missing jobs is said first that is one too high."""
    again: bool = False
    """Whether the last bill of the account is given once more instead of a new one."""
    undo: bool = False
    """Whether what was applied is undone, and applied again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call said, and the tables before and after it."""

    step: Reconcile
    bill: Bill
    said: Said
    before: Tables
    after: Tables
    is_whole: bool
    """Whether the bill is said to be complete, and was told what is missing if that was asked."""

    @property
    def was_read(self) -> bool:
        """Whether the bill could be read for certain."""
        return self.said.code != 2

    @property
    def rows(self) -> list[Row]:
        """The lines of the report."""
        given: list[Row] = json.loads(self.said.out or "[]") if self.was_read else []
        return given


def tables_of(database: Path) -> Tables:
    """Every table of a database, read without the product."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as file:
        file.row_factory = sqlite3.Row
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        names = [str(row["name"]) for row in file.execute(query)]
        return {
            name: [dict(row) for row in file.execute(f'SELECT * FROM "{name}"')] for name in names
        }


def by_id(tables: Tables) -> dict[str, Row]:
    """Reservations by id."""
    return {row["id"]: row for row in tables["reservation"]}


def money(tables: Tables) -> dict[str, tuple[Any, ...]]:
    """What became of each reservation: its state, what it holds, its task, what it has spent."""
    return {
        name: (row["state"], row["held_micro"], row["task_id"], spent_micro(row))
        for name, row in by_id(tables).items()
    }


def spent_micro(row: Mapping[str, Any]) -> int:
    """What a reservation has cost, in millionths."""
    return int((row["committed_micro"] or 0) - row["refunded_micro"])


def micro(amount: Decimal) -> int:
    """An amount in millionths."""
    return int(amount * 10**6)
