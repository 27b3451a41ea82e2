"""Figures: the four figures of jobs and the ranges of accruals, in packs from format 3 on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.states import State
from kling_reports import accruals as ranges
from kling_reports import variance as nearness
from kling_reports.close_pack.sources import Sources
from kling_reports.doors import as_of
from kling_reports.groups import read_groups
from kling_reports.report import UNIT, Table, typed

_VARIANCE: Final = (
    *("provider", "model", UNIT, "clips", "quoted_micro", "estimated_micro", "held_micro"),
    *("settled_micro", "variance_micro", "unquoted", "confirmed_clips", "compared", "exact"),
)
"""The columns of a pack's variance, even if today's report has more."""


def variance(of: Sources) -> Table:
    """Compare the four figures of clips whose charging ended, as known at the month's end."""
    ended = _ended(of)
    compared = nearness.variance(
        ended.assign(
            jobs=pd.Series(1, ended.index, "Int64"),
            state=pd.Series(str(State.COMMITTED), ended.index, "string"),
            reserved_micro=ended["most_micro"],
            committed_micro=ended["charged_micro"],
        ),
        read_groups(("provider", "model")),
    )
    kept = {column.name: column for column in compared.columns}
    columns = tuple(kept[name] for name in _VARIANCE)
    return Table(compared.name, compared.title, columns, typed(compared.frame, columns))


def accruals(of: Sources) -> Table:
    """List what was open or unconfirmed when the month ended, each with its range."""
    return ranges.listed(ranges.accrued(as_of.unsettled(of.database, of.month)))


def roll_forward(of: Sources) -> Table:
    """List the results of the previous month's accruals."""
    return ranges.roll_forward(ranges.rolled_forward(of.database, of.month))


def checks(
    of: Sources, tables: Mapping[str, Table], unit: str, held: int
) -> Iterator[tuple[str, int, int]]:
    """Return these tables' figures in a unit, each as in the journal and as in the pack.

    `held` is the journal's reserved amount at the month's end.
    """
    now, then = tables["accruals"].frame, tables["roll-forward"].frame
    before = ranges.month_before(of.month)
    yield "accruals of open jobs", held, _sum(now, unit, "high_micro", ranges.OPEN)
    for name, frame, month in (("accruals", now, of.month), ("roll-forward", then, before)):
        paid = as_of.cost_not_confirmed(of.database, month).get(unit, 0)
        yield (
            f"{name} not confirmed",
            paid,
            _sum(frame, unit, "expected_micro", ranges.NOT_CONFIRMED),
        )
    settled = tables["variance"].frame
    pack = int(settled.loc[settled[UNIT] == unit, "settled_micro"].sum())
    yield "settled in variance", _settled(of, unit), pack


def _ended(of: Sources) -> pd.DataFrame:
    is_ended = of.jobs["reservation_id"].isin(of.ended["id"])
    return of.jobs[is_ended].reset_index(drop=True)


def _settled(of: Sources, unit: str) -> int:
    """Add up, line by line of the journal, what the clips of the variance were charged in a unit.

    For a cost settled by a bill or a measured length, all lines count, refunds too; for any other,
    only the charges, whatever came back for other reasons.
    """
    final = of.jobs.loc[_is_final(of.jobs), "reservation_id"]
    lines = of.touched[of.touched["reservation_id"].isin(final)]
    signs = lines["credit_account"].str.startswith("provider/").astype("Int64")
    signs = signs - lines["debit_account"].str.startswith("provider/").astype("Int64")
    paid = (signs * lines["amount_micro"]).groupby(lines["reservation_id"]).sum()
    ended = of.ended
    cost = ended["committed_micro"].mask(ended["id"].isin(final), ended["id"].map(paid))
    return int(cost[ended[UNIT] == unit].sum())


def _is_final(jobs: pd.DataFrame) -> pd.Series[Any]:
    return jobs["settled_by"].isin(nearness.FINAL).fillna(value=False).astype(bool)


def _sum(frame: pd.DataFrame, unit: str, column: str, kind: str) -> int:
    return int(frame.loc[(frame[UNIT] == unit) & (frame["kind"] == kind), column].sum())
