"""Grids: lines of cells that contain a table somewhere, as in spreadsheets and exports.

A table begins at its header: the first of the lines with the most known columns.
Titles above it and empty lines are skipped, but counted.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kling_ledger.errors import ConfigError
from kling_ledger.tabular.table import Row, checked_columns

Knows = Callable[[Sequence[str]], int]
"""How many of these cells are known column names."""

_DELIMITERS: Final = ",;\t|"
_LINES_ABOVE: Final = 100
"""How many lines are searched for a header."""
_BLANKS: Final = " \t\r\n\u00a0\u2007\u202f\u3000\u200b\ufeff"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of cells; `place` says where it is."""

    place: str
    cells: Sequence[str]


def trimmed(cell: str) -> str:
    """Return a cell without the surrounding blanks that spreadsheets and web pages add."""
    return cell.strip(_BLANKS)


def table_of(
    lines: Iterable[Line], name: str, *, knows: Knows, is_sparse: bool = False
) -> tuple[Sequence[str], list[Row], list[str]]:
    """Return the columns and rows of the table within some lines, and the lines above it.

    With `is_sparse`, a line may be shorter than the header; otherwise that is a problem of its row,
    as is a longer line; cells are kept from the left. Columns without a name are numbered.
    """
    said = [line for line in lines if any(map(trimmed, line.cells))]
    if not said:
        return (), [], []
    above = header_index([line.cells for line in said[:_LINES_ABOVE]], knows)
    header, rows = [trimmed(cell) for cell in said[above].cells], said[above + 1 :]
    while header and not header[-1] and not any(trimmed(cell) for cell in _cells_at(rows, header)):
        header.pop()
    columns = checked_columns(
        [cell or f"column {number}" for number, cell in enumerate(header, 1)], name
    )
    titles = [" ".join(filter(None, line.cells)) for line in said[:above]]
    return columns, [_row(line, columns, is_sparse=is_sparse) for line in rows], titles


def header_index(lines: Sequence[Sequence[str]], knows: Knows) -> int:
    """Return the index of the header: the first line with the most known columns.

    A single known word below another line of cells is not a header: it may be in a row. If no
    column is known, the header is the first line with several cells.
    """
    best, most = 0, 0
    for index, cells in enumerate(lines):
        known = knows(cells) if _is_row(cells) else 0
        if known > most and (known > 1 or not _is_row(lines[best])):
            best, most = index, known
    return best if most else next((n for n, cells in enumerate(lines) if _is_row(cells)), 0)


def _is_row(cells: Sequence[str]) -> bool:
    return sum(map(bool, map(trimmed, cells))) > 1


def _cells_at(rows: Iterable[Line], header: Sequence[str]) -> Iterator[str]:
    """Return the cells under the last column of a header."""
    last = len(header) - 1
    return (line.cells[last] for line in rows if len(line.cells) > last)


def _row(line: Line, columns: Sequence[str], *, is_sparse: bool) -> Row:
    cells = [cell if type(cell) is not str else trimmed(cell) for cell in line.cells]
    while len(cells) > len(columns) and not cells[-1]:
        cells.pop()
    width = len(columns)
    misfits = len(cells) > width or (len(cells) < width and not is_sparse)
    problem = f"{len(cells)} cells under a header of {width}" if misfits else None
    return Row(line.place, dict(zip(columns, [*cells, *[""] * width], strict=False)), problem)


# --- text -----------------------------------------------------------------------------------


def lines_of_text(text: str, name: str, *, knows: Knows) -> list[Line]:
    """Return the lines of CSV, split by its header's delimiter: comma, semicolon, tab or bar.

    A first line such as `sep=;` gives the delimiter. ConfigError for a quote that is never closed.
    """
    rows = list(io.StringIO(text, newline=""))
    first = next((number for number, row in enumerate(rows) if trimmed(row)), 0)
    said = trimmed(rows[first]).lower().strip('"') if rows else ""
    if said.startswith("sep=") and len(said) <= len("sep=;"):
        first, delimiter = first + 1, trimmed(rows[first]).strip('"')[4:] or "\t"
    else:
        delimiter = _delimiter(rows[first : first + _LINES_ABOVE], knows)
    return list(_parted(rows, first, delimiter, name, knows))


def _delimiter(rows: Sequence[str], knows: Knows) -> str:
    """Return the delimiter that yields the most known columns in a line, or the most cells."""

    def worth(delimiter: str) -> tuple[int, int]:
        lines = [_cells(row, delimiter) for row in rows]
        return max(map(knows, lines), default=0), len(next(filter(_is_row, lines), ()))

    return max(_DELIMITERS, key=worth)


def _cells(row: str, delimiter: str) -> list[str]:
    """Split one line; a line that is not valid CSV has no cells."""
    try:
        return next(csv.reader([row], delimiter=delimiter), [])
    except csv.Error:
        return []


def _parted(
    rows: Sequence[str], first: int, delimiter: str, name: str, knows: Knows
) -> Iterator[Line]:
    # Titles are not CSV: a quotation mark in one would swallow the table.
    above = header_index([_cells(row, delimiter) for row in rows[first:][:_LINES_ABOVE]], knows)
    first += above
    reader = csv.reader(rows[first:], delimiter=delimiter, strict=True)
    yield from (Line(f"line {number}", [row]) for number, row in _titles(rows, first))
    try:
        for cells in reader:
            yield Line(f"line {first + reader.line_num}", cells)
    except csv.Error as error:
        place = f"line {first + reader.line_num}"
        raise ConfigError(f"{name}: {place}: not CSV: {error}") from None


def _titles(rows: Sequence[str], first: int) -> Iterator[tuple[int, str]]:
    """Return the lines above a header, except one that gives the delimiter."""
    return (
        (number, row)
        for number, row in enumerate(rows[:first], 1)
        if trimmed(row) and not trimmed(row).lower().strip('"').startswith("sep=")
    )
