"""Where a table's cells lie in a sheet, and the formulas over them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from kling_reports.render.values import visible
from kling_reports.report import UNIT, Cell, Column, Report, Table

MOST_ROWS: Final = 1_048_000
"""The rows that a sheet has for a table: 2**20 less what stands above it."""

FIRST_YEAR: Final = 1901
"""The first year whose dates a sheet tells right; 1900 has a day too many there."""

Place = tuple[int, int]
"""Row and column of a cell, from zero."""

_DIGITS: Final = 15
_LONGEST_NAME: Final = 31
_NOT_IN_NAMES: Final = re.compile(r"[\[\]:*?/\\']")


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table in a sheet: its title, a row of totals for each unit, its heads, its rows.

    `places` says in which column of the sheet each column of the table stands. `inexact` names the
    columns that have a twin of text to their right. `marks` is the hidden column that says which
    rows are shown, where there is more than one unit to add up.
    """

    name: str
    table: Table
    places: tuple[int, ...]
    inexact: frozenset[str]
    marks: int | None

    @property
    def head_row(self) -> int:
        """The row of the columns' heads."""
        return 2 + (0 if self.table.totals is None else len(self.table.totals))

    @property
    def first_row(self) -> int:
        """The first row of the table's own."""
        return self.head_row + 1

    @property
    def last_row(self) -> int:
        """The last row of the table's own; an empty table has one row, for its sentence."""
        return self.head_row + max(len(self.table.frame), 1)

    @property
    def last_column(self) -> int:
        """The last column that is not hidden."""
        last = self.table.columns[-1]
        return self.places[-1] + (last.name in self.inexact)

    def twins(self) -> Iterator[tuple[Column, int]]:
        """Return the columns whose amounts a cell cannot all hold, and where their twins stand."""
        for column, place in zip(self.table.columns, self.places, strict=True):
            if column.name in self.inexact:
                yield column, place + 1

    def total_formula(self, place: int, total_row: int) -> str:
        """Return the sum of a column over the rows that are shown, of the total's unit."""
        if self.marks is None:
            return f"=ROUND(SUBTOTAL(109,{self._rows(place)}),6)"
        is_unit = f"--EXACT({self._rows(self._unit)},{cell(total_row, self._unit)})"
        return f"=ROUND(SUMPRODUCT({is_unit},{self._rows(self.marks)},{self._rows(place)}),6)"

    def whole_formula(self, place: int, total_row: int) -> str:
        """Return, from another sheet, the sum of a column over all rows, of the total's unit."""
        sheet = f"'{self.name}'!"
        if self.marks is None:
            return f"=ROUND(SUM({sheet}{self._rows(place)}),6)"
        is_unit = f"--EXACT({sheet}{self._rows(self._unit)},{sheet}{cell(total_row, self._unit)})"
        return f"=ROUND(SUMPRODUCT({is_unit},{sheet}{self._rows(place)}),6)"

    def mark_formula(self, row: int) -> str:
        """Return 1 where a filter shows a row and 0 where it does not."""
        return f"=--(SUBTOTAL(103,{cell(row, 0)}:{cell(row, self.last_column)})>0)"

    @property
    def _unit(self) -> int:
        names = [column.name for column in self.table.columns]
        return self.places[names.index(UNIT)]

    def _rows(self, place: int) -> str:
        return f"{cell(self.first_row, place)}:{cell(self.last_row, place)}"


def laid_out(report: Report, taken: Collection[str]) -> tuple[Sheet, ...]:
    """Give each table of a report a sheet of its own name, and its columns their places."""
    names = list(taken)
    sheets = []
    for table in report.tables:
        names.append(_name(table.title, names))
        sheets.append(_sheet(names[-1], table))
    return tuple(sheets)


def is_exact(value: Cell) -> bool:
    """Whether a cell holds a number to its last digit: it has fifteen."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return True
    digits = "".join(map(str, Decimal(value).as_tuple().digits)).strip("0")
    return len(digits) <= _DIGITS


def cell(row: int, column: int) -> str:
    """Return a cell's fixed address: `$C$4` for row 3 and column 2."""
    letters, rest = "", column + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"${letters}${row + 1}"


def _sheet(name: str, table: Table) -> Sheet:
    inexact = frozenset(column.name for column in table.columns if not _holds(table, column))
    places, at = [], 0
    for column in table.columns:
        places.append(at)
        at += 1 + (column.name in inexact)
    units = 0 if table.totals is None else len(table.totals)
    has_unit = any(column.name == UNIT for column in table.columns)
    return Sheet(name, table, tuple(places), inexact, at if units > 1 and has_unit else None)


def _holds(table: Table, column: Column) -> bool:
    if not column.is_figure:
        return True
    frames = [frame for frame in (table.frame, table.totals) if frame is not None]
    # The scale moves the point and adds no digits: what is exact as a whole number stays exact.
    values: list[Any] = [value for one in frames for value in one[column.name].dropna().unique()]
    return all(is_exact(int(value)) for value in values)


def _name(title: str, taken: Collection[str]) -> str:
    """Return a sheet's name: at most 31 characters, without []:*?/\\', and no other sheet's."""
    plain = _NOT_IN_NAMES.sub(" ", visible(title)).strip()[:_LONGEST_NAME] or "Table"
    name, count = plain, 1
    lowered = {one.lower() for one in taken} | {"history"}
    while name.lower() in lowered:
        count += 1
        name = f"{plain[: _LONGEST_NAME - 4]} {count}"
    return name
