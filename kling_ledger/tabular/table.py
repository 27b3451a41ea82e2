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
"""The most rows held in memory at once."""

CHUNK_BYTES: Final = 1 << 23
"""About how many bytes of a file are held in memory at once; a single row may be as long."""

LOOKS_EVERY: Final = 16
"""After how many rows their length is checked."""

One = TypeVar("One")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: its cells by column, or what is wrong with it.

    `place` says where to look for it: `line 3`, `entry 2`, `row 7`.
    """

    place: str
    cells: Mapping[str, Any]
    problem: str | None = None


class Table(Protocol):
    """An open file of rows; `encoding` is that of its text.

    If it `is_json`, cells are JSON values, and a row may have columns that no other row has.
    """

    name: str
    kind: Kind
    encoding: str
    is_json: bool

    @property
    def columns(self) -> Sequence[str]:
        """Every column, in the order in which the file first names it."""

    def rows(self) -> Iterator[Row]:
        """Read row by row; a bad row does not stop the others."""

    def share(self) -> float:
        """How much has been read, from 0 to 1."""

    def read_bytes(self) -> int:
        """How many bytes have been read."""


class Block(NamedTuple):
    """Up to `CHUNK_ROWS` rows, and the problems of bad ones by position."""

    frame: pd.DataFrame
    problems: Mapping[int, str]


@runtime_checkable
class TableOfColumns(Table, Protocol):
    """An open file whose rows all have the same columns, so that many can be read at once."""

    def blocks(self) -> Iterator[Block]:
        """Read many rows at a time; no block is empty."""


def whole(table: Table) -> Iterator[Row]:
    """Read row by row; refuse the file at its first bad row, naming its place."""
    for row in table.rows():
        if row.problem is not None:
            raise ConfigError(f"{table.name}: {row.place}: {row.problem}")
        yield row


def in_chunks(rows: Iterable[One], read: Callable[[], int]) -> Iterator[list[One]]:
    """Group rows by `CHUNK_ROWS`, or by fewer if they are long; no group is empty.

    `read` returns how many bytes of the file have been read.
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
    """Return the first repeated name, or None if all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def size_of(file: IO[bytes]) -> int:
    """Return the length of an open file, at least 1, so that a share of it can be computed."""
    here = file.tell()
    size = file.seek(0, 2)
    file.seek(here)
    return max(size, 1)
