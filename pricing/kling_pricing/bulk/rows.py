"""The distinct clips of a table, and which of them each row has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from kling_pricing.clip import CLIP_FIELDS, REQUIRED
from kling_pricing.errors import MISSING, ClipError, Problem
from kling_pricing.spellings import read_cell

Codes = npt.NDArray[Any]
"""One whole number per row: the index of its value in a list of values."""

_ALIKE: Final = frozenset({"string", "boolean", "integer", "empty"})
_NARROW: Final = 4096
_LARGEST_CODE: Final = 2**62


class Column(NamedTuple):
    """A column of a table: each distinct value once, and each row's index among them."""

    name: str
    codes: Codes
    values: Sequence[object]


def check_columns(frame: pd.DataFrame) -> None:
    """Raise ClipError for a table without a required column, or with the same one twice."""
    names = list(frame.columns)
    problems = [
        Problem(name, MISSING, "a column of the table") for name in REQUIRED if name not in names
    ]
    problems += [
        Problem(name, "the same column twice", "each column once")
        for name in CLIP_FIELDS
        if names.count(name) > 1
    ]
    if problems:
        raise ClipError(problems)


def read_column(name: str, column: pd.Series[Any]) -> Column:
    """Read each distinct value of a column once, as the Clip field of the same name."""
    codes, found = _codes(column)
    return Column(name, codes, [read_cell(name, _native(value)) for value in found])


def distinct(columns: Sequence[Column], *, rows: int) -> tuple[Codes, Codes]:
    """Number the distinct rows; return each row's number, and one example row for each number."""
    combined, size = np.zeros(rows, np.int64), 1
    for column in columns:
        # Many columns of many values would overflow 64 bits, so the numbers are compacted.
        if size * len(column.values) > _LARGEST_CODE:
            combined, examples = _renumbered(combined, size)
            size = len(examples)
        combined *= len(column.values)
        combined += column.codes
        size *= len(column.values)
    return _renumbered(combined, size)


def _renumbered(codes: Codes, size: int) -> tuple[Codes, Codes]:
    """Replace codes below `size` by numbers without holes."""
    rows = np.arange(len(codes))
    if size > max(4 * len(codes), _NARROW):
        numbers, found = pd.factorize(codes)
        examples = np.empty(len(found), np.int64)
        examples[numbers] = rows
        return numbers, examples
    example_of = np.full(size, -1, np.int64)
    example_of[codes] = rows
    used = np.flatnonzero(example_of >= 0)
    number_of = np.zeros(size, np.int64)
    number_of[used] = np.arange(len(used))
    return number_of[codes], example_of[used]


def clips_of(columns: Sequence[Column], examples: Codes) -> list[dict[str, Any]]:
    """Return the given fields of each distinct clip."""
    said = [[column.values[code] for code in column.codes[examples].tolist()] for column in columns]
    names = [column.name for column in columns]
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*said, strict=True)
    ]


def _native(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def _codes(column: pd.Series[Any]) -> tuple[Codes, Sequence[object]]:
    """Return a column as numbers and the values they stand for; None is a missing value."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy() + 1, [None, *column.cat.categories.tolist()]
    values = column.to_numpy() if isinstance(column.dtype, np.dtype) else None
    # Booleans and narrow integers are their own codes: hashing a million of them would take longer
    # than pricing them.
    if values is not None and values.dtype.kind == "b":
        return values.view(np.uint8), [False, True]
    if values is not None and values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < _NARROW:
            wide = values if values.dtype.itemsize == 8 else values.astype(np.int64)
            return (wide - wide.min()).astype(np.int64, copy=False), range(low, high + 1)
    if values is not None and values.dtype.kind == "O" and not _is_alike(column):
        return _mixed_codes(column)
    try:
        codes, found = pd.factorize(column)
    except (NotImplementedError, TypeError):
        # Lists and tables, which a Parquet file may hold, cannot be hashed.
        return _mixed_codes(column)
    return codes + 1, [None, *found.tolist()]


def _is_alike(column: pd.Series[Any]) -> bool:
    return pd.api.types.infer_dtype(column, skipna=True) in _ALIKE


def _mixed_codes(column: pd.Series[Any]) -> tuple[Codes, Sequence[object]]:
    """Number values of mixed types by type and repr: 1, 1.0 and True are three values."""
    numbers: dict[tuple[type, str], int] = {}
    found: list[object] = [None]
    codes = np.zeros(len(column), np.int64)
    for position, value in enumerate(column):
        if pd.api.types.is_scalar(value) and pd.isna(value):
            continue
        # By type and repr, because 1 == 1.0 == True but a Clip tells them apart.
        key = type(value), repr(value)
        if key not in numbers:
            numbers[key] = len(found)
            found.append(value)
        codes[position] = numbers[key]
    return codes, found
