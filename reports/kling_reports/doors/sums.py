"""Sums: rows added up by the database itself, in integers, by any keys.

Rows that are only summed never leave the database: a report over a million reservations reads a few
thousand rows.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Row, Transaction
from kling_reports.frames import series_of
from kling_reports.report import Kind

_TABLE: Final = "report_sums"
_LONG: Final = 100_000
"""The number of rows from which a table is read in parts: for fewer, threads do not pay off."""
_BEFORE_ALL: Final = -(2**63)

THREADS: Final = min(os.cpu_count() or 1, 4)
"""The most parts."""


@dataclass(frozen=True, slots=True)
class Key:
    """What rows are grouped by: a column of the answer, its SQL, and the kind of its values.

    If the SQL yields the numbers 0, 1, ..., `choices` are what they stand for; `read` converts any
    other value.
    """

    name: str
    sql: str
    kind: Kind
    read: Callable[[Any], Any] = lambda value: value
    choices: tuple[Any, ...] = ()

    def series(self, rows: Sequence[Row]) -> pd.Series[Any]:
        """Return the values of this key in the rows of an answer."""
        return self.values(row[self.name] for row in rows)

    def values(self, found: Iterable[Any]) -> pd.Series[Any]:
        """Return the values of this key from those of the database."""
        return series_of(map(self._value, found), self.kind)

    def _value(self, found: Any) -> Any:
        if self.choices:
            return self.choices[found]
        return None if found is None else self.read(found)


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from: a table or a join, a condition, and the values that it names.

    `place` is an integer column, given if the whole table is read: it divides the rows among
    threads.
    """

    tables: str
    condition: str
    values: Mapping[str, Any] = field(default_factory=dict)
    place: str | None = None

    def __str__(self) -> str:
        return f"{self.tables} WHERE {self.condition}"

    def part(self, low: int, high: int) -> Source:
        """Return the rows from one place up to, but not including, another."""
        within = f"{self.place} >= {low} AND {self.place} < {high}"
        return replace(self, condition=f"{self.condition} AND {within}")


def selected(keys: Sequence[Key]) -> str:
    """Write keys as the columns of a SELECT."""
    return ", ".join(f"{key.sql} AS {key.name}" for key in keys)


def frame_by(keys: Sequence[Key], rows: Sequence[Row]) -> pd.DataFrame:
    """Return the rows of an answer as a frame with one column per key."""
    return pd.DataFrame({key.name: key.series(rows) for key in keys})


def added_up(
    database: Database,
    transactions: Sequence[Transaction],
    *,
    keys: Sequence[Key],
    figures: Mapping[str, str],
    source: Source,
) -> pd.DataFrame:
    """Sum figures by keys over the rows of a source, in transactions that all see the same state.

    `figures` maps names in the answer to SQL expressions. A sum is missing if it is missing in any
    row: with an unknown part, the sum is unknown.
    """
    if database.engine.dialect != "sqlite":
        rows = _add_in_sql(transactions[0], keys, figures, source)
    else:
        rows = _add_together(transactions, keys, figures, source)
    counted = [Key(name, "", "integer") for name in figures]
    return frame_by([*keys, *counted], rows)


def _add_together(
    transactions: Sequence[Transaction],
    keys: Sequence[Key],
    figures: Mapping[str, str],
    source: Source,
) -> list[Row]:
    """Add up in SQLite, which uses one processor per query: a long table is read in parts."""
    parts = _parts(transactions, source)
    if len(parts) == 1:
        return _add_on_sqlite(transactions[0], keys, figures, source)
    with ThreadPoolExecutor(len(parts)) as pool:
        found = pool.map(
            lambda one, part: _add_on_sqlite(one, keys, figures, part), transactions, parts
        )
        return _merged(chain.from_iterable(found), [key.name for key in keys], list(figures))


def _parts(transactions: Sequence[Transaction], source: Source) -> list[Source]:
    last = 0
    if source.place is not None and len(transactions) > 1:
        row = transactions[0].row(f"SELECT MAX({source.place}) AS last FROM {source.tables}")
        last = (row and row["last"]) or 0
    if last < _LONG:
        return [source]
    bounds = [last * number // len(transactions) + 1 for number in range(len(transactions) + 1)]
    # Everything before the first place belongs to the first part.
    return [source.part(low, high) for low, high in pairwise([_BEFORE_ALL, *bounds[1:]])]


def _merged(rows: Iterable[Row], keys: Sequence[str], figures: Sequence[str]) -> list[Row]:
    """Merge the parts' sums by key; if one part has an unknown sum, the result is unknown."""
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row[name] for name in keys)].append(row)
    return [
        {**same[0], **{name: _sum([row[name] for row in same]) for name in figures}}
        for same in found.values()
    ]


def _sum(parts: Sequence[int | None]) -> int | None:
    return None if None in parts else sum(part for part in parts if part is not None)


def _add_in_sql(
    transaction: Transaction, keys: Sequence[Key], figures: Mapping[str, str], source: Source
) -> list[Row]:
    sums = ", ".join(
        # SUM skips missing values: without the two counts, a partial sum would be returned.
        f"CASE WHEN COUNT({sql}) = COUNT(*) THEN SUM({sql}) END AS {name}"
        for name, sql in figures.items()
    )
    places = ", ".join(str(place) for place, _ in enumerate(keys, start=1))
    return transaction.rows(
        f"SELECT {selected(keys)}, {sums} FROM {source} GROUP BY {places}", **source.values
    )


def _add_on_sqlite(
    transaction: Transaction, keys: Sequence[Key], figures: Mapping[str, str], source: Source
) -> list[Row]:
    """Add up in a small table, group by group, because SQLite would first sort the whole table.

    The small table is in the connection's own temporary database and disappears with the
    transaction, which writes nothing else. Keys that are small numbers share a column.
    """
    small = [key for key in keys if key.choices]
    large = [key for key in keys if not key.choices]
    names = ["place", *(key.name for key in large)]
    # NULLs in a primary key are not equal: here an empty blob stands for a missing value.
    values = [_packed(small), *(f"ifnull({key.sql}, x'')" for key in large)]
    transaction.run(
        f"CREATE TEMP TABLE {_TABLE} ({', '.join([*names, *figures])},"
        f" PRIMARY KEY ({', '.join(names)})) WITHOUT ROWID"
    )
    # Adding NULL makes a sum NULL for good, as a sum with an unknown part should be.
    transaction.run(
        f"INSERT INTO temp.{_TABLE} SELECT {', '.join([*values, *figures.values()])}"
        f" FROM {source} ON CONFLICT ({', '.join(names)}) DO UPDATE SET "
        + ", ".join(f"{name} = {name} + excluded.{name}" for name in figures),
        **source.values,
    )
    whole = {key.name: f"nullif({key.name}, x'')" for key in large}
    columns = {**_unpacked(small), **whole}
    rows = transaction.rows(
        f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in columns.items())},"
        f" {', '.join(figures)} FROM temp.{_TABLE}"
    )
    # One transaction may answer several queries.
    transaction.run(f"DROP TABLE temp.{_TABLE}")
    return rows


def _packed(keys: Sequence[Key]) -> str:
    """Pack several small numbers into one: its digits, in the bases of the keys' choices."""
    packed = "0"
    for key in keys:
        packed = f"({packed}) * {len(key.choices)} + ({key.sql})" if packed != "0" else key.sql
    return packed


def _unpacked(keys: Sequence[Key]) -> dict[str, str]:
    """Write the SQL that unpacks each small number again."""
    return dict(_digits(keys))


def _digits(keys: Sequence[Key]) -> Iterator[tuple[str, str]]:
    # The last key was packed last, so its digit is the lowest.
    below = 1
    for key in reversed(keys):
        yield key.name, f"place / {below} % {len(key.choices)}"
        below *= len(key.choices)
