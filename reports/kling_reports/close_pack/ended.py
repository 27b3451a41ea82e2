"""Ended: the clips whose charging ended in a month, from the history of the jobs it touched."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from kling_reports.moves import CHARGING, into_reserved
from kling_reports.report import UNIT

WORDS: Final = ("provider", "model", UNIT, "quoted_micro")
"""What is kept of each job besides its id and its figures."""


def ended_in(touched: pd.DataFrame, month: str) -> pd.DataFrame:
    """Return the jobs whose charging ended in a month, with `id`, WORDS and `committed_micro`.

    `touched` is the history up to the month (see journal.lines) of the jobs that it touched. What
    was charged before a job was reopened came back, and is left out.
    """
    charged = touched["amount_micro"].where(touched["kind"].isin(CHARGING) & ~_undone(touched), 0)
    held = into_reserved(touched)
    is_before = touched["period"] < month
    figures = {
        "committed_micro": charged,
        "held": held,
        "charged_before": charged.where(is_before, 0),
        "held_before": held.where(is_before, 0),
    }
    words = list(WORDS)
    lines = pd.DataFrame({"id": touched["reservation_id"], **touched[words], **figures})
    jobs = lines[lines["id"].notna()].groupby(["id", *words], dropna=False, as_index=False).sum()
    # A refund or an overrun touches a job again that an earlier month has already compared.
    was_over = (jobs["held_before"] == 0) & (jobs["charged_before"] > 0)
    return jobs[(jobs["held"] == 0) & (jobs["committed_micro"] > 0) & ~was_over]


def _undone(touched: pd.DataFrame) -> pd.Series[Any]:
    """Return whether a line precedes the reopening of its job: what it charged came back."""
    opened = touched["id"].where(touched["kind"] == "reopen")
    last = touched["reservation_id"].map(opened.groupby(touched["reservation_id"]).max())
    return (touched["id"] < last).fillna(value=False).astype(bool)
