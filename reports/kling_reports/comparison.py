"""Comparison: a period's figures beside those of the one before, unit by unit, like with like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from kling_reports.division import WHOLE_PPM, divided, share_ppm
from kling_reports.merging import merged
from kling_reports.report import UNIT, Column, Kind, Table, typed

FIGURES: Final[Mapping[str, tuple[str, Kind, str]]] = {
    "spent_micro": ("spent", "money", "committed less refunded"),
    "clips": ("clips", "integer", "jobs that ended and were charged"),
    "per_second_micro": ("cost per second", "money", "spent for each second of these clips"),
    "failed": ("failed", "integer", "jobs that ended with nothing made"),
    "failed_share_ppm": ("failure rate", "percent", "failed, as a share of what ended"),
}
"""What is compared: for each column of this period, its title, kind and meaning."""


def before(name: str) -> str:
    """Return the column's name for the period before: `spent_before_micro` for `spent_micro`."""
    return _named(name, "before")


def change(name: str) -> str:
    """Return the column of the change: relative to the period before, or in points for shares."""
    return f"{name.removesuffix('_micro').removesuffix('_ppm')}_change_ppm"


def _columns() -> tuple[Column, ...]:
    found = [Column(UNIT, "unit", "text")]
    for name, (title, kind, meaning) in FIGURES.items():
        points = "the difference of the two shares" if kind == "percent" else "of the one before"
        found += [
            Column(name, title, kind, meaning),
            Column(before(name), f"{title} before", kind, "in the period before"),
            Column(change(name), f"{title} change", "percent", points),
        ]
    return tuple(found)


def _named(name: str, word: str) -> str:
    for suffix in ("_micro", "_ppm"):
        if name.endswith(suffix):
            return f"{name.removesuffix(suffix)}_{word}{suffix}"
    return f"{name}_{word}"


COLUMNS: Final = _columns()


def added(spending: pd.DataFrame, words: list[str]) -> pd.DataFrame:
    """Sum the rows of reservations.spending by some of its columns, and by unit.

    Columns: `words`, `unit`, `clips`, `failed`, `jobs`, `spent_micro`, `cost_micro` (spent and
    still set aside), `seconds` (of charged clips, missing if any has none), `per_second_micro` and
    `failed_share_ppm`.
    """
    charged = spending["outcome"].isin(["accepted", "rejected"])
    jobs = spending["jobs"]
    counted = spending[[*words, UNIT]].assign(
        clips=jobs.where(charged, 0),
        failed=jobs.where(spending["outcome"] == "failed", 0),
        jobs=jobs,
        spent_micro=spending["spent_micro"],
        cost_micro=spending["spent_micro"] + spending["held_micro"],
        seconds=spending["seconds"].where(charged, 0).fillna(0),
        unknown=(charged & spending["seconds"].isna()).astype("Int64"),
    )
    rows = counted.groupby([*words, UNIT], dropna=False, sort=True, as_index=False).sum()
    rows["seconds"] = rows["seconds"].where(rows["unknown"] == 0)
    rows["per_second_micro"] = divided(rows["spent_micro"], rows["seconds"])
    rows["failed_share_ppm"] = share_ppm(rows["failed"], rows["clips"] + rows["failed"])
    return rows.drop(columns="unknown")


def comparison(this: pd.DataFrame, that: pd.DataFrame | None) -> Table:
    """Compare two spendings (see `added`, by unit only); None for one that is not fully known."""
    rows = added(this, [])
    if that is not None:
        rows = merged(rows, added(that, []), [UNIT], "outer")
        rows = rows.fillna({name: 0 for name in _COUNTED for name in (name, f"{name}_then")})
    for name, (_, kind, _) in FIGURES.items():
        then = rows[f"{name}_then"] if that is not None else _missing(rows)
        rows[before(name)] = then
        rows[change(name)] = (
            rows[name] - then if kind == "percent" else _grown(rows[name], then)
        ).astype("Int64")
    return Table(
        "comparison",
        "Beside the period before",
        COLUMNS,
        typed(rows, COLUMNS),
        empty="nothing was reserved",
    )


_COUNTED: Final = ("spent_micro", "clips", "failed")


def _grown(now: pd.Series[Any], then: pd.Series[Any]) -> pd.Series[Any]:
    """Return the relative growth of a figure above zero; missing for any other figure."""
    return divided(now - then, then, times=WHOLE_PPM)


def _missing(rows: pd.DataFrame) -> pd.Series[Any]:
    return pd.Series(pd.array([pd.NA] * len(rows), dtype="Int64"), rows.index)
