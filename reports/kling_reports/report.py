"""Report: what every question returns and every form is written from.

A report is a handful of tables with their question, their filters and what was assumed. A table is
a pandas frame, with columns that describe its figures. Nothing in it is formatted, rounded for
display, or a float: this file is all you need to write a form. A form is a module of `render/` with
`render(report) -> bytes`; the terminal's is `render(report, *, width, is_terminal) -> str`.

What a column's `kind` says of its values in the frame; any of them may be missing (`pd.NA`), and
then it is unknown or does not apply, never zero:

| kind      | dtype in the frame    | value                                     | `Table.rows` |
|-----------|-----------------------|-------------------------------------------|--------------|
| `text`    | `string`              | text                                      | `str`        |
| `flag`    | `boolean`             | yes or no                                 | `bool`       |
| `integer` | `Int64`               | a count                                   | `int`        |
| `seconds` | `Int64`               | whole seconds                             | `int`        |
| `money`   | `Int64`, `..._micro`  | millionths of the unit in column `unit`   | `Decimal`    |
| `percent` | `Int64`, `..._ppm`    | millionths of the whole: 125000 is 12.5 % | `Decimal`    |
| `instant` | `datetime64[us, UTC]` | an instant; shown in the report's zone    | `datetime`   |
| `date`    | `datetime64[s]`       | a day of the report's zone, at midnight   | `date`       |
| `month`   | `datetime64[s]`       | a month: its first day                    | `date`       |

A table of many rows has them in batches, each a frame like these: see Stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import pandas as pd

from kling_pricing.money import from_micro

Kind = Literal["text", "flag", "integer", "seconds", "money", "percent", "instant", "date", "month"]
"""What the values of a column are; the module's docstring lists all kinds."""

Cell = str | bool | int | Decimal | datetime | date | None
"""One value for a reader: money and percentages are exact, None is unknown."""

DTYPES: Final[Mapping[Kind, Any]] = {
    "text": "string",
    "flag": "boolean",
    "integer": "Int64",
    "seconds": "Int64",
    "money": "Int64",
    "percent": "Int64",
    "instant": "datetime64[us, UTC]",
    "date": "datetime64[s]",
    "month": "datetime64[s]",
}
"""The dtype in a frame for the values of each kind."""

UNIT: Final = "unit"
"""The column with the unit of a row's money: `USD`, `crun-credit`."""

_SUFFIXES: Final[Mapping[Kind, str]] = {"money": "_micro", "percent": "_ppm"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    `name` is the frame's; `title` is for people, `meaning` one sentence about it. A column that
    `adds_up` has the sum of its rows in the totals, per unit, and a spreadsheet may sum it. Any
    other figure of the totals is recomputed (a cost per clip) or missing.
    """

    name: str
    title: str
    kind: Kind
    meaning: str = ""
    adds_up: bool = False

    @property
    def key(self) -> str:
        """The name for programs, as in JSON and CSV: `committed` for `committed_micro`."""
        return self.name.removesuffix(_SUFFIXES.get(self.kind, ""))

    @property
    def is_figure(self) -> bool:
        """Whether its values are aligned at the right."""
        return self.kind in {"integer", "seconds", "money", "percent"}


OF_A_JOB: Final = (
    Column(UNIT, "unit", "text"),
    Column("wallet", "wallet", "text"),
    Column("project", "project", "text"),
    Column("provider", "provider", "text"),
    Column("model", "model", "text"),
    Column("task_id", "task", "text"),
    Column("actor", "user", "text"),
)
"""Who paid for a job, who made it and who asked for it: part of every list of jobs."""


@dataclass(frozen=True, slots=True)
class Picture:
    """How a table is best drawn, by the names of its columns; a form without pictures ignores it.

    `over_time`: bars of `value` along `x`, stacked by `series`, with those of `limit` behind them
    for comparison. `bars`: one bar of `value` for each `x`, grouped by `series`. `bullet`: `value`
    against `limit` for each `x`, `series` on top of it. Rows of different units never share an
    axis.
    """

    kind: Literal["over_time", "bars", "bullet"]
    x: str
    value: str
    series: str | None = None
    limit: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that it draws."""
        drawn = (self.x, self.value, self.series, self.limit)
        return tuple(name for name in drawn if name is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """The rows of a table that are never all in memory: how many, and how to read them again.

    `batches` yields frames with the table's columns, the same ones at each call, as long as the
    snapshot lasts.
    """

    count: int
    batches: Callable[[], Iterator[pd.DataFrame]]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A frame and what its columns are. The frame is never changed.

    If there is a `stream`, it has all rows, and the frame only the first: those that a person sees.
    To write all rows, use `batches`, `rows` and `count`.

    `totals` has the same columns and one row per unit (a single row if no column is money); figures
    without a total are missing. It is None if a total would mean nothing. `empty` is the sentence
    for people if there are no rows. `gives_way` names the columns that may be dropped if room is
    short, in that order; `aside` those that a terminal never shows.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    frame: pd.DataFrame
    totals: pd.DataFrame | None = None
    empty: str = "nothing to show"
    gives_way: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    picture: Picture | None = None
    stream: Stream | None = None

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        for frame in (self.frame, self.totals):
            if frame is not None and list(frame.columns) != names:
                raise ValueError(f"{self.name}: columns {list(frame.columns)}, declared {names}")
        if len({column.key for column in self.columns}) < len(names):
            raise ValueError(f"{self.name}: two columns have one key")
        for column in self.columns:
            dtype = str(self.frame[column.name].dtype)
            if dtype != DTYPES[column.kind]:
                raise ValueError(f"{self.name}: {column.name} is {dtype}, not a {column.kind}")
            if not column.name.endswith(_SUFFIXES.get(column.kind, "")):
                raise ValueError(f"{self.name}: {column.name} does not name its unit")
        if any(column.kind == "money" for column in self.columns) and UNIT not in names:
            raise ValueError(f"{self.name}: money without a column {UNIT!r}")
        drawn = self.picture.columns if self.picture is not None else ()
        if not set(drawn) <= set(names):
            raise ValueError(f"{self.name}: it draws {drawn}, declared {names}")
        if self.stream is not None and self.picture is not None:
            raise ValueError(f"{self.name}: a picture is of all rows, and nobody holds them")

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.frame) if self.stream is None else self.stream.count

    def batches(self) -> Iterator[pd.DataFrame]:
        """Yield all rows, in batches."""
        return iter((self.frame,)) if self.stream is None else self.stream.batches()

    def rows(self, zone: str = "UTC") -> Iterator[tuple[Cell, ...]]:
        """Return the rows as plain values, in the order of `columns`; instants in a zone."""
        for frame in self.batches():
            yield from rows_of(self.columns, frame, zone)

    def total_rows(self, zone: str = "UTC") -> Iterator[tuple[Cell, ...]]:
        """Return the totals in the form of `rows`; empty if there are none."""
        return iter(()) if self.totals is None else rows_of(self.columns, self.totals, zone)


@dataclass(frozen=True, slots=True)
class Span:
    """The time that a report is about, half-open; None means no end on that side."""

    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def __str__(self) -> str:
        start = "the beginning" if self.starts_at is None else self.starts_at.isoformat()
        end = "the end" if self.ends_at is None else self.ends_at.isoformat()
        return f"from {start} to {end}"


EVER: Final = Span()
"""All time."""


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """One answered question.

    `tables` begins with the main one: a form with a single table (CSV) writes that. `filters` are
    as given (`provider=crun`); `period` is a month of the journal instead of a span; `currency` is
    None if each amount is in its own unit; `notes` say what was assumed, left out or is unknown.
    `generated_at` is given by the caller: the same ledger at the same instant gives the same
    report. `ledger` is the ledger's name, empty if it has none.
    """

    name: str
    title: str
    question: str
    tables: tuple[Table, ...]
    generated_at: datetime
    span: Span = EVER
    period: str | None = None
    timezone: str = "UTC"
    filters: tuple[str, ...] = ()
    currency: str | None = None
    notes: tuple[str, ...] = ()
    ledger: str = ""

    @property
    def main(self) -> Table:
        """The table that answers the question."""
        return self.tables[0]

    def table(self, name: str) -> Table:
        """Return a table by its name; KeyError if there is none."""
        return {table.name: table for table in self.tables}[name]

    def only(self, name: str) -> Report:
        """Return the report with only one of its tables; KeyError if there is none."""
        return replace(self, tables=(self.table(name),))


def typed(frame: pd.DataFrame, columns: tuple[Column, ...]) -> pd.DataFrame:
    """Return the declared columns of a frame, in order and with the dtypes of their kinds."""
    return frame[[column.name for column in columns]].astype(
        {column.name: DTYPES[column.kind] for column in columns}
    )


def typed_totals(totals: pd.DataFrame, columns: tuple[Column, ...]) -> pd.DataFrame:
    """Return totals in the form of `typed`; columns that they lack are missing in each row."""
    return typed(totals.reindex(columns=[column.name for column in columns]), columns)


def rows_of(
    columns: tuple[Column, ...], frame: pd.DataFrame, zone: str
) -> Iterator[tuple[Cell, ...]]:
    """Return the rows of a frame in the form of `Table.rows`."""
    return zip(*(cells(frame[column.name], column.kind, zone) for column in columns), strict=True)


def cells(values: pd.Series[Any], kind: Kind, zone: str) -> list[Cell]:
    """Return a column as plain values, in the form of `Table.rows`; instants in a zone."""
    if kind == "instant":
        local = pd.DatetimeIndex(values.dt.tz_convert(ZoneInfo(zone)))
        return [None if value is pd.NaT else value for value in local.to_pydatetime()]
    if kind in {"date", "month"}:
        return [None if pd.isna(value) else value.date() for value in values]
    held: Any = values.array
    plain: list[Any] = held.to_numpy(dtype=object, na_value=None).tolist()
    if kind in {"money", "percent"}:
        # Prices come from a list, so many amounts are equal.
        known = {micro: None if micro is None else from_micro(micro) for micro in set(plain)}
        return [known[micro] for micro in plain]
    return plain
