"""How near the quotes were: what the book quoted, the provider estimated, was held and settled."""

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

NOT_CONFIRMED: Final = "none yet"
"""Stands for what the clips cost, as long as no provider has said so."""

FINAL: Final = ("bill", "measured")
"""The words of `settled_by` that correct a job to its final cost."""

_FIGURES: Final = (
    Column("clips", "clips", "integer", "jobs that ended and were charged", adds_up=True),
    Column(
        "quoted_micro", "quoted", "money", "the book's price, of the clips that it prices", True
    ),
    Column(
        "estimated_micro", "estimate", "money", "the provider's own estimate before the run", True
    ),
    Column("held_micro", "held", "money", "the most that was reserved for them", adds_up=True),
    Column("settled_micro", "settled", "money", "what they were charged", adds_up=True),
    Column(
        "variance_micro", "variance", "money", "settled less quoted, of those with a quote", True
    ),
    Column("unquoted", "no quote", "integer", "clips that the book has no price for", True),
    Column(
        "confirmed_clips",
        "confirmed clips",
        "integer",
        "clips whose cost the provider stated",
        True,
    ),
    Column(
        "variance_share_ppm",
        "of quoted",
        "percent",
        "settled less quoted of the compared clips, as a share of their quotes",
    ),
    Column("compared", "compared", "integer", "confirmed clips that have a quote", adds_up=True),
    Column("exact", "exact", "integer", "compared clips that cost what was quoted", adds_up=True),
    Column("dearer", "dearer", "integer", "compared clips that cost more", adds_up=True),
    Column("cheaper", "cheaper", "integer", "compared clips that cost less", adds_up=True),
    Column("confirmation", "confirmed", "text", "how many of the costs are confirmed"),
    Column(
        "accuracy_ppm", "accuracy", "percent", "the share of compared clips that cost their quote"
    ),
    Column(
        "estimate_accuracy_ppm",
        "estimates",
        "percent",
        "the share of confirmed clips with an estimate that cost just that",
    ),
    Column(
        "median_error_ppm",
        "median error",
        "percent",
        "half of the compared clips were nearer to their quotes than this",
    ),
)
_WORKED_OUT: Final = ("estimated_clips", "as_estimated", "compared_quoted", "compared_off")
_ADDED: Final = (*(column.name for column in _FIGURES if column.adds_up), *_WORKED_OUT)
_AMOUNTS: Final = (
    UNIT,
    "state",
    "quoted_micro",
    "estimated_micro",
    "reserved_micro",
    "committed_micro",
    "refunded_micro",
    "undone_micro",
    "settled_by",
)
_GIVES_WAY: Final = (
    "cheaper",
    "dearer",
    "exact",
    "compared",
    "unquoted",
    "confirmed_clips",
    "median_error_ppm",
    "variance_share_ppm",
    "estimate_accuracy_ppm",
    "clips",
    "confirmation",
    "estimated_micro",
)


def report(database: Database, query: Query) -> Report:
    """Report how accurate the quotes were, by the query's groups."""
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
        question="What was quoted, estimated, held and settled, and how accurate were the quotes?",
        tables=[variance(query.filtered(found), query.by)],
        notes=[
            "Clips that were charged; before refunds, but for those that a bill has taken in.",
            "Quoted by the book, estimated by the provider before the run, held at most, settled.",
            "Variance is settled less quoted, of the clips that have a quote.",
            "Accuracy counts only costs that the provider or its bill confirmed.",
        ],
    )


def variance(alike: pd.DataFrame, by: Sequence[Group]) -> Table:
    """Compare rows of reservations.alike by some groups and, always, by unit."""
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
    estimated, off = charged["estimated_micro"], cost - quoted
    is_confirmed = _is(charged, *reservations.BILLED)
    # A quote charged for lack of another figure is exact by definition: it is not compared.
    is_compared = is_confirmed & quoted.notna()
    is_estimated = is_confirmed & estimated.notna()
    return {
        "clips": jobs,
        "quoted_micro": jobs * quoted,
        "estimated_micro": jobs * estimated,
        "held_micro": jobs * charged["reserved_micro"],
        "settled_micro": jobs * cost,
        "variance_micro": jobs * off,
        "unquoted": jobs.where(quoted.isna(), 0),
        "confirmed_clips": jobs.where(is_confirmed, 0),
        "compared": jobs.where(is_compared, 0),
        "compared_quoted": (jobs * quoted).where(is_compared),
        "compared_off": (jobs * off).where(is_compared),
        "exact": jobs.where(_holds(off == 0), 0).where(is_compared),
        "dearer": jobs.where(_holds(off > 0), 0).where(is_compared),
        "cheaper": jobs.where(_holds(off < 0), 0).where(is_compared),
        "estimated_clips": jobs.where(is_estimated, 0),
        "as_estimated": jobs.where(_holds(cost == estimated), 0).where(is_estimated),
        "error_ppm": share_ppm(off.abs(), quoted).where(is_compared),
    }


def _cost(charged: pd.DataFrame) -> pd.Series[Any]:
    """Return what each clip was charged, without charges that were undone as mistakes.

    A bill, or a measured length, gives the final cost: refunds are already included in it.
    """
    is_final = _is(charged, *FINAL)
    back = charged["refunded_micro"].where(is_final, charged["undone_micro"])
    return charged["committed_micro"] - back


def _is(charged: pd.DataFrame, *words: str) -> pd.Series[Any]:
    """Return whether each clip's cost has one of these bases."""
    return _holds(charged["settled_by"].isin(words))


def _holds(condition: pd.Series[Any]) -> pd.Series[Any]:
    """Return where a condition certainly holds: if a value is unknown, it does not."""
    return condition.fillna(value=False).astype(bool)


def _added(compared: pd.DataFrame, words: list[str]) -> pd.DataFrame:
    grouped = compared.groupby(words, dropna=False, sort=True, as_index=False)
    added = grouped[list(_ADDED)].sum(min_count=1)
    medians = _medians(compared, words)
    added["variance_share_ppm"] = share_ppm(added["compared_off"], added["compared_quoted"])
    added["confirmation"] = _confirmation(added["confirmed_clips"], added["clips"])
    added["accuracy_ppm"] = share_ppm(added["exact"], added["compared"])
    added["estimate_accuracy_ppm"] = share_ppm(added["as_estimated"], added["estimated_clips"])
    added["median_error_ppm"] = medians.astype("Int64")
    return added


def _confirmation(confirmed: pd.Series[Any], clips: pd.Series[Any]) -> pd.Series[Any]:
    told = [
        "all" if one == whole else f"{one} of {whole}" if one else NOT_CONFIRMED
        for one, whole in zip(confirmed, clips, strict=True)
    ]
    return pd.Series(told, clips.index, "string")


def _medians(compared: pd.DataFrame, words: list[str]) -> pd.Series[Any]:
    """Return the median error of each group's compared clips, in the order of the groups."""
    ordered = compared.sort_values("error_ppm", kind="stable")
    grouped = ordered.groupby(words, dropna=False, sort=True)["compared"]
    is_half = 2 * grouped.cumsum() >= grouped.transform("sum")
    firsts = ordered[is_half].groupby(words, dropna=False, sort=True)["error_ppm"]
    return firsts.first().reset_index(drop=True)
