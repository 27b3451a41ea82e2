"""What a picture of a table shows, before it is drawn: panels of one unit, added up exactly.

Values stay the whole numbers of the frame (millionths, if the column has these) until a drawing
turns them into lengths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import pandas as pd

from kling_reports.render.values import nameless
from kling_reports.report import UNIT, Column, Table

NOBODY: Final = "(none)"
"""Stands in a picture for a missing value."""

OTHERS: Final = "all others"
"""The last series of a picture with too many series: the sum of the rest."""

MOST_SERIES: Final = 8
MOST_BARS: Final = 12
MOST_BULLETS: Final = 30
_MOST_STEPS: Final = 120

_Sums = dict[tuple[Any, str], int]


@dataclass(frozen=True, slots=True)
class Panel:
    """One unit's part of a picture: `values` by place along it and by series.

    `unit` is None if the values are not money. `left_out` counts the places that did not fit,
    `beside` is what the values of each place are compared with.
    """

    unit: str | None
    places: tuple[Any, ...]
    values: Mapping[tuple[Any, str], int]
    left_out: int = 0
    beside: Mapping[Any, int] = field(default_factory=dict)

    def at(self, place: Any, series: Sequence[str]) -> list[int]:
        """Return the values of some series at one place; a missing one counts as zero."""
        return [self.values.get((place, one), 0) for one in series]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture that can be drawn: its panels share their series; `step` names a place in time.

    `running` is the place in time that is not over; `beside` is the column that the values are
    compared with, if any.
    """

    column: Column
    panels: tuple[Panel, ...]
    series: tuple[str, ...]
    step: str | None = None
    running: date | None = None
    beside: Column | None = None


@dataclass(frozen=True, slots=True)
class Bullet:
    """One limit: what counts against it, with what is laid on top."""

    name: str
    unit: str
    value: int
    on_top: int
    limit: int

    @property
    def used(self) -> int:
        """Everything that counts against the limit."""
        return self.value + self.on_top


def over_time(table: Table, today: date | None = None) -> Drawn | None:
    """Return the bars of a table along time, without gaps; None if there are none to draw.

    If there are too many, days are merged into weeks, and weeks into months. `today` is the day
    that is not over, if the table's time is not over.
    """
    picture = table.picture
    if picture is None or picture.kind != "over_time":
        return None
    column = _column(table, picture.value)
    sums = _sums(table, picture.x, picture.series, column, _day)
    beside = None if picture.limit is None else _column(table, picture.limit)
    then = {} if beside is None else _sums(table, picture.x, None, beside, _day)
    if not (sums or then) or not column.adds_up:
        return None
    days = sorted({place for one in (*sums.values(), *then.values()) for place, _ in one})
    step, places = _along(days, _column(table, picture.x).kind, len({*sums, *then}))
    began = {
        unit: _moved(sums.get(unit, {}), lambda day: _began(day, step))
        for unit in sorted({*sums, *then}, key=str)
    }
    series = _largest(began) or ("",)
    panels = [
        Panel(
            unit,
            tuple(places),
            _with_others(one, series),
            beside=_placed(_moved(then.get(unit, {}), lambda day: _began(day, step))),
        )
        for unit, one in began.items()
    ]
    running = None if today is None else _began(today, step)
    return Drawn(
        column, tuple(panels), series, step, running if running in places else None, beside
    )


def _along(days: Sequence[date], kind: str, panels: int) -> tuple[str, list[date]]:
    """Return the step in which some days are drawn, and the resulting places."""
    steps = ["month", "year"]
    if kind == "date":
        steps = ["week" if _are_weeks(days) else "day", "week", "month", "year"]
    for step in steps:
        places = list(_steps(days[0], days[-1], step))
        if len(places) * panels <= _MOST_STEPS:
            break
    return step, places


def _placed(sums: _Sums) -> dict[Any, int]:
    return {place: value for (place, _), value in sums.items()}


def _day(value: Any) -> date:
    day: date = value.date()
    return day


def bars(table: Table) -> Drawn | None:
    """Return the bars of a table, in its order; None if there are none to draw.

    If there are too many, the largest stay. Figures that do not add up are drawn only if each bar
    is one row. A unit with one bar, or only empty ones, compares nothing and is left out.
    """
    picture = table.picture
    if picture is None or picture.kind != "bars":
        return None
    column = _column(table, picture.value)
    rows = table.frame.dropna(subset=[picture.value])
    keys = [name for name in (picture.x, picture.series, _unit(table)) if name is not None]
    if rows.empty or (not column.adds_up and rows.duplicated(keys).any()):
        return None
    sums = _sums(table, picture.x, picture.series, column, str)
    compared = {unit: one for unit, one in sums.items() if len(one) > 1 and any(one.values())}
    if not compared:
        return None
    series = _largest(compared) if column.adds_up else tuple(_names(compared))
    panels = []
    for unit, one in sorted(compared.items()):
        places = list(dict.fromkeys(place for place, _ in one))
        kept = _largest_places(places, one)
        values = _with_others(one, series)
        panels.append(Panel(unit, kept, values, left_out=len(places) - len(kept)))
    return Drawn(column, tuple(panels), series)


def bullets(table: Table) -> list[Bullet]:
    """Return what counts against a table's limits, row by row; nothing for any other table."""
    picture = table.picture
    if picture is None or picture.kind != "bullet" or picture.limit is None:
        return []
    found = []
    for row in table.frame.to_dict("records"):
        value, limit = row[picture.value], row[picture.limit]
        on_top = 0 if picture.series is None else row[picture.series]
        if not (pd.isna(value) or pd.isna(limit) or pd.isna(on_top)):
            unit = str(row.get(UNIT, ""))
            found.append(
                Bullet(_named(row[picture.x], picture.x), unit, int(value), int(on_top), int(limit))
            )
    return found


def _column(table: Table, name: str) -> Column:
    return {column.name: column for column in table.columns}[name]


def _unit(table: Table) -> str | None:
    return UNIT if any(column.name == UNIT for column in table.columns) else None


def _sums(
    table: Table, x: str, series: str | None, column: Column, make: Callable[[Any], Any]
) -> dict[str | None, _Sums]:
    """Sum a column by unit, place and series; missing names get one, missing times are left out."""
    found: dict[str | None, _Sums] = defaultdict(lambda: defaultdict(int))
    unit = _unit(table) if column.kind == "money" else None
    names = dict.fromkeys(name for name in (x, series, unit, column.name) if name is not None)
    known = table.frame[list(names)].dropna(subset=[column.name])
    for row in (known if make is str else known.dropna(subset=[x])).to_dict("records"):
        place = _named(row[x], x) if make is str else make(row[x])
        name = "" if series is None else _named(row[series], series)
        found[None if unit is None else str(row[unit])][place, name] += int(row[column.name])
    return dict(found)


def _named(value: Any, column: str) -> str:
    if pd.isna(value):
        return nameless(column) or NOBODY
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat()
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _names(sums: Mapping[Any, _Sums]) -> dict[str, None]:
    return dict.fromkeys(name for one in sums.values() for _, name in one)


def _largest(sums: Mapping[Any, _Sums]) -> tuple[str, ...]:
    """Return the series, largest share of any unit first; beyond eight, the rest as one."""
    shares: dict[str, float] = defaultdict(float)
    for one in sums.values():
        whole = sum(map(abs, one.values())) or 1
        by_name: dict[str, int] = defaultdict(int)
        for (_, name), value in one.items():
            by_name[name] += abs(value)
        for name, value in by_name.items():
            shares[name] = max(shares[name], value / whole)
    ordered = sorted(shares, key=lambda name: (-shares[name], name))
    if len(ordered) <= MOST_SERIES:
        return tuple(ordered)
    return (*ordered[: MOST_SERIES - 1], OTHERS)


def _with_others(sums: _Sums, series: Sequence[str]) -> _Sums:
    kept: _Sums = defaultdict(int)
    for (place, name), value in sums.items():
        kept[place, name if name in series else OTHERS] += value
    return dict(kept)


def _largest_places(places: list[Any], sums: _Sums) -> tuple[Any, ...]:
    sizes: dict[Any, int] = defaultdict(int)
    for (place, _), value in sums.items():
        sizes[place] += abs(value)
    largest = set(sorted(places, key=lambda place: -sizes[place])[:MOST_BARS])
    return tuple(place for place in places if place in largest)


def _moved(sums: _Sums, make: Callable[[date], date]) -> _Sums:
    moved: _Sums = defaultdict(int)
    for (day, name), value in sums.items():
        moved[make(day), name] += value
    return dict(moved)


def _are_weeks(days: Sequence[date]) -> bool:
    return len(days) > 1 and all(day.weekday() == 0 for day in days)


def _began(day: date, step: str) -> date:
    if step == "week":
        return day - timedelta(days=day.weekday())
    if step == "month":
        return day.replace(day=1)
    return day.replace(month=1, day=1) if step == "year" else day


def _steps(first: date, last: date, step: str) -> Iterator[date]:
    day = _began(first, step)
    while day <= last:
        yield day
        day = _began(day + _STRIDES[step], step)


_STRIDES: Final[Mapping[str, timedelta]] = {
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=31),
    "year": timedelta(days=366),
}
"""Added to the beginning of any step, leads into the next one and not beyond."""
