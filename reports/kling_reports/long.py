"""Long tables: in a snapshot, rows stay in the database until they are written out.

Outside of a snapshot they are read at once, because two reads could see two states of the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import pandas as pd

from kling_ledger.errors import LedgerError
from kling_ledger.ledger.engines.database import Database, Snapshot
from kling_reports.frames import frame_by_place
from kling_reports.report import Column, Stream, Table, typed

_HINT: Final = "kling-ledger verify"


def nothing(columns: Sequence[Column]) -> pd.DataFrame:
    """Return a frame with the columns of a table and no rows."""
    return frame_by_place([], {column.name: column.kind for column in columns})


def filled(
    table: Table,
    database: Database,
    *,
    count: int,
    size: int,
    batches: Callable[[], Iterator[pd.DataFrame]],
) -> Table:
    """Return an empty table filled with its `count` rows; the batches have at least its columns.

    The frame has the first `size` rows if the rest stays in the database, otherwise all rows.
    """

    def read() -> Iterator[pd.DataFrame]:
        return (typed(frame, table.columns) for frame in batches() if len(frame))

    if isinstance(database, Snapshot) and size < count:
        stream = Stream(count, lambda: _all(read(), count))
        return replace(table, frame=_first(read(), size), stream=stream)
    frames = list(read())
    return replace(table, frame=pd.concat(frames, ignore_index=True)) if frames else table


def _first(frames: Iterator[pd.DataFrame], size: int) -> pd.DataFrame:
    """Return the first rows, from several batches if filters left few rows in each."""
    found: list[pd.DataFrame] = []
    for frame in frames:
        found.append(frame)
        if sum(map(len, found)) >= size:
            break
    return pd.concat(found, ignore_index=True).head(size)


def _all(frames: Iterator[pd.DataFrame], count: int) -> Iterator[pd.DataFrame]:
    """Yield frames; LedgerError if they do not have as many rows as were counted before."""
    found = 0
    for frame in frames:
        found += len(frame)
        yield frame
    if found != count:
        raise LedgerError(f"{found} rows were read where {count} were counted", hint=_HINT)
