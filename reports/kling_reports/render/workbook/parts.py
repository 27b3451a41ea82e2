"""Parts: how a table is split among sheets, and what each must know before its first row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pandas as pd

from kling_reports.report import UNIT, Cell, Table, typed_totals

MOST_ROWS: Final = 1_048_000
"""The rows that a sheet has for a table: 2**20 less those above it."""

_DIGITS: Final = 15
_SAMPLE: Final = 1_000
"""How many rows determine the width of a text column: the others are similar."""


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a table in one sheet: how many, and what they add up to.

    `inexact` names the columns with amounts that a cell cannot hold to the last digit; `largest`
    has the largest absolute amount of each; `sample` has the first rows. All three belong to the
    whole table and are the same in each part.
    """

    count: int
    totals: pd.DataFrame | None
    inexact: frozenset[str]
    largest: Mapping[str, int]
    sample: pd.DataFrame


def parts_of(table: Table, most_rows: int) -> list[Part]:
    """Measure a table and split its rows among as many sheets as needed."""
    sizes = [min(most_rows, table.count - at) for at in range(0, table.count, most_rows)] or [0]
    figures = [column.name for column in table.columns if column.is_figure]
    measured = _Measured(figures)
    sums: list[list[pd.DataFrame]] = [[] for _ in sizes]
    for part, frame in parted(table.batches(), sizes):
        measured.add(frame)
        if len(sizes) > 1:
            sums[part].append(_added(table, frame))
    totals = [_totals(table, one) for one in sums] if len(sizes) > 1 else [table.totals]
    for one in (*totals, table.totals):
        if one is not None:
            measured.add(one)
    known = (frozenset(measured.inexact), measured.largest, measured.sample(table.frame))
    return [Part(size, one, *known) for size, one in zip(sizes, totals, strict=True)]


def parted(
    frames: Iterator[pd.DataFrame], sizes: Sequence[int]
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield frames with the part that each belongs to, cut where a part ends."""
    part, room = 0, sizes[0]
    for frame in frames:
        begins = 0
        while begins < len(frame):
            if not room:
                part, room = part + 1, sizes[part + 1]
            ends = min(begins + room, len(frame))
            yield part, frame.iloc[begins:ends]
            begins, room = ends, room - (ends - begins)


def is_exact(value: Cell) -> bool:
    """Whether a cell holds a number to its last digit: a cell has fifteen."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return True
    digits = "".join(map(str, Decimal(value).as_tuple().digits)).strip("0")
    return len(digits) <= _DIGITS


class _Measured:
    """What is known of some whole-number columns after each of their frames."""

    def __init__(self, names: Sequence[str]) -> None:
        self.inexact: set[str] = set()
        self.largest = dict.fromkeys(names, 0)
        self._first: list[pd.DataFrame] = []

    def sample(self, none: pd.DataFrame) -> pd.DataFrame:
        """Return the first rows, or an empty frame."""
        return pd.concat(self._first, ignore_index=True) if self._first else none

    def add(self, frame: pd.DataFrame) -> None:
        """Measure some more rows."""
        room = _SAMPLE - sum(map(len, self._first))
        if room > 0:
            self._first.append(frame.head(room))
        for name in self.largest:
            values: pd.Series[Any] = frame[name].dropna()
            if values.empty:
                continue
            largest = max(int(values.max()), -int(values.min()))
            self.largest[name] = max(self.largest[name], largest)
            # The scale moves the point and adds no digits: an exact whole number is an exact amount
            # too.
            if largest >= 10**_DIGITS and not all(map(is_exact, values.unique().tolist())):
                self.inexact.add(name)


def _added(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    if table.totals is None or UNIT not in frame:
        return frame.head(0)
    names = [column.name for column in table.columns if column.adds_up]
    return frame.groupby(UNIT, as_index=False)[names].sum()


def _totals(table: Table, sums: Sequence[pd.DataFrame]) -> pd.DataFrame | None:
    """Return the totals of a part, in the table's form; figures that do not add up are missing."""
    if table.totals is None or UNIT not in table.totals:
        return None
    names = [column.name for column in table.columns if column.adds_up]
    by_unit = pd.concat(sums, ignore_index=True).groupby(UNIT)[names].sum()
    units = pd.Index(table.totals[UNIT], name=UNIT)
    return typed_totals(by_unit.reindex(units, fill_value=0).reset_index(), table.columns)
