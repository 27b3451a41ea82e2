"""Table: the rows of a file, each with its place, one by one or as frames of many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar, runtime_checkable

from kling_ledger.errors import ConfigError
from kling_ledger.tabular.files import Kind

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS: Final = 25_000
"""How many rows are held in memory at once."""

CHUNK_BYTES: Final = 1 << 23
"""How much of a file is held in memory at once, about; one row may be as long."""

LOOKS_EVERY: Final = 16
"""After how many rows it is looked at how long they are."""

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
    """An open file of rows; `encoding` is what its text was written in.

    Where it `is_json`, cells are what JSON has, and a row may have columns that no other has.
    """

    name: str
    kind: Kind
    encoding: str
    is_json: bool

    @property
    def columns(self) -> Sequence[str]:
        """Every column, in the order in which the file first names it."""

    def rows(self) -> Iterator[Row]:
        """Read row by row; what is wrong with one row does not end the others."""

    def share(self) -> float:
        """How far it is read, from 0 to 1."""

    def read_bytes(self) -> int:
        """How many bytes of it are read."""


class Block(NamedTuple):
    """Some rows, `CHUNK_ROWS` at most, and by position what is wrong with those that are none."""

    frame: pd.DataFrame
    problems: Mapping[int, str]


@runtime_checkable
class TableOfColumns(Table, Protocol):
    """An open file of rows that all have the same columns, so that many are read at once."""

    def blocks(self) -> Iterator[Block]:
        """Read many rows at a time; none of the blocks is empty."""


def whole(table: Table) -> Iterator[Row]:
    """Read row by row and refuse the file for the first that is no row, with its place."""
    for row in table.rows():
        if row.problem is not None:
            raise ConfigError(f"{table.name}: {row.place}: {row.problem}")
        yield row


def in_chunks(rows: Iterable[One], read: Callable[[], int]) -> Iterator[list[One]]:
    """Group rows by `CHUNK_ROWS`, and by fewer where they are long; no group is empty.

    `read` says how many bytes of the file are read so far.
    """
    some: list[One] = []
    begun = read()
    for row in rows:
        some.append(row)
        is_long = len(some) % LOOKS_EVERY == 0 and read() - begun > CHUNK_BYTES
        if is_long or len(some) == CHUNK_ROWS:
            yield some
            some, begun = [], read()
    if some:
        yield some


def checked_columns(columns: Sequence[str], name: str) -> Sequence[str]:
    """Return the columns; ConfigError if one appears twice: its two cells may differ."""
    if (twice := first_repeated(columns)) is not None:
        raise ConfigError(f"{name}: the column {twice} appears twice")
    return columns


def first_repeated(names: Iterable[str]) -> str | None:
    """Return the first name that was there before, None where all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def size_of(file: IO[bytes]) -> int:
    """Return how long an open file is, at least 1, so that a share of it can be told."""
    here = file.tell()
    size = file.seek(0, 2)
    file.seek(here)
    return max(size, 1)
