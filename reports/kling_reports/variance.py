"""How near the quotes were: what was quoted, what was committed, and what the provider billed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.states import State
from kling_reports import groups
from kling_reports.division import share_ppm
from kling_reports.doors import reservations
from kling_reports.groups import Group
from kling_reports.query import Query
from kling_reports.report import UNIT, Column, Picture, Report, Table, typed, typed_totals

_FIGURES: Final = (
    Column("clips", "clips", "integer", "jobs that ended and were charged", adds_up=True),
    Column("quoted_micro", "quoted", "money", "what was set aside for them", adds_up=True),
    Column("committed_micro", "committed", "money", "what they were charged", adds_up=True),
    Column(
        "variance_micro", "variance", "money", "committed less quoted; above zero is dearer", True
    ),
    Column(
        "variance_share_ppm", "of quoted", "percent", "the variance as a share of what was quoted"
    ),
    Column("billed_clips", "billed clips", "integer", "those whose cost the provider said", True),
    Column("billed_micro", "billed", "money", "what the provider said that these cost", True),
    Column("exact", "exact", "integer", "clips that cost what was quoted", adds_up=True),
    Column("dearer", "dearer", "integer", "clips that cost more", adds_up=True),
    Column("cheaper", "cheaper", "integer", "clips that cost less", adds_up=True),
    Column("accuracy_ppm", "accuracy", "percent", "the share of clips that cost what was quoted"),
    Column(
        "median_error_ppm", "median error", "percent", "half of the clips were nearer than this"
    ),
)
_ADDED: Final = tuple(column.name for column in _FIGURES if column.adds_up)
_AMOUNTS: Final = (UNIT, "state", "reserved_micro", "committed_micro", "settled_by")
_GIVES_WAY: Final = (
    "cheaper",
    "dearer",
    "exact",
    "billed_clips",
    "billed_micro",
    "variance_share_ppm",
    "median_error_ppm",
)


def report(database: Database, query: Query) -> Report:
    """Answer how near the quotes were, by the query's groups."""
    wanted = groups.sources(query.by, query.filters)
    found = reservations.alike(
        database,
        columns=(*_AMOUNTS, *wanted),
        bucket=groups.finest(query.by),
        zone=query.zone,
        span=query.span,
    )
    return query.answer(
        "variance",
        "Variance",
        question="What was quoted, committed and billed, and how near were the quotes?",
        tables=[variance(query.filtered(found), query.by)],
        notes=[
            "Clips that were charged; before refunds. Variance is committed less quoted.",
            "Billed counts what the provider itself said; the rest rests on a quote or a person.",
        ],
    )


def variance(alike: pd.DataFrame, by: Sequence[Group]) -> Table:
    """Compare what reservations.alike gives by some groups and, always, by unit."""
    charged = alike[alike["state"] == str(State.COMMITTED)].reset_index(drop=True)
    named = {group.word: group.values(charged) for group in by}
    compared = pd.DataFrame({**named, UNIT: charged[UNIT], **_compared(charged)})
    columns = (*(group.column for group in by), Column(UNIT, "unit", "text"), *_FIGURES)
    words = list(named)
    return Table(
        "variance",
        "Variance",
        columns,
        typed(_added(compared, [*words, UNIT]), columns),
        totals=typed_totals(_added(compared, [UNIT]), columns),
        empty="no clip was charged",
        gives_way=_GIVES_WAY,
        picture=Picture("bars", x=words[0], value="variance_micro") if words else None,
    )


def _compared(charged: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    jobs, quoted, cost = charged["jobs"], charged["reserved_micro"], charged["committed_micro"]
    off = cost - quoted
    is_billed = charged["settled_by"].eq("provider").fillna(value=False).astype(bool)
    return {
        "clips": jobs,
        "quoted_micro": jobs * quoted,
        "committed_micro": jobs * cost,
        "variance_micro": jobs * off,
        "billed_clips": jobs.where(is_billed, 0),
        "billed_micro": (jobs * cost).where(is_billed, 0),
        "exact": jobs.where(off == 0, 0),
        "dearer": jobs.where(off > 0, 0),
        "cheaper": jobs.where(off < 0, 0),
        "error_ppm": share_ppm(off.abs(), quoted),
    }


def _added(compared: pd.DataFrame, words: list[str]) -> pd.DataFrame:
    grouped = compared.groupby(words, dropna=False, sort=True, as_index=False)
    added = grouped[list(_ADDED)].sum()
    medians = _medians(compared, words)
    added["variance_share_ppm"] = share_ppm(added["variance_micro"], added["quoted_micro"])
    added["accuracy_ppm"] = share_ppm(added["exact"], added["clips"])
    added["median_error_ppm"] = medians.astype("Int64")
    return added


def _medians(compared: pd.DataFrame, words: list[str]) -> pd.Series[Any]:
    """Return the error below which half of the clips of each group lie, in the groups' order."""
    ordered = compared.sort_values("error_ppm", kind="stable")
    grouped = ordered.groupby(words, dropna=False, sort=True)["clips"]
    is_half = 2 * grouped.cumsum() >= grouped.transform("sum")
    firsts = ordered[is_half].groupby(words, dropna=False, sort=True)["error_ppm"]
    return firsts.first().reset_index(drop=True)
