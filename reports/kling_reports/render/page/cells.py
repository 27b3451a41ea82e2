"""The cells of a page: a value rounded as people write it, and the exact one on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from kling_pricing.money import plain
from kling_reports.amounts import lasting, short
from kling_reports.render.values import JOB, is_duration, nameless, shown, visible
from kling_reports.report import Cell, Column, Report, Table

_RATE: Final = "per_"
"""The prefix of money columns that are prices, such as a cost per second."""

_CHANGE: Final = "change_ppm"
"""The suffix of percentages that are growth: they are shown with their sign."""

_LARGE: Final = 1_000
_LITTLE: Final = Decimal("0.05")
"""Percentages from _LARGE up have no decimals; below _LITTLE, one significant digit."""

_PAD: Final = "\u2007"
"""A blank as wide as a digit."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The content of a cell: `text`, and `exact` if that was rounded."""

    text: str
    exact: str | None = None


def today_of(report: Report) -> date | None:
    """Return the day on which a report was made, in its zone; None if its time was already over."""
    ends = report.span.ends_at
    if report.period is not None or (ends is not None and ends <= report.generated_at):
        return None
    return report.generated_at.astimezone(ZoneInfo(report.timezone)).date()


def rows(table: Table, cells: Sequence[tuple[Cell, ...]], today: date | None) -> list[list[Shown]]:
    """Return rows of a table as a page shows them, with decimal points aligned."""
    found = [_named(table, row, today) for row in cells]
    for place, column in enumerate(table.columns):
        if column.kind == "money":
            _padded(found, place)
    return found


def totals(
    table: Table, cells: Sequence[tuple[Cell, ...]], today: date | None
) -> list[list[Shown]]:
    """Return totals of a table like `rows`; figures without a total and missing names are blank."""
    return [
        [cell(value, column, today) for value, column in zip(row, table.columns, strict=True)]
        for row in cells
    ]


def cell(value: Cell, column: Column, today: date | None = None) -> Shown:
    """Return one value as a page shows it, blank if unknown."""
    text = exact = visible(shown(value, column))
    if isinstance(value, Decimal) and column.kind == "money":
        text = short(value, is_rate=column.name.startswith(_RATE))
    elif isinstance(value, Decimal):
        text, exact = _percent(value), f"{plain(value * 100)} %"
        exact = text if _same(text, exact) else exact
        text, exact = (_signed(one, value, column) for one in (text, exact))
    elif isinstance(value, datetime):
        text = value.strftime("%Y-%m-%d %H:%M")
    elif isinstance(value, date) and _is_running(value, column, today):
        text = exact = f"{text} so far"
    elif isinstance(value, int) and is_duration(column):
        text, exact = lasting(value), f"{value:,} s"
    return Shown(text, None if text == exact else exact)


def _named(table: Table, row: tuple[Cell, ...], today: date | None) -> list[Shown]:
    names = [column.name for column in table.columns]
    # What is paid into a wallet belongs to no job, so it has no project to lack.
    is_of_a_job = JOB not in names or row[names.index(JOB)] is not None
    return [
        Shown(said)
        if value is None and is_of_a_job and (said := nameless(column.name))
        else cell(value, column, today)
        for value, column in zip(row, table.columns, strict=True)
    ]


def _padded(found: list[list[Shown]], place: int) -> None:
    after = [len(row[place].text.partition(".")[2]) for row in found if row[place].text]
    most = max(after, default=0)
    for row in found:
        one = row[place]
        if one.text:
            pad = _PAD * (most - len(one.text.partition(".")[2]))
            row[place] = Shown(one.text + pad, one.exact)


def _is_running(value: date, column: Column, today: date | None) -> bool:
    """Whether a month, a week or a day of a report is not over."""
    if today is None:
        return False
    if column.kind == "month":
        return (value.year, value.month) == (today.year, today.month)
    return value <= today < value + timedelta(days=_LENGTHS.get(column.name, 0))


_LENGTHS: Final = {"day": 1, "week": 7}


def _percent(share: Decimal) -> str:
    """Write a share in percent: one decimal, none from 1,000 % up, more for very small ones."""
    percent = share * 100
    if abs(percent) >= _LARGE:
        return f"{percent:,.0f} %"
    is_little = percent and abs(percent) < _LITTLE
    return f"{percent:.1g} %" if is_little else f"{percent:,.1f} %"


def _signed(text: str, value: Decimal, column: Column) -> str:
    return f"+{text}" if value > 0 and column.name.endswith(_CHANGE) else text


def _same(text: str, exact: str) -> bool:
    return Decimal(text[:-2].replace(",", "")) == Decimal(exact[:-2])
