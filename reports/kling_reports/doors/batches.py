"""Batches: the rows of one query as frames, a limited number at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_reports.frames import frame_by_place
from kling_reports.report import Kind

BATCH: Final = 5_000
"""How many rows are in memory at a time: a larger number is not faster."""


def batches(
    database: Database,
    statement: str,
    kinds: Mapping[str, Kind],
    *,
    size: int = BATCH,
    given: Mapping[str, Any] | None = None,
) -> Iterator[pd.DataFrame]:
    """Run a query whose columns are those of `kinds`, in order; no frame is empty."""
    with database.read() as transaction:
        for rows in transaction.batches(statement, size, **(given or {})):
            yield frame_by_place(rows, kinds)


def whole(found: Iterable[pd.DataFrame], kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """Return batches as one frame; it has the columns of `kinds` even if there are none."""
    frames = list(found)
    return pd.concat(frames, ignore_index=True) if frames else frame_by_place([], kinds)
