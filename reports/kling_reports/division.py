"""Division of whole numbers, column by column: exact until a single rounding, without floats."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

WHOLE_PPM: Final = 1_000_000
"""The whole, in millionths of it."""


def divided(parts: pd.Series[Any], by: pd.Series[Any], *, times: int = 1) -> pd.Series[Any]:
    """Return `parts * times / by` to the nearest whole number, half up.

    Missing if either is missing, or if the divisor is zero.
    """
    found = [
        pd.NA if pd.isna(part) or pd.isna(count) or count <= 0 else _rounded(part, count, times)
        for part, count in zip(parts, by, strict=True)
    ]
    return pd.Series(pd.array(found, dtype="Int64"), parts.index)


def share_ppm(parts: pd.Series[Any], whole: pd.Series[Any]) -> pd.Series[Any]:
    """Return each part's share of a whole, in millionths."""
    return divided(parts, whole, times=WHOLE_PPM)


def _rounded(part: Any, by: Any, times: int) -> int:
    # Python's integers are unlimited: a product of two amounts can exceed 64 bits.
    return (2 * int(part) * times + int(by)) // (2 * int(by))
