"""Where a table's cells are in a sheet, and the formulas over them.

What a sheet needs to know about all rows before the first is written is measured once, batch by
batch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from kling_reports.render.values import visible
from kling_reports.render.workbook.parts import MOST_ROWS, Part, parts_of
from kling_reports.report import UNIT, Cell, Column, Report, Table, rows_of

FIRST_YEAR: Final = 1901
"""The first year whose dates a sheet shows correctly; its 1900 has a day too many."""

Place = tuple[int, int]
"""Row and column of a cell, from zero."""

_LONGEST_NAME: Final = 31
_NOT_IN_NAMES: Final = re.compile(r"[\[\]:*?/\\']")


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table in a sheet, or a part of one: its title, its totals, its heads, its rows.

    `count` is the number of rows, `totals` has one row of sums per unit. `places` maps each column
    of the table to its column in the sheet. `inexact` names the columns with a text twin to their
    right; `largest` and `sample` determine the widths. `marks` is the hidden column that says which
    rows are shown, if there are several units to add up.
    """

    name: str
    table: Table
    count: int
    totals: pd.DataFrame | None
    places: tuple[int, ...]
    inexact: frozenset[str]
    largest: Mapping[str, int]
    sample: pd.DataFrame
    marks: int | None

    @property
    def head_row(self) -> int:
        """The row of the columns' heads."""
        return 2 + (0 if self.totals is None else len(self.totals))

    @property
    def first_row(self) -> int:
        """The first row of the table's own."""
        return self.head_row + 1

    @property
    def last_row(self) -> int:
        """The last row of the table's own; an empty table has one row, for its sentence."""
        return self.head_row + max(self.count, 1)

    @property
    def last_column(self) -> int:
        """The last visible column."""
        last = self.table.columns[-1]
        return self.places[-1] + (last.name in self.inexact)

    def total_rows(self, zone: str) -> Iterator[tuple[Cell, ...]]:
        """Return the totals as plain values."""
        return iter(()) if self.totals is None else rows_of(self.table.columns, self.totals, zone)

    def twins(self) -> Iterator[tuple[Column, int]]:
        """Return the columns whose amounts a cell cannot all hold, and where their twins are."""
        for column, place in zip(self.table.columns, self.places, strict=True):
            if column.name in self.inexact:
                yield column, place + 1

    def total_formula(self, place: int, total_row: int) -> str:
        """Return the sum of a column over the visible rows of the total's unit."""
        if self.marks is None:
            return f"=ROUND(SUBTOTAL(109,{self._rows(place)}),6)"
        is_unit = f"--EXACT({self._rows(self._unit)},{cell(total_row, self._unit)})"
        return f"=ROUND(SUMPRODUCT({is_unit},{self._rows(self.marks)},{self._rows(place)}),6)"

    def whole_sum(self, place: int, total_row: int) -> str:
        """Write, for another sheet, the sum of a column over all rows of the total's unit."""
        sheet = f"'{self.name}'!"
        if self.marks is None:
            return f"SUM({sheet}{self._rows(place)})"
        is_unit = f"--EXACT({sheet}{self._rows(self._unit)},{sheet}{cell(total_row, self._unit)})"
        return f"SUMPRODUCT({is_unit},{sheet}{self._rows(place)})"

    def mark_formula(self, row: int) -> str:
        """Return the formula for 1 if a filter shows a row, otherwise 0."""
        return f"=--(SUBTOTAL(103,{cell(row, 0)}:{cell(row, self.last_column)})>0)"

    @property
    def _unit(self) -> int:
        names = [column.name for column in self.table.columns]
        return self.places[names.index(UNIT)]

    def _rows(self, place: int) -> str:
        return f"{cell(self.first_row, place)}:{cell(self.last_row, place)}"


def laid_out(
    report: Report, taken: Collection[str], most_rows: int = MOST_ROWS
) -> tuple[Sheet, ...]:
    """Assign each table of a report a sheet with its own name, and its columns their places.

    Rows that do not fit in one sheet continue in another.
    """
    names = list(taken)
    sheets: list[Sheet] = []
    for table in report.tables:
        for part in parts_of(table, most_rows):
            names.append(_name(table.title, names))
            sheets.append(_sheet(names[-1], table, part))
    return tuple(sheets)


def cell(row: int, column: int) -> str:
    """Return a cell's fixed address: `$C$4` for row 3 and column 2."""
    letters, rest = "", column + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"${letters}${row + 1}"


def _sheet(name: str, table: Table, part: Part) -> Sheet:
    places, at = [], 0
    for column in table.columns:
        places.append(at)
        at += 1 + (column.name in part.inexact)
    units = 0 if part.totals is None else len(part.totals)
    has_unit = any(column.name == UNIT for column in table.columns)
    marks = at if units > 1 and has_unit else None
    return Sheet(
        name,
        table,
        part.count,
        part.totals,
        tuple(places),
        part.inexact,
        part.largest,
        part.sample,
        marks,
    )


def _name(title: str, taken: Collection[str]) -> str:
    """Return a sheet's name: at most 31 characters, without []:*?/\\', and unique.

    The part after a title's colon, such as its period, is dropped: it would be cut mid-word.
    """
    subject = visible(title).partition(": ")[0]
    plain = _NOT_IN_NAMES.sub(" ", subject).strip()[:_LONGEST_NAME] or "Table"
    name, count = plain, 1
    lowered = {one.lower() for one in taken} | {"history"}
    while name.lower() in lowered:
        count += 1
        name = f"{plain[: _LONGEST_NAME - 5]} ({count})"
    return name
