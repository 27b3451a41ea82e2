"""Units: millionths of a priced manifest as plain decimals, for people and files."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from kling_pricing.money import from_micro, plain

IN_UNITS: Final = {
    "amount_micro": "amount",
    "low_micro": "low",
    "expected_micro": "expected",
    "usd_micro": "usd",
}
"""The columns of millionths, and their names once they are plain decimals."""


def in_units(frame: pd.DataFrame) -> pd.DataFrame:
    """Replace millionths by amounts in plain decimal text."""
    texts = {name: _as_text(frame[name]) for name in IN_UNITS if name in frame.columns}
    return frame.assign(**texts).rename(columns=IN_UNITS)


def _as_text(amounts: pd.Series[Any]) -> pd.Series[Any]:
    """Convert each distinct amount once: a manifest has few."""
    codes, found = pd.factorize(amounts)
    texts = [plain(from_micro(int(micro))) for micro in found.tolist()]
    written = pd.Categorical.from_codes(codes, pd.Index(texts, dtype=object))
    return pd.Series(written, index=amounts.index)
