"""Listing: the plain lists behind an overview: findings, latest jobs, models, bases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_reports.comparison import added
from kling_reports.division import share_ppm
from kling_reports.doors import reservations
from kling_reports.findings.finding import Finding, ranked
from kling_reports.frames import frame_of
from kling_reports.query import Query
from kling_reports.report import UNIT, Column, Picture, Span, Table, typed, typed_totals

MOST_JOBS: Final = 100
"""The latest jobs that an overview lists."""

_FINDINGS: Final = (
    Column("finding", "finding", "text", "in words"),
    Column("rule", "rule", "text", "the rule that found it: docs/reference/findings.md"),
    Column("amount_micro", "amount", "money", "what it is about"),
    Column(UNIT, "unit", "text"),
    Column("table", "table", "text", "the table that proves it"),
    Column("row", "row", "integer", "the row of that table, from 1"),
)
_JOBS: Final = (
    Column("created_at", "reserved at", "instant"),
    Column("project", "project", "text"),
    Column("actor", "user", "text"),
    Column("provider", "provider", "text"),
    Column("model", "model", "text"),
    Column("state", "state", "text"),
    Column(UNIT, "unit", "text"),
    Column("spent_micro", "spent", "money", "committed less refunded", adds_up=True),
    Column("reserved_micro", "reserved", "money", "still set aside", adds_up=True),
    Column("settled_by", "rests on", "text", "who said what it cost"),
    Column("id", "reservation", "text"),
    Column("problem", "why", "text", "what went wrong"),
)
_READ: Final = (
    *reservations.read_for(_JOBS),
    "held_micro",
    "committed_micro",
    "refunded_micro",
    "usd_micro",
    "usd_held_micro",
    "usd_spent_micro",
)
_MODELS: Final = (
    Column("project", "project", "text"),
    Column("provider", "provider", "text"),
    Column("model", "model", "text"),
    Column(UNIT, "unit", "text"),
    Column("spent_micro", "spent", "money", "committed less refunded", adds_up=True),
    Column("clips", "clips", "integer", "jobs that ended and were charged", adds_up=True),
    Column("failed", "failed", "integer", "jobs that ended with nothing made", adds_up=True),
    Column("per_second_micro", "per second", "money", "spent for each charged second, rounded"),
)
_BY_MODEL: Final = (
    Column("provider", "provider", "text"),
    Column("model", "model", "text"),
    Column(UNIT, "unit", "text"),
    Column("per_second_micro", "per second", "money", "spent for each charged second, rounded"),
    Column("clips", "clips", "integer", "jobs that ended and were charged", adds_up=True),
    Column("failed", "failed", "integer", "jobs that ended with nothing made", adds_up=True),
    Column("failed_share_ppm", "failure rate", "percent", "failed, as a share of what ended"),
    Column("seconds", "seconds", "seconds", "of the charged clips, as quoted", adds_up=True),
    Column("spent_micro", "spent", "money", "committed less refunded", adds_up=True),
)
_BASES: Final = (
    Column("settled_by", "rests on", "text", "who said what the clips cost"),
    Column(UNIT, "unit", "text"),
    Column("clips", "clips", "integer", "jobs that ended and were charged", adds_up=True),
    Column("spent_micro", "spent", "money", "committed less refunded", adds_up=True),
    Column("share_ppm", "share", "percent", "of all that was spent in this unit"),
)


def findings(found: Iterable[Finding], tables: Sequence[Table]) -> Table:
    """List the most important findings, each with the row of a table that proves it."""
    by_name = {table.name: table for table in tables}
    rows = [
        {
            "finding": one.sentence,
            "rule": one.rule,
            "amount_micro": one.amount_micro,
            UNIT: one.unit,
            "table": one.table,
            "row": _place(by_name[one.table].frame, one.row),
        }
        for one in ranked(found)
    ]
    frame = frame_of(rows, {column.name: column.kind for column in _FINDINGS})
    return Table(
        "findings",
        "Findings",
        _FINDINGS,
        frame,
        empty="Nothing unusual: no rule of docs/reference/findings.md found anything.",
        gives_way=("row", "table", "rule"),
    )


def _place(frame: pd.DataFrame, row: Any) -> int | None:
    """Return the row number, from 1, with some values in a frame; None if it is not listed."""
    is_it = pd.Series(data=True, index=frame.index)
    for name, value in row.items():
        is_it &= (
            frame[name].isna() if pd.isna(value) else (frame[name] == value).fillna(value=False)
        )
    places = [at for at, found in enumerate(is_it, start=1) if found]
    return places[0] if places else None


def latest(database: Database, query: Query, span: Span, by_day: pd.DataFrame) -> Table:
    """List the latest jobs of a span that the filters keep, newest first.

    `by_day` is its spending by day: it shows how far back to read for enough jobs.
    """
    counts = by_day.groupby("day")["jobs"].sum().sort_index(ascending=False).cumsum()
    enough = counts[counts >= MOST_JOBS]
    since = span.starts_at if enough.empty else _midnight(enough.index[0], query.zone)
    wanted = (*_READ, *(one.group.source for one in query.filters if one.group.source != "day"))
    found = query.filtered(
        reservations.listed(database, columns=wanted, span=replace(span, starts_at=since))
    )
    told = _in_currency(found, query.currency).iloc[::-1].head(MOST_JOBS).reset_index(drop=True)
    return Table(
        "jobs",
        "Latest jobs",
        _JOBS,
        typed(told, _JOBS),
        empty="nothing was reserved",
        gives_way=(
            "id", "settled_by", "model", "reserved_micro", "problem", "provider", "actor", "state",
        ),
    )  # fmt: skip


def _midnight(day: Any, zone: str) -> Any:
    return day.tz_localize(ZoneInfo(zone), nonexistent="shift_forward", ambiguous=True)


def _in_currency(found: pd.DataFrame, currency: str | None) -> pd.DataFrame:
    spent = found["committed_micro"].fillna(0) - found["refunded_micro"]
    told = found.assign(spent_micro=spent, reserved_micro=found["held_micro"])
    if currency is None:
        return told
    known = found["usd_micro"].notna()
    return told.assign(
        spent_micro=found["usd_spent_micro"].where(known, spent).fillna(spent),
        reserved_micro=found["usd_held_micro"]
        .where(known, found["held_micro"])
        .fillna(found["held_micro"]),
        unit=found[UNIT].mask(known, currency),
    )


def by_model(spending: pd.DataFrame, title: str) -> Table:
    """Say, for each provider's model, what a second cost, and how often it failed."""
    rows = added(spending, ["provider", "model"])
    return Table(
        "per_second",
        title,
        _BY_MODEL,
        typed(rows, _BY_MODEL),
        totals=typed_totals(added(spending, []), _BY_MODEL),
        empty="nothing was reserved",
        gives_way=("seconds", "spent_micro", "clips", "failed"),
        picture=Picture("bars", x="provider", value="per_second_micro", series="model"),
    )


def models_of_projects(spending: pd.DataFrame, title: str) -> Table:
    """Sum spending by project, provider and model, highest first."""
    words = ["project", "provider", "model"]
    rows = added(spending, words).sort_values("spent_micro", ascending=False, ignore_index=True)
    totals = rows.groupby(UNIT, as_index=False)[["spent_micro", "clips", "failed"]].sum()
    return Table(
        "project_models",
        title,
        _MODELS,
        typed(rows, _MODELS),
        totals=typed_totals(totals, _MODELS),
        empty="nothing was reserved",
        gives_way=("failed", "provider", "clips", "per_second_micro"),
    )


def basis(spending: pd.DataFrame, title: str) -> Table:
    """Sum spending by the basis of the costs."""
    rows = added(spending, ["settled_by"])
    rows = rows[(rows["clips"] > 0) | (rows["spent_micro"] != 0)].reset_index(drop=True)
    totals = rows.groupby(UNIT, as_index=False)[["spent_micro", "clips"]].sum()
    whole = rows[UNIT].map(totals.set_index(UNIT)["spent_micro"]).astype("Int64")
    return Table(
        "basis",
        title,
        _BASES,
        typed(rows.assign(share_ppm=share_ppm(rows["spent_micro"], whole)), _BASES),
        totals=typed_totals(totals, _BASES),
        empty="nothing was charged",
    )
