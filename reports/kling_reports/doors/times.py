"""Times: a span as a condition in SQL, and stretches of the calendar as keys to add up by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.ids import first_id, from_us, to_us
from kling_ledger.ledger.windows import window_at
from kling_reports.currency import Conversion
from kling_reports.doors.sums import Key
from kling_reports.report import Span

_IN_TIME: Final = {"reservation": "created_at", "transfer": "id"}
"""The column whose index orders a table's rows by time."""


def within(span: Span, column: str = "created_at") -> str:
    """Write the condition that an instant lies in a span; the constants are our own integers."""
    conditions = ["1 = 1"]
    if span.starts_at is not None:
        conditions.append(f"{column} >= {to_us(span.starts_at)}")
    if span.ends_at is not None:
        conditions.append(f"{column} < {to_us(span.ends_at)}")
    return " AND ".join(conditions)


def posted_within(span: Span, transfer: str = "transfer") -> str:
    """Write the condition that a transfer lies in a span: its id begins with its instant."""
    conditions = [within(span, f"{transfer}.created_at")]
    if span.starts_at is not None:
        conditions.append(f"{transfer}.id >= '{first_id('txf', to_us(span.starts_at))}'")
    if span.ends_at is not None:
        conditions.append(f"{transfer}.id < '{first_id('txf', to_us(span.ends_at))}'")
    return " AND ".join(conditions)


def before(at: datetime | None, *, beyond: str) -> str:
    """Write the condition that a row came before an instant; `beyond` if there is none."""
    return beyond if at is None else f"created_at < {to_us(at)}"


def stretches(
    transaction: Transaction, bucket: str | None, *, zone: str, table: str, within: str
) -> Iterator[Key]:
    """Return the key `day` that groups the rows of a table into stretches of time.

    `bucket` is `day`, `week` or `month`; without it there is no key. A stretch is named by its
    first day in a zone. `within` is the condition for the requested time.
    """
    if bucket is None:
        return
    rows = f"SELECT created_at FROM {table} WHERE {within} ORDER BY {_IN_TIME[table]}"
    row = transaction.row(
        # Two index look-ups; MIN and MAX in one query would read the whole index.
        f"SELECT ({rows} LIMIT 1) AS first, ({rows} DESC LIMIT 1) AS last"
    )
    if row is None or row["first"] is None:
        yield Key("day", "0", "date", choices=(None,))
        return
    begins = list(starts(bucket, zone, first_us=int(row["first"]), last_us=int(row["last"])))
    days = tuple(_day(start, zone) for start in begins)
    yield Key("day", place_of(f"{table}.created_at", begins), "date", choices=days)


def rate_key(conversion: Conversion, column: str) -> Key:
    """Return the key `rate_at`: an instant with the same rates as a row's own."""
    begins = conversion.begins()
    return Key("rate_at", place_of(column, begins), "integer", choices=tuple(begins))


def starts(bucket: str, zone: str, *, first_us: int, last_us: int) -> Iterator[int]:
    """Return where each stretch begins, from the one with the first instant to the last one's.

    All in microseconds since 1970, UTC.
    """
    start, end = window_at(bucket, zone, first_us)
    while start <= last_us:
        yield start
        # Stretches differ in length (months, days with a clock change), so each end comes from the
        # calendar.
        start, end = end, window_at(bucket, zone, end)[1]


def place_of(column: str, begins: Sequence[int]) -> str:
    """Write, as nested conditions, which of some stretches an instant lies in.

    A year of days takes nine comparisons per row, and does not use either engine's own calendar,
    which lacks Python's time zones.
    """
    if len(begins) == 1:
        return "0"

    def place(low: int, high: int) -> str:
        if low == high:
            return str(low)
        middle = (low + high + 1) // 2
        lower, upper = place(low, middle - 1), place(middle, high)
        return f"CASE WHEN {column} < {begins[middle]} THEN {lower} ELSE {upper} END"

    return place(0, len(begins) - 1)


def _day(start_us: int, zone: str) -> date:
    return from_us(start_us).astimezone(ZoneInfo(zone)).date()
