"""Frames: rows of plain values as pandas columns, with one dtype for each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from kling_ledger.ledger.ids import from_us
from kling_pricing.errors import AmountError
from kling_reports.report import DTYPES, Kind

_LAST: Final = 2**63 - 1
_LAST_INSTANT: Final = 62 * 10**15
"""The microseconds from 1970 back to the year 6, and as far ahead: every calendar has these
dates."""

_MISSING: Final = -(2**63)
"""numpy's value for a missing instant."""


def frame_of(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """Return rows as a frame with exactly these columns, typed by their kinds."""
    return pd.DataFrame(
        {name: series_of((row[name] for row in rows), kind) for name, kind in kinds.items()}
    )


def frame_by_place(rows: Sequence[Sequence[Any]], kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """Return rows whose values are in the order of the columns as a frame of these columns."""
    columns: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else [()] * len(kinds)
    return pd.DataFrame(
        {
            name: series_of(values, kind)
            for (name, kind), values in zip(kinds.items(), columns, strict=True)
        }
    )


def series_of(values: Iterable[Any], kind: Kind) -> pd.Series[Any]:
    """Return values as a series of a kind; None is missing.

    An `instant` is given in microseconds since 1970, UTC. AmountError for a whole number that the
    database could not store exactly.
    """
    if kind == "instant":
        return _instants(list(values))
    if kind in {"date", "month"}:
        # Without values, pandas would make an object column: even an empty one gets its kind's
        # dtype.
        return pd.Series(pd.to_datetime(list(values))).astype(DTYPES[kind])
    read: Callable[[Any], Any] = {"text": str, "flag": bool}.get(kind, _whole)
    kept = list(values)
    if not _are_as_they_are_kept(kept, kind):
        kept = [None if value is None else read(value) for value in kept]
    # As objects: pandas turns integers into floats as soon as one is missing.
    return pd.Series(pd.array(kept, dtype=DTYPES[kind]))


def _are_as_they_are_kept(values: list[Any], kind: Kind) -> bool:
    """Whether no value needs conversion: checked for all at once, which costs almost nothing."""
    known = [value for value in values if value is not None]
    if kind == "text":
        return set(map(type, known)) <= {str}
    return kind != "flag" and _are_whole(known, most=_LAST)


def _are_whole(known: list[Any], *, most: int) -> bool:
    return set(map(type, known)) <= {int} and max(map(abs, known), default=0) <= most


def _instants(values: list[Any]) -> pd.Series[Any]:
    if _are_whole([value for value in values if value is not None], most=_LAST_INSTANT):
        whole = [_MISSING if value is None else value for value in values]
        instants = pd.Series(np.array(whole, "i8").view("M8[us]")).dt.tz_localize("UTC")
        return instants.astype(DTYPES["instant"])
    told: list[Any] = [None if value is None else from_us(int(value)) for value in values]
    return pd.Series(pd.to_datetime(told, utc=True)).astype(DTYPES["instant"])


def _whole(value: Any) -> int:
    whole = int(value)
    # Beyond 64 bits SQLite returns a float and PostgreSQL a decimal: neither counts as exact.
    if isinstance(value, float) or whole != value or abs(whole) > _LAST:
        raise AmountError("sum", got=str(value), allowed="at most 2**63 - 1 millionths")
    return whole
