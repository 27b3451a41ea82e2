"""Bill: a provider's bill as a file, read into neutral entries."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kling_ledger.errors import BillQuestionError
from kling_ledger.evidence.entries import Entry, Kind
from kling_ledger.evidence.reading.answers import NEGATIVE, Answers
from kling_ledger.evidence.reading.columns import find_columns
from kling_ledger.evidence.reading.grid import Grid, listed, read_grid
from kling_ledger.evidence.reading.names import by_name, is_currency
from kling_ledger.evidence.reading.numbers import check_unit
from kling_ledger.evidence.reading.rows import Reader, Said
from kling_ledger.evidence.reading.sorting import Sorted, sort_rows, with_items
from kling_ledger.evidence.reading.times import Times, read_times
from kling_ledger.evidence.reading.totals import find_totals
from kling_ledger.evidence.reading.words import Words

_UNIT: Final = re.compile(
    r"(?:currency|unit|währung|币种|货币|单位)\W{1,3}([^\W\d]+|[$€£¥])", re.IGNORECASE
)
_PART: Final = "the file says that there are more pages"
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?(?:\s*[AaPp][Mm])?")
_NOTHING_SAID: Final = Answers()


@dataclass(frozen=True, slots=True)
class Bill:
    """What a provider's bill says.

    `notes` are for the person whose bill it is. `is_itemised`: several rows of one task are parts
    of its cost. `has_unzoned_times`: some stamps have no zone, and nobody named one, so their
    instants are unknown. `columns` maps our field names to the bill's columns. `total_differs`:
    rows are missing, because a total is not their sum or the file says that there are more.
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

    `known_tasks` are the tasks in our journal: they show which column holds tasks. Raises
    ConfigError, with the place, for what cannot be read, and BillQuestionError for what only a
    person can decide.
    """
    grid = read_grid(path, answers, known_tasks)
    if not grid.columns:
        return Bill(())
    _refuse_unclear_names(grid)
    _refuse_other_unit(grid, unit)
    words = Words({word: what for word, what in answers.words.items() if word != NEGATIVE})
    columns = find_columns(grid, unit=unit, known_tasks=known_tasks, words=words)
    _refuse_unclear_cells(grid, columns)
    reader = Reader(
        grid,
        columns,
        unit=unit,
        words=words,
        known_tasks=known_tasks,
        numbers=answers.numbers,
    )
    times = _times(grid, columns, answers)
    rows = list(reader.rows(times.instants))
    below_zero = answers.words.get(NEGATIVE)
    kinds = sort_rows(rows, below_zero=below_zero, name=grid.name)
    entries, is_itemised = with_items(kinds.entries, columns.get("item"), is_said=answers.itemised)
    totals = find_totals(
        entries,
        written=[0 if row.amount is None else row.amount.micro for row in rows],
        balances=frozenset(row.row.place for row in rows if row.is_balance),
        kind_column=columns.get("kind"),
    )
    return Bill(
        totals.entries,
        (
            *grid.notes,
            *([_PART] if grid.is_part else []),
            *times.notes,
            *totals.notes,
            *_told(grid, rows, totals.entries, kinds),
        ),
        is_itemised=is_itemised,
        has_unzoned_times=times.has_unzoned,
        columns=columns,
        total_differs=totals.differs or grid.is_part,
    )


def _times(grid: Grid, columns: Mapping[str, str], answers: Answers) -> Times:
    column = columns.get("created_at")
    if column is None:
        return Times([None] * len(grid.rows))
    cells = grid.placed(column)
    clock = next(
        (one for one in by_name(grid.columns, "created_at") if _holds_clock(grid, one)), ""
    )
    if clock and column not in answers.columns.values():
        cells = [
            (place, f"{day} {time}") if day and time else (place, day)
            for (place, day), time in zip(cells, grid.cells(clock), strict=True)
        ]
    return read_times(cells, column, answers)


def _holds_clock(grid: Grid, column: str) -> bool:
    """Whether a column holds only clock times, whose day is in another column."""
    cells = set(filter(None, grid.cells(column)))
    return bool(cells) and all(map(_CLOCK.fullmatch, cells))


def _told(
    grid: Grid, rows: Sequence[Said], entries: Sequence[Entry], kinds: Sorted
) -> Iterator[str]:
    """Yield what a person would not expect about the rows."""
    if kinds.is_negative:
        yield "amounts below zero are charges"
    ignored = len(grid.rows) - len(rows)
    if ignored:
        yield f"rows ignored because of a word: {ignored}"
    for kind, what in (
        (Kind.PAYMENT, "rows about payments into the account were skipped"),
        (Kind.ADJUSTMENT, "rows have no task"),
    ):
        places = [one.place for one in entries if one.kind is kind and one.task_id is None]
        if places:
            yield f"{what}: {listed(places)}"


def _refuse_other_unit(grid: Grid, unit: str) -> None:
    """Refuse a bill if a text beside its table names another currency."""
    for text in grid.beside:
        for told in _UNIT.findall(text):
            if is_currency(told):
                check_unit(told, unit, f"{grid.name}: beside its rows")


def _refuse_unclear_names(grid: Grid) -> None:
    """Refuse a non-ASCII header in an unknown encoding: the unreadable column may be the task."""
    if grid.encoding is None and not all(map(str.isascii, grid.columns)):
        raise _unclear(grid, "the header")


def _refuse_unclear_cells(grid: Grid, columns: Mapping[str, str]) -> None:
    """Refuse non-ASCII cells in an unknown encoding, in the columns that are read."""
    if grid.encoding is not None:
        return
    read = (pair for column in columns.values() for pair in grid.placed(column))
    for place, cell in read:
        if not cell.isascii():
            raise _unclear(grid, place)


def _unclear(grid: Grid, place: str) -> BillQuestionError:
    return BillQuestionError(
        f"{grid.name}: {place}: which encoding is this text in?",
        settles="encoding",
        example="windows-1252",
        hint="give its encoding, such as windows-1252 or gb18030",
    )
