"""Lot: one purchase as it was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pandas as pd

from kling_reports.doors.purchases import LOT_KINDS


@dataclass(frozen=True, slots=True)
class Lot:
    """One purchase; see purchases.LOT_KINDS. Unknown values are None."""

    transfer_id: str
    wallet: str
    wallet_id: str
    costing: str
    unit: str
    units_micro: int
    cash_micro: int
    tax_micro: int | None
    currency: str
    seller: str
    invoice: str | None
    bought_on: date
    expires_on: date | None
    period: str
    created_at: datetime
    recorded_at: datetime


def lots_of(frame: pd.DataFrame) -> list[Lot]:
    """Return the lots of a frame from purchases.lots, in its order."""
    columns = (frame[name].astype(object) for name in LOT_KINDS)
    return [Lot(*map(_plain, LOT_KINDS.values(), values)) for values in zip(*columns, strict=True)]


def _plain(kind: str, value: Any) -> Any:
    if pd.isna(value):
        return None
    return value.date() if kind == "date" else value
