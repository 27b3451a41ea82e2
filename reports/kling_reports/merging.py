"""Merging: two frames side by side, by what they have in common; empty ones too."""

from __future__ import annotations

from typing import Literal

import pandas as pd

How = Literal["left", "outer"]


def merged(
    left: pd.DataFrame, right: pd.DataFrame, on: list[str], how: How, *, then: str = "_then"
) -> pd.DataFrame:
    """Lay two frames side by side: missing is missing in both. `then` marks names of the right."""
    if left.empty and right.empty:
        # An empty text column has no chunk in Arrow, and pandas cannot join two of these.
        left, right = (frame.astype(dict.fromkeys(on, "object")) for frame in (left, right))
    return left.merge(right, how=how, on=on, suffixes=("", then), sort=how == "outer")
