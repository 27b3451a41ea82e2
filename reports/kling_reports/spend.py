"""Who spent what, on what: clips, failures, seconds and cost, by any of several questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

_PERIODS: Final = {"day": "%Y-%m-%d", "month": "%Y-%m"}


def spend(reservations: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Add reservations up by some of kling_reports.GROUPS and, always, by unit: units never mix.

    Columns: the groups, `unit`; `clips` committed, `failed`, `open`; `seconds` billed for the
    committed clips; `committed_micro`, `reserved_micro` still set aside; both in millionths.
    """
    frame = reservations.assign(
        **{name: reservations["created_at"].dt.strftime(form) for name, form in _PERIODS.items()}
    )
    committed = frame["state"] == "committed"
    counted = frame.assign(
        clips=committed.astype("int64"),
        failed=(~committed & ~frame["is_open"]).astype("int64"),
        open=frame["is_open"].astype("int64"),
        seconds=frame["billed_seconds"].where(committed, 0).fillna(0).astype("int64"),
        reserved_micro=frame["reserved_micro"].where(frame["is_open"], 0),
    )
    figures = ["clips", "failed", "open", "seconds", "committed_micro", "reserved_micro"]
    groups = [*by, "unit"]
    return counted.groupby(groups, dropna=False, sort=True, as_index=False)[figures].sum()
