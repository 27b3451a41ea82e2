"""Table: the rows of a file, each with its place, one by one or as frames of many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, TypeVar

from kling_ledger.errors import ConfigError
from kling_ledger.tabular.files import Kind

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS: Final = 50_000
"""How many rows are held in memory at once."""

One = TypeVar("One")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: its cells by column, or what is wrong with it.

    `place` says where it stands as a person would look for it: `line 3`, `entry 2`, `row 7`.
    """

    place: str
    cells: Mapping[str, Any]
    problem: str | None = None


class Table(Protocol):
    """An open file of rows."""

    name: str
    kind: Kind

    @property
    def columns(self) -> Sequence[str]:
        """Every column, in the order in which the file first names it."""

    def rows(self) -> Iterator[Row]:
        """Read row by row; what is wrong with one row does not end the others."""

    def frames(self) -> Iterator[pd.DataFrame]:
        """Read `CHUNK_ROWS` rows at a time; ConfigError for the first that is no row."""

    def share(self) -> float:
        """How far it is read, from 0 to 1."""


def whole(table: Table) -> Iterator[Row]:
    """Read row by row and refuse the file for the first that is no row, with its place."""
    for row in table.rows():
        if row.problem is not None:
            raise ConfigError(f"{table.name}: {row.place}: {row.problem}")
        yield row


def in_chunks(rows: Iterable[One]) -> Iterator[list[One]]:
    """Group rows by `CHUNK_ROWS`; the last group may be smaller, and none is empty."""
    some: list[One] = []
    for row in rows:
        some.append(row)
        if len(some) == CHUNK_ROWS:
            yield some
            some = []
    if some:
        yield some


def checked_columns(columns: Sequence[str], name: str) -> Sequence[str]:
    """Return the columns; ConfigError where one is there twice: its two cells may differ."""
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise ConfigError(f"{name}: the column {twice[0]} is there twice")
    return columns


def size_of(file: IO[bytes]) -> int:
    """Return how long an open file is, at least 1, so that a share of it can be told."""
    here = file.tell()
    size = file.seek(0, 2)
    file.seek(here)
    return max(size, 1)
