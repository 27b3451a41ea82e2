"""Sums: reservations added up by the database itself, in integers, by any keys.

What is only added up never leaves the database row by row: a report over a million reservations
reads a few thousand rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Row, Transaction
from kling_reports.frames import series_of
from kling_reports.report import Kind

_TABLE: Final = "report_sums"


@dataclass(frozen=True, slots=True)
class Key:
    """What rows are put together by: a column of the answer, its SQL, and what its values are.

    `choices` are what the numbers 0, 1, ... stand for, where the SQL gives such numbers; `read`
    makes a value of the answer from any other.
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
        """Return the values of this key, given as the database has them."""
        return series_of(map(self._value, found), self.kind)

    def _value(self, found: Any) -> Any:
        if self.choices:
            return self.choices[found]
        return None if found is None else self.read(found)


def selected(keys: Sequence[Key]) -> str:
    """Write keys as the columns of a SELECT."""
    return ", ".join(f"{key.sql} AS {key.name}" for key in keys)


def frame_by(keys: Sequence[Key], rows: Sequence[Row]) -> pd.DataFrame:
    """Return the rows of an answer as a frame with a column for each key."""
    return pd.DataFrame({key.name: key.series(rows) for key in keys})


def added_up(
    database: Database,
    transaction: Transaction,
    *,
    keys: Sequence[Key],
    figures: Mapping[str, str],
    condition: str,
) -> pd.DataFrame:
    """Add figures up by keys over the reservations for which a condition holds.

    `figures` are expressions in SQL by the names that they have in the answer. `jobs` counts the
    reservations behind each row. A figure is missing if it is missing in any of them: a sum of
    which a part is unknown is not known.
    """
    add = _add_on_sqlite if database.engine.dialect == "sqlite" else _add_in_sql
    rows = add(transaction, keys, {"jobs": "1", **figures}, condition)
    counted = [Key(name, "", "integer") for name in ("jobs", *figures)]
    return frame_by([*keys, *counted], rows)


def _add_in_sql(
    transaction: Transaction, keys: Sequence[Key], figures: Mapping[str, str], condition: str
) -> list[Row]:
    sums = ", ".join(
        # SUM passes over what is missing: without the two counts, half of a sum would be told.
        f"CASE WHEN COUNT({sql}) = COUNT(*) THEN SUM({sql}) END AS {name}"
        for name, sql in figures.items()
    )
    places = ", ".join(str(place) for place, _ in enumerate(keys, start=1))
    return transaction.rows(
        f"SELECT {selected(keys)}, {sums} FROM reservation WHERE {condition} GROUP BY {places}"
    )


def _add_on_sqlite(
    transaction: Transaction, keys: Sequence[Key], figures: Mapping[str, str], condition: str
) -> list[Row]:
    """Add up in a small table, group by group: SQLite would sort the whole table first.

    The table is in the connection's own temporary database and goes with the transaction, which
    writes nothing else. Keys that are small numbers share a column.
    """
    small = [key for key in keys if key.choices]
    large = [key for key in keys if not key.choices]
    names = ["place", *(key.name for key in large)]
    # A primary key has no NULL, and two NULLs are not equal: what is missing is an empty blob here.
    values = [_packed(small), *(f"ifnull({key.sql}, x'')" for key in large)]
    transaction.run(
        f"CREATE TEMP TABLE {_TABLE} ({', '.join([*names, *figures])},"
        f" PRIMARY KEY ({', '.join(names)})) WITHOUT ROWID"
    )
    # Adding NULL to a sum makes it NULL for good, which is what a figure with an unknown part is.
    transaction.run(
        f"INSERT INTO temp.{_TABLE} SELECT {', '.join([*values, *figures.values()])}"
        f" FROM reservation WHERE {condition} ON CONFLICT ({', '.join(names)}) DO UPDATE SET "
        + ", ".join(f"{name} = {name} + excluded.{name}" for name in figures)
    )
    whole = {key.name: f"nullif({key.name}, x'')" for key in large}
    columns = {**_unpacked(small), **whole}
    rows = transaction.rows(
        f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in columns.items())},"
        f" {', '.join(figures)} FROM temp.{_TABLE}"
    )
    # One transaction may answer several questions.
    transaction.run(f"DROP TABLE temp.{_TABLE}")
    return rows


def _packed(keys: Sequence[Key]) -> str:
    """Write several small numbers as one: digits of a number whose bases are the keys' choices."""
    packed = "0"
    for key in keys:
        packed = f"({packed}) * {len(key.choices)} + ({key.sql})" if packed != "0" else key.sql
    return packed


def _unpacked(keys: Sequence[Key]) -> dict[str, str]:
    """Write how to get each small number back from the one that they are packed in."""
    return dict(_digits(keys))


def _digits(keys: Sequence[Key]) -> Iterator[tuple[str, str]]:
    # The last key was packed last, so its digit is the lowest.
    below = 1
    for key in reversed(keys):
        yield key.name, f"place / {below} % {len(key.choices)}"
        below *= len(key.choices)
