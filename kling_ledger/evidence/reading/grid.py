"""Grid: the table of a bill, each row once, without the lines below it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from kling_ledger.errors import BillQuestionError, ConfigError
from kling_ledger.evidence.reading.answers import Answers
from kling_ledger.evidence.reading.names import is_known
from kling_ledger.evidence.reading.words import is_chinese, is_total
from kling_ledger.tabular.export import Sheet, read_export
from kling_ledger.tabular.table import Row

_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Grid:
    """The rows of a bill, each with its place and a text for each column.

    `mapped` has the columns that a person named, by our field names. `encoding` is None if unknown:
    then only ASCII text is certain. `is_part`: the file itself says that there are more rows.
    `beside` are texts around the table.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Row]
    mapped: Mapping[str, str]
    notes: tuple[str, ...]
    encoding: str | None
    is_part: bool = False
    beside: Sequence[str] = ()

    def cells(self, column: str) -> list[str]:
        """Return the cells of a column, empty where a row has none."""
        return [row.cells.get(column, "") for row in self.rows]

    def placed(self, column: str) -> list[tuple[str, str]]:
        """Return the cells of a column, each with its place."""
        return [(row.place, row.cells.get(column, "")) for row in self.rows]

    def sample(self, column: str) -> str:
        """Return the first cell of a column that is not empty."""
        return next(filter(None, self.cells(column)), "")


def read_grid(path: Path, answers: Answers, known_tasks: Collection[str]) -> Grid:
    """Read the table of a bill, from the sheet or list that has a bill's columns."""
    mapped = {name.rpartition(".")[2].lower() for name in answers.columns.values()}
    mapped |= {name.lower() for name in answers.columns.values()}
    sheets = read_export(
        path,
        knows=lambda cells: sum(cell.strip().lower() in mapped or is_known(cell) for cell in cells),
        is_chinese=is_chinese,
        encoding=answers.encoding,
    )
    sheet = _chosen(sheets, answers.columns, str(path))
    rows, left_out = _without_footer(sheet.rows, known_tasks, str(path))
    rows, headers = _without_headers(sheet, rows)
    rows, repeated = _once(rows)
    above = [f"lines above the columns were skipped: {len(sheet.above)}"] if sheet.above else []
    return Grid(
        str(path),
        sheet.columns,
        rows,
        _mapped(sheet, answers.columns, str(path)),
        (*above, *headers, *left_out, *repeated),
        sheet.encoding,
        sheet.is_part,
        (*sheet.above, *sheet.beside),
    )


def _chosen(sheets: Sequence[Sheet], mapping: Mapping[str, str], name: str) -> Sheet:
    """Return the one table that can be the bill; one without rows only if all are empty."""
    full = [sheet for sheet in sheets if sheet.rows] or sheets
    said = [sheet for sheet in full if any(map(partial(_is_in, sheet), mapping.values()))]
    found = said if len(said) == 1 else full
    if not found:
        raise ConfigError(f"{name}: no table found")
    if len(found) > 1:
        listed = ", ".join(sheet.name for sheet in found)
        last = found[-1]
        raise BillQuestionError(
            f"{name}: which of these tables is the bill: {listed}?",
            settles="columns",
            example=f"task_id={last.name}.{next(iter(last.columns), 'task_id')}",
            hint="name a column with its table in front",
        )
    return found[0]


def _is_in(sheet: Sheet, theirs: str) -> bool:
    """Whether a column is named with this table in front."""
    return bool(sheet.name) and theirs.startswith(f"{sheet.name}.")


def _mapped(sheet: Sheet, mapping: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the columns that a person named, as the file writes them."""
    found = {}
    for ours, theirs in mapping.items():
        bare = theirs.removeprefix(f"{sheet.name}.") if sheet.name else theirs
        same = [column for column in sheet.columns if column.lower() == bare.strip().lower()]
        exact = [column for column in same if column == bare.strip()] or same
        if len(exact) != 1 and sheet.columns:
            listed = ", ".join(exact or sheet.columns)
            raise ConfigError(f"{name}: no column {theirs}; it has {listed}")
        found.update(dict.fromkeys((ours,), exact[0]) if exact else {})
    return found


def _once(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Keep one of several identical rows, and note the others."""
    first: dict[frozenset[tuple[str, str]], Row] = {}
    again: list[tuple[Row, Row]] = []
    for row in rows:
        said = frozenset(item for item in row.cells.items() if item[1])
        kept = first.setdefault(said, row)
        if kept is not row:
            again.append((row, kept))
    if not again:
        return list(rows), []
    pairs = listed(f"{row.place} is {kept.place}" for row, kept in again)
    equal = f"identical rows are counted once: {pairs}"
    return list(first.values()), [equal]


def _without_headers(sheet: Sheet, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Drop repeated headers: of exports pasted one below the other, or of further pages."""
    header = tuple(sheet.columns)
    again = [row.place for row in rows if tuple(row.cells.values()) == header]
    if not again:
        return list(rows), []
    kept = [row for row in rows if tuple(row.cells.values()) != header]
    return kept, [f"repeated headers were skipped: {listed(again)}"]


def _without_footer(
    rows: Sequence[Row], known_tasks: Collection[str], name: str
) -> tuple[list[Row], list[str]]:
    """Drop the lines of text below a table. Raises ConfigError for a malformed row above them."""
    end = len(rows)
    while end and _is_footer(rows[end - 1], known_tasks):
        end -= 1
    for row in rows[:end]:
        # A line of a total needs no cells after its amount.
        if row.problem is not None and not any(map(is_total, row.cells.values())):
            raise ConfigError(f"{name}: {row.place}: {row.problem}")
    left_out = [row.place for row in rows[end:]]
    return list(rows[:end]), (
        [f"lines below the table were skipped: {listed(left_out)}"] if left_out else []
    )


def _is_footer(row: Row, known_tasks: Collection[str]) -> bool:
    """Whether a row is nothing but one text of several words."""
    said = [cell for cell in row.cells.values() if cell]
    return len(said) == 1 and len(row.cells) > 1 and " " in said[0] and said[0] not in known_tasks


def listed(words: Iterable[str]) -> str:
    """Write the first of some words, and how many more there are."""
    all_of_them = list(words)
    more = len(all_of_them) - _SHOWN
    shown = ", ".join(all_of_them[:_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
