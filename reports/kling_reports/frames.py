"""Frames: rows of plain values as columns of pandas, each with the one dtype of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd

from kling_ledger.ledger.ids import from_us
from kling_pricing.errors import AmountError
from kling_reports.report import DTYPES, Kind

_LAST: Final = 2**63 - 1


def frame_of(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """Return rows as a frame with exactly these columns, typed by their kinds."""
    return pd.DataFrame(
        {name: series_of((row[name] for row in rows), kind) for name, kind in kinds.items()}
    )


def series_of(values: Iterable[Any], kind: Kind) -> pd.Series[Any]:
    """Return values as a series of a kind, where None is missing.

    An `instant` is given in microseconds since 1970, UTC. AmountError for a whole number that the
    database could not count exactly.
    """
    if kind in {"instant", "date", "month"}:
        return _times(list(values), kind)
    read: Callable[[Any], Any] = {"text": str, "flag": bool}.get(kind, _whole)
    # As objects: pandas would make floats of integers as soon as one among them is missing.
    kept: list[Any] = [None if value is None else read(value) for value in values]
    return pd.Series(pd.array(kept, dtype=DTYPES[kind]))


def days_of(instants: pd.Series[Any], zone: str) -> pd.Series[Any]:
    """Return the day, in a zone, of each instant of a column."""
    local = instants.dt.tz_convert(ZoneInfo(zone)).dt.tz_localize(None)
    days: pd.Series[Any] = local.dt.normalize().astype(DTYPES["date"])
    return days


def _times(values: list[Any], kind: Kind) -> pd.Series[Any]:
    is_instant = kind == "instant"
    if is_instant:
        values = [None if value is None else from_us(int(value)) for value in values]
    found: pd.Series[Any] = pd.Series(pd.to_datetime(values, utc=is_instant))
    # Of no values pandas makes objects: even an empty column has the dtype of its kind.
    return found.astype(DTYPES[kind])


def _whole(value: Any) -> int:
    whole = int(value)
    # Past 64 bits SQLite gives a float and PostgreSQL a decimal: neither is passed on as exact.
    if isinstance(value, float) or whole != value or abs(whole) > _LAST:
        raise AmountError("sum", got=str(value), allowed="at most 2**63 - 1 millionths")
    return whole
