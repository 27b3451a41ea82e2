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

NOT_BILLED: Final = "not billed yet"
"""What stands where no provider has said yet what the clips cost."""

_FIGURES: Final = (
    Column("clips", "clips", "integer", "jobs that ended and were charged", adds_up=True),
    Column("quoted_micro", "quoted", "money", "what their quotes said", adds_up=True),
    Column("committed_micro", "committed", "money", "what they were charged", adds_up=True),
    Column(
        "variance_micro", "variance", "money", "committed less quoted; above zero is dearer", True
    ),
    Column("billed_clips", "billed clips", "integer", "those whose cost the provider said", True),
    Column("billed_quoted_micro", "their quotes", "money", "what was quoted for these", True),
    Column("billed_micro", "billed", "money", "what the provider said that these cost", True),
    Column(
        "variance_share_ppm",
        "of quoted",
        "percent",
        "billed less quoted, as a share of what was quoted for the billed clips",
    ),
    Column("exact", "exact", "integer", "billed clips that cost what was quoted", adds_up=True),
    Column("dearer", "dearer", "integer", "billed clips that cost more", adds_up=True),
    Column("cheaper", "cheaper", "integer", "billed clips that cost less", adds_up=True),
    Column("billing", "billing", "text", "how many of the clips the accuracy is about"),
    Column(
        "accuracy_ppm", "accuracy", "percent", "the share of billed clips that cost what was quoted"
    ),
    Column(
        "median_error_ppm",
        "median error",
        "percent",
        "half of the billed clips were nearer than this",
    ),
)
_ADDED: Final = tuple(column.name for column in _FIGURES if column.adds_up)
_AMOUNTS: Final = (
    UNIT,
    "state",
    "quoted_micro",
    "committed_micro",
    "refunded_micro",
    "undone_micro",
    "settled_by",
)
_GIVES_WAY: Final = (
    "cheaper",
    "dearer",
    "exact",
    "billed_quoted_micro",
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
            "Clips that were charged; before refunds, but for those that a bill has taken in.",
            "Variance is committed less quoted. Billed is what the provider said, or its bill.",
            "A quote or a person's word says nothing of how near the quotes were.",
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
    jobs, quoted, cost = charged["jobs"], charged["quoted_micro"], _cost(charged)
    off = cost - quoted
    is_billed = _is(charged, *reservations.BILLED)
    return {
        "clips": jobs,
        "quoted_micro": jobs * quoted,
        "committed_micro": jobs * cost,
        "variance_micro": jobs * off,
        "billed_clips": jobs.where(is_billed, 0),
        # A quote that was charged because nobody said more is no bill: it is exact by itself.
        "billed_quoted_micro": (jobs * quoted).where(is_billed),
        "billed_micro": (jobs * cost).where(is_billed),
        "exact": jobs.where(off == 0, 0).where(is_billed),
        "dearer": jobs.where(off > 0, 0).where(is_billed),
        "cheaper": jobs.where(off < 0, 0).where(is_billed),
        "error_ppm": share_ppm(off.abs(), quoted).where(is_billed),
    }


def _cost(charged: pd.DataFrame) -> pd.Series[Any]:
    """Return what each clip was charged, without what was charged by a mistake that was undone.

    A bill says what it cost in the end: what came back is in that already.
    """
    back = charged["refunded_micro"].where(_is(charged, "bill"), charged["undone_micro"])
    return charged["committed_micro"] - back


def _is(charged: pd.DataFrame, *words: str) -> pd.Series[Any]:
    """Return whether the cost of each clip was said by one of these."""
    return charged["settled_by"].isin(words).fillna(value=False).astype(bool)


def _added(compared: pd.DataFrame, words: list[str]) -> pd.DataFrame:
    grouped = compared.groupby(words, dropna=False, sort=True, as_index=False)
    added = grouped[list(_ADDED)].sum(min_count=1)
    medians = _medians(compared, words)
    off = added["billed_micro"] - added["billed_quoted_micro"]
    added["variance_share_ppm"] = share_ppm(off, added["billed_quoted_micro"])
    added["billing"] = _billing(added["billed_clips"], added["clips"])
    added["accuracy_ppm"] = share_ppm(added["exact"], added["billed_clips"])
    added["median_error_ppm"] = medians.astype("Int64")
    return added


def _billing(billed: pd.Series[Any], clips: pd.Series[Any]) -> pd.Series[Any]:
    told = [
        "billed" if one == whole else f"{one} of {whole} billed" if one else NOT_BILLED
        for one, whole in zip(billed, clips, strict=True)
    ]
    return pd.Series(told, clips.index, "string")


def _medians(compared: pd.DataFrame, words: list[str]) -> pd.Series[Any]:
    """Return the error below which half of the billed clips of each group lie, in their order."""
    ordered = compared.sort_values("error_ppm", kind="stable")
    grouped = ordered.groupby(words, dropna=False, sort=True)["billed_clips"]
    is_half = 2 * grouped.cumsum() >= grouped.transform("sum")
    firsts = ordered[is_half].groupby(words, dropna=False, sort=True)["error_ppm"]
    return firsts.first().reset_index(drop=True)
