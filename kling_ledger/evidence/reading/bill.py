"""Bill: a provider's bill as a file, read into neutral entries."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kling_ledger.evidence.bill_columns import find_columns
from kling_ledger.evidence.bills import read_statement
from kling_ledger.evidence.entries import Entry, Kind
from kling_ledger.evidence.reading.answers import Answers
from kling_ledger.tabular.reading import open_table
from kling_ledger.tabular.table import whole

_NOTHING_SAID: Final = Answers()


@dataclass(frozen=True, slots=True)
class Bill:
    """What a provider's bill says.

    `notes` are for the person whose bill it is. `is_itemised` says that several rows of one task
    are its parts. With `has_unzoned_times` some stamps named no zone, and none was said: their
    instant is unknown. `columns` tells which column was taken for what. With `total_differs` a
    total of the bill is not the sum of its rows.
    """

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    is_itemised: bool = False
    has_unzoned_times: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    total_differs: bool = False


def read_bill(
    path: Path,
    *,
    unit: str,
    known_tasks: Collection[str] = (),
    answers: Answers = _NOTHING_SAID,
) -> Bill:
    """Read a provider's bill, whose amounts are in `unit`.

    `known_tasks` are the tasks of our journal: they tell which column names tasks. Raises
    ConfigError, with the place, for what cannot be read, and BillQuestionError for what only a
    person can decide.
    """
    del known_tasks
    charges = read_statement(path, unit=unit, mapping=answers.columns)
    with open_table(path, number=str, envelope=True, trusts_name=False) as table:
        rows = list(whole(table))
        columns = find_columns(table.columns, answers.columns, str(path)) if rows else {}
    entries = tuple(
        Entry(
            Kind.REFUND if one.amount is not None and one.amount.micro < 0 else Kind.CHARGE,
            one.task_id,
            one.amount,
            one.state,
            one.created_at,
            one.model,
            row.place,
            {name: "" if cell is None else str(cell).strip() for name, cell in row.cells.items()},
        )
        for one, row in zip(charges, rows, strict=True)
    )
    return Bill(entries, columns=columns)
