"""Merging: joins two frames by their common columns; empty ones too."""

from __future__ import annotations

from typing import Literal

import pandas as pd

How = Literal["left", "outer"]


def merged(
    left: pd.DataFrame, right: pd.DataFrame, on: list[str], how: How, *, then: str = "_then"
) -> pd.DataFrame:
    """Join two frames side by side; missing equals missing. `then` marks names of the right one."""
    if left.empty and right.empty:
        # An empty text column has no Arrow chunk, and pandas cannot join two of these.
        left, right = (frame.astype(dict.fromkeys(on, "object")) for frame in (left, right))
    return left.merge(right, how=how, on=on, suffixes=("", then), sort=how == "outer")
