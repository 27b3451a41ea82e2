"""A table as the texts that a person reads, column by column, and the room they take.

The amounts of a column are padded after the decimal point, so that their points are aligned. How
much padding is needed depends on all rows, so they are read once for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd
from rich.cells import cell_len

from kling_reports.render.columns import once_each
from kling_reports.render.values import JOB, nameless, shown, visible
from kling_reports.report import Column, Table, cells

_GAP: Final = 2

Texts = list[list[str]]
"""Columns of texts, each on one line."""


class Measured:
    """A table, the longest text of each column, and the number of decimals of its amounts."""

    def __init__(self, table: Table, zone: str) -> None:
        self.table = table
        self.heads = [visible(column.title) for column in table.columns]
        self._zone = zone
        self._places = [0] * len(table.columns)
        longest = [0] * len(table.columns)
        whole = [0] * len(table.columns)
        for texts in self.all_texts():
            for at, column in enumerate(table.columns):
                distinct = set(texts[at])
                longest[at] = max(longest[at], *map(_length, distinct), 0)
                if column.kind == "money":
                    parts = [text.partition(".") for text in distinct]
                    whole[at] = max(whole[at], *(len(part[0]) for part in parts), 0)
                    self._places[at] = max(self._places[at], *(len(part[2]) for part in parts), 0)
        # The longest whole part and the most decimals may belong to different amounts.
        self.longest = [
            max(one, before + 1 + places if places else 0)
            for one, before, places in zip(longest, whole, self._places, strict=True)
        ]

    def natural_widths(self) -> list[int]:
        """Return the width of each column if nothing is folded, including the gap after it."""
        pairs = zip(map(cell_len, self.heads), self.longest, strict=True)
        return [max(pair) + _GAP for pair in pairs]

    def texts(self, frame: pd.DataFrame) -> Texts:
        """Return the texts of rows with the table's columns; a job without a project says so."""
        return self._texts(frame.assign(**dict(_nameless(frame))))

    def total_texts(self) -> Texts:
        """Return the texts of the totals; the first of each row marks it as one."""
        if self.table.totals is None:
            return [[] for _ in self.table.columns]
        first, *rest = self._texts(self.table.totals)
        return [[f"Total {text}".strip() for text in first], *rest]

    def all_texts(self) -> Iterator[Texts]:
        """Yield the texts of all rows and then of the totals, in batches."""
        yield from map(self.texts, self.table.batches())
        yield self.total_texts()

    def _texts(self, frame: pd.DataFrame) -> Texts:
        return [
            self._column(frame[column.name], column, places)
            for column, places in zip(self.table.columns, self._places, strict=True)
        ]

    def _column(self, values: pd.Series[Any], column: Column, places: int) -> list[str]:
        def told(value: Any) -> str:
            text = shown(value, column)
            return text + " " * (places - len(text.partition(".")[2])) if places else text

        write = _in_one_line if column.kind == "text" else told
        return once_each(cells(values, column.kind, self._zone), write, missing="")


def _nameless(frame: pd.DataFrame) -> Iterator[tuple[str, pd.Series[Any]]]:
    """Return the columns in which a job may lack a word, and the text shown instead."""
    # What is paid into a wallet belongs to no job, so it has no project to lack.
    is_of_a_job = frame[JOB].notna() if JOB in frame else True
    for name, values in frame.items():
        said = nameless(str(name))
        if said is not None:
            yield str(name), values.mask(values.isna() & is_of_a_job, said)


def _in_one_line(text: str) -> str:
    # Most texts are plain, and checking a million of them takes time.
    return text if text.isascii() and text.isprintable() else visible(text)


def _length(text: str) -> int:
    # Every printable ASCII character takes one place.
    return len(text) if text.isascii() else cell_len(text)
