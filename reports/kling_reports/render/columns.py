"""A column as text for programs: `values.written` applied to all values at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from kling_pricing.money import from_micro, plain
from kling_reports.render.values import written
from kling_reports.report import Kind, cells

KEYS: Final = frozenset({"id", "reservation_id", "task_id"})
"""The columns that identify something of ours or of a provider: other programs search for these
exact values, so no form alters them."""

Text = TypeVar("Text", str, str | None)

_WHOLE_SECOND: Final = ".000000"


def texts(values: pd.Series[Any], kind: Kind, zone: str) -> list[str | None]:
    """Return a column of any kind but `flag` as in JSON and CSV; instants are in a zone."""
    if kind == "instant":
        return _instants(values, zone)
    if kind in {"money", "percent"}:
        micros = cells(values, "integer", zone)
        return once_each(micros, lambda micro: plain(from_micro(micro)), missing=None)
    found = cells(values, kind, zone)
    if kind == "text":
        return found  # type: ignore[return-value]
    if kind in {"date", "month"}:
        return once_each(found, lambda day: str(written(day, kind)), missing=None)
    return [None if value is None else str(value) for value in found]


def once_each(found: Iterable[Any], write: Callable[[Any], str], *, missing: Text) -> list[Text]:
    """Convert each distinct value once, because many are equal. None becomes `missing`."""
    kept = list(found)
    known = {value: missing if value is None else write(value) for value in set(kept)}
    return [known[value] for value in kept]


def _instants(values: pd.Series[Any], zone: str) -> list[str | None]:
    local = values.dt.tz_convert(ZoneInfo(zone)).dt.tz_localize(None).to_numpy("M8[us]")
    offsets = local - values.dt.tz_localize(None).to_numpy("M8[us]")
    known = {offset: _offset(offset) for offset in set(offsets.tolist())}
    told = zip(np.datetime_as_string(local).tolist(), offsets.tolist(), strict=True)
    return [
        None if offset is None else f"{text.removesuffix(_WHOLE_SECOND)}{known[offset]}"
        for text, offset in told
    ]


def _offset(offset: timedelta | None) -> str:
    """Write an offset like datetime: +01:00; with seconds for times before standard time."""
    at = datetime(2000, 1, 1, tzinfo=timezone(offset or timedelta()))
    return at.isoformat().removeprefix("2000-01-01T00:00:00")
