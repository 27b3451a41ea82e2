"""A frame as plain rows: amounts as exact decimal strings, blanks as None."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kling_pricing.money import from_micro, plain

_MICRO = "_micro"


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows; a column `x_micro` of millionths becomes `x`, a decimal string."""
    return [
        {str(name).removesuffix(_MICRO): _value(name, value) for name, value in record.items()}
        for record in frame.to_dict("records")
    ]


def columns(frame: pd.DataFrame) -> list[str]:
    """Return the names of the columns that `rows` gives."""
    return [str(name).removesuffix(_MICRO) for name in frame.columns]


def _value(name: Any, value: Any) -> Any:
    if pd.isna(value):
        return None
    if str(name).endswith(_MICRO):
        return plain(from_micro(int(value)))
    return value.item() if hasattr(value, "item") else value
