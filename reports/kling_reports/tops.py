"""Tops: the largest spenders of one kind, the rest as one row, and the total."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from kling_reports.comparison import added
from kling_reports.division import WHOLE_PPM, divided, share_ppm
from kling_reports.merging import merged
from kling_reports.report import UNIT, Column, Picture, Table, typed, typed_totals

MOST: Final = 10
"""How many names have their own row, in each unit."""

_FIGURES: Final = (
    Column(UNIT, "unit", "text"),
    Column("spent_micro", "spent", "money", "committed less refunded", adds_up=True),
    Column("share_ppm", "share", "percent", "of all that was spent in this unit"),
    Column("before_micro", "before", "money", "spent in the period before", adds_up=True),
    Column("change_ppm", "change", "percent", "of what was spent in the period before"),
    Column("clips", "clips", "integer", "jobs that ended and were charged", adds_up=True),
    Column("failed", "failed", "integer", "jobs that ended with nothing made", adds_up=True),
)
_ADDED: Final = ("spent_micro", "before_micro", "clips", "failed")
_GIVES_WAY: Final = ("before_micro", "failed", "clips", "change_ppm", "share_ppm")


def top(
    this: pd.DataFrame, that: pd.DataFrame | None, source: str, *, word: str, title: str
) -> Table:
    """Return the MOST largest values of a column in two spendings, by unit; the rest is "others".

    `that` is the period before, None if it is not completely known. The table's name is the plural
    of `word`, which names the column.
    """
    rows = beside(this, that, [source]).rename(columns={source: word})
    columns = (Column(word, word, "text"), *_FIGURES)
    kept = [_shortened(one, word) for _, one in rows.groupby(UNIT, sort=True)]
    shown = pd.concat(kept, ignore_index=True) if kept else rows
    totals = rows.groupby(UNIT, sort=True, as_index=False)[list(_ADDED)].sum(min_count=1)
    whole = shown[UNIT].map(totals.set_index(UNIT)["spent_micro"]).astype("Int64")
    shown["share_ppm"] = share_ppm(shown["spent_micro"], whole)
    for frame in (shown, totals):
        frame["change_ppm"] = grown(frame)
    return Table(
        f"{word}s",
        title,
        columns,
        typed(shown, columns),
        totals=typed_totals(totals, columns),
        empty="nothing was reserved",
        gives_way=_GIVES_WAY,
        picture=Picture("bars", x=word, value="spent_micro"),
    )


def beside(this: pd.DataFrame, that: pd.DataFrame | None, words: list[str]) -> pd.DataFrame:
    """Sum two spendings by some columns; `before_micro` is what the other one spent."""
    rows = added(this, words)
    if that is None:
        return rows.assign(before_micro=pd.Series(pd.NA, rows.index, dtype="Int64"))
    then = added(that, words)[[*words, UNIT, "spent_micro"]]
    both = merged(
        rows, then.rename(columns={"spent_micro": "before_micro"}), [*words, UNIT], "outer"
    )
    return both.fillna(dict.fromkeys(_ADDED, 0))


def grown(rows: pd.DataFrame) -> pd.Series[Any]:
    """Return the relative growth of spending; missing if nothing was spent before."""
    return divided(
        rows["spent_micro"] - rows["before_micro"], rows["before_micro"], times=WHOLE_PPM
    )


def _shortened(rows: pd.DataFrame, word: str) -> pd.DataFrame:
    ordered = rows.sort_values(["spent_micro", word], ascending=[False, True], ignore_index=True)
    if len(ordered) <= MOST + 1:
        return ordered
    rest = ordered.iloc[MOST:]
    others = {word: f"({len(rest):,} others)", UNIT: rest[UNIT].iloc[0]}
    sums = {name: rest[name].sum(min_count=1) for name in _ADDED}
    one = pd.DataFrame([{**others, **sums}]).astype(rest[[word, UNIT, *_ADDED]].dtypes)
    return pd.concat([ordered.head(MOST), one], ignore_index=True)
