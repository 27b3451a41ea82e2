"""Long tables: in a snapshot their rows stay in the database and are read when they are written.

Outside of one they are read at once: two readings could find two states of the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pandas as pd

from kling_ledger.ledger.engines.database import Database, Snapshot
from kling_reports.frames import frame_by_place
from kling_reports.report import Column, Stream, Table, typed


def nothing(columns: Sequence[Column]) -> pd.DataFrame:
    """Return a frame with the columns of a table and no rows."""
    return frame_by_place([], {column.name: column.kind for column in columns})


def filled(
    table: Table,
    database: Database,
    *,
    count: int,
    batches: Callable[[], Iterator[pd.DataFrame]],
) -> Table:
    """Return an empty table with its rows, `count` of them, whose columns are among the batches'.

    The frame has the first batch where the rest stays in the database, else all rows.
    """

    def read() -> Iterator[pd.DataFrame]:
        return (typed(frame, table.columns) for frame in batches() if len(frame))

    if isinstance(database, Snapshot):
        first = next(read(), table.frame)
        if len(first) < count:
            return replace(table, frame=first, stream=Stream(count, read))
        return replace(table, frame=first)
    frames = list(read())
    return replace(table, frame=pd.concat(frames, ignore_index=True)) if frames else table
