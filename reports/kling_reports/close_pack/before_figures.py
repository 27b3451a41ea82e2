"""Before the four figures: the unchanged tables of months that were sealed in format 1 or 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import pandas as pd

from kling_reports.close_pack.sources import Sources
from kling_reports.doors import months
from kling_reports.report import UNIT, Column, Table, typed

_VARIANCE: Final = (
    Column("provider", "provider", "text"),
    Column("model", "model", "text"),
    Column(UNIT, "unit", "text"),
    Column("clips", "clips", "integer", adds_up=True),
    Column("quoted_micro", "quoted", "money", "what was set aside for them first", adds_up=True),
    Column("committed_micro", "committed", "money", "what they were charged", adds_up=True),
    Column("variance_micro", "variance", "money", "committed less quoted", adds_up=True),
)
_ACCRUALS: Final = (
    Column("reservation_id", "reservation", "text"),
    Column("created_at", "reserved at", "instant"),
    Column("amount_micro", "amount", "money", "what it held when the month ended", adds_up=True),
    Column(UNIT, "unit", "text"),
    Column("wallet", "wallet", "text"),
    Column("project", "project", "text"),
    Column("provider", "provider", "text"),
    Column("model", "model", "text"),
    Column("actor", "user", "text"),
)


def variance(of: Sources) -> Table:
    """Compare what was first held with what was charged, for clips whose charging ended."""
    ended = of.ended
    compared = ended.assign(
        clips=pd.Series(1, ended.index, "Int64"),
        variance_micro=ended["committed_micro"] - ended["quoted_micro"],
    )
    grouped = compared.groupby(["provider", "model", UNIT], dropna=False, as_index=False)
    added = grouped[[column.name for column in _VARIANCE if column.adds_up]].sum()
    return Table("variance", "Variance", _VARIANCE, typed(added, _VARIANCE))


def accruals(of: Sources) -> Table:
    """List what jobs still held when the month was closed (see months.accruals)."""
    held = months.accruals(of.database, of.month)
    return Table("accruals", "Accruals", _ACCRUALS, typed(held, _ACCRUALS))


def checks(
    of: Sources, tables: Mapping[str, Table], unit: str, held: int
) -> Iterator[tuple[str, int, int]]:
    """Return these tables' figures in a unit, each as in the journal and as in the pack."""
    del of
    frame = tables["accruals"].frame
    yield "accruals", held, int(frame.loc[frame[UNIT] == unit, "amount_micro"].sum())
