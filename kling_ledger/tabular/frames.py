"""Frames: rows as pandas tables, with no value changed on the way in or out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from kling_ledger.tabular.cells import cell_text


def frame_of(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table of Python values; a missing cell is None.

    Not from records: pandas would turn whole numbers beside a blank into floats.
    """
    cells = {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in columns}
    return pd.DataFrame(cells)


def frame_of_texts(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return rows of texts, all as wide as `columns`, as a table."""
    cells = zip(*rows, strict=True) if rows else [()] * len(columns)
    named = zip(columns, cells, strict=True)
    return pd.DataFrame({name: _column_of_texts(texts) for name, texts in named})


def _column_of_texts(texts: Sequence[str]) -> pd.Series[Any]:
    """Return a column of texts, each stored once if many are equal."""
    column = pd.Series(texts, dtype=object)
    codes, found = pd.factorize(column)
    if len(found) > len(texts) // 2:
        return column
    return pd.Series(pd.Categorical.from_codes(codes, pd.Index(found, dtype=object)))


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table with Python values; None for a blank."""
    columns = columns_of(frame)
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def columns_of(
    frame: pd.DataFrame, written: Callable[[Any], Any] | None = None
) -> dict[str, list[Any]]:
    """Return the columns of a table as Python values; None for a blank.

    `written` converts a value; it is called once for values known to be equal.
    """
    return {str(name): _values(frame[name], written) for name in frame.columns}


def _values(column: pd.Series[Any], written: Callable[[Any], Any] | None = None) -> list[Any]:
    distinct = _distinct(column)
    if distinct is None:
        loose = column.astype(object)
        values = loose.where(column.notna(), None).tolist()
        return values if written is None else list(map(written, values))
    codes, found = distinct
    if column.dtype == "Float64":
        # Seconds: 5, not 5.0.
        found = [int(one) if one == int(one) else one for one in found]
    # Last, because a blank has code -1.
    texts = [*found, None] if written is None else [*map(written, found), written(None)]
    return pd.Series(texts, dtype=object).to_numpy()[codes].tolist()  # type: ignore[no-any-return]


def _distinct(column: pd.Series[Any]) -> tuple[Any, list[Any]] | None:
    """Return a column as numbers and the values they stand for; None if equal values may differ."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(), column.cat.categories.tolist()
    # To Python 1, 1.0 and True are equal: values are equal for certain only within one type.
    if isinstance(column.dtype, (pd.Int64Dtype, pd.Float64Dtype)):
        codes, found = pd.factorize(column)
        return codes, found.tolist()
    return None


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Give every column one type that Parquet knows: text, if the type is unclear."""
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
