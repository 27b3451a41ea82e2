"""Frames: rows as pandas has them, without a value that changes on the way in or out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from kling_ledger.tabular.cells import cell_text


def frame_of(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table of Python values; what a row does not say is None.

    Not from records: pandas would make floats of whole numbers beside a blank.
    """
    cells = {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in columns}
    return pd.DataFrame(cells)


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table with Python values; None for a blank."""
    columns = columns_of(frame)
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def columns_of(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the columns of a table as Python values; None for a blank."""
    return {str(name): _values(frame[name]) for name in frame.columns}


def _values(column: pd.Series[Any]) -> list[Any]:
    loose = column.astype(object)
    values = loose.where(column.notna(), None).tolist()
    if column.dtype == "Float64":
        # Seconds: 5 of them are 5, not 5.0.
        return [int(one) if one is not None and one == int(one) else one for one in values]
    return values


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Give every column one type that a Parquet file knows: text, where it is not clear."""
    loose = [
        str(name)
        for name, dtype in frame.dtypes.items()
        if pd.api.types.is_object_dtype(dtype) or isinstance(dtype, pd.CategoricalDtype)
    ]
    texts = {
        name: pd.Series(
            [None if value is None else str(cell_text(value)) for value in _values(frame[name])],
            dtype="string",
            index=frame.index,
        )
        for name in loose
    }
    return frame.assign(**texts)
