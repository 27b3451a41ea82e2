"""Who spent what, on what: clips, failures, seconds and cost, by any groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_pricing.counting import counted
from kling_reports import groups
from kling_reports.currency import HOLDS_DAYS, Conversion
from kling_reports.division import divided
from kling_reports.doors import posted, reservations
from kling_reports.groups import Group
from kling_reports.posted import added_up
from kling_reports.query import Query
from kling_reports.report import UNIT, Column, Picture, Report, Table, typed, typed_totals

_COUNTS: Final = (
    Column("clips", "clips", "integer", "jobs that ended and were charged", adds_up=True),
    Column(
        "accepted", "accepted", "integer", "of these, not refunded whole or rejected", adds_up=True
    ),
    Column("failed", "failed", "integer", "jobs that ended with nothing made", adds_up=True),
    Column("open", "open", "integer", "jobs whose credits are still set aside", adds_up=True),
    Column("seconds", "seconds", "seconds", "of the charged clips, as quoted", adds_up=True),
)
_AMOUNTS: Final = (
    Column("spent_micro", "spent", "money", "committed less refunded", adds_up=True),
    Column("reserved_micro", "reserved", "money", "still set aside", adds_up=True),
)
_RATES: Final = (
    Column("per_clip_micro", "per clip", "money", "spent for each charged clip, rounded"),
    Column("per_second_micro", "per second", "money", "spent for each of these seconds, rounded"),
    Column("per_accepted_micro", "per accepted", "money", "spent for each accepted clip, rounded"),
)
_DIVISORS: Final[Mapping[str, str]] = {
    "per_clip_micro": "clips",
    "per_second_micro": "seconds",
    "per_accepted_micro": "accepted",
}
_GIVES_WAY: Final = (
    "accepted",
    "per_accepted_micro",
    "per_second_micro",
    "per_clip_micro",
    "seconds",
    "open",
    "failed",
)
_NOTES: Final = (
    "A clip counts when its credits were reserved, with all that it has cost since.",
    "Accepted: charged, and neither refunded whole nor labelled accepted=no.",
)


_POSTED_NOTES: Final = (
    "Charges and refunds count when they were posted, whenever the job was reserved.",
    "A job counts once, at the first of its charges and refunds in this time.",
)


def report(database: Database, query: Query) -> Report:
    """Report what was spent, by the query's groups and on its axis of time."""
    return _posted(database, query) if query.basis == "posted" else _reserved(database, query)


def _posted(database: Database, query: Query) -> Report:
    sums = posted.posted(
        database,
        by=groups.sources(query.by, query.filters),
        bucket=groups.finest(query.by),
        zone=query.zone,
        span=query.span,
        period=query.period,
        conversion=query.conversion,
    )
    table = added_up(query.filtered(sums), query.by, name="spend", title="Spend as posted")
    return query.answer(
        "spend",
        "Spend as posted",
        question="What was charged and refunded, and for what?",
        tables=[replace(table, picture=_picture(query.by, "net_micro"))],
        notes=(*_POSTED_NOTES, *_converted(sums, query)),
    )


def _reserved(database: Database, query: Query) -> Report:
    frame = reservations.spending(
        database,
        by=groups.sources(query.by, query.filters),
        bucket=groups.finest(query.by),
        zone=query.zone,
        span=query.span,
        conversion=query.conversion,
    )
    frame = query.filtered(frame)
    return query.answer(
        "spend",
        "Spend",
        question="Who spent what, on what?",
        tables=[spend(frame, query.by)],
        notes=(*_NOTES, *_converted(frame, query)),
    )


def spend(spending: pd.DataFrame, by: Sequence[Group]) -> Table:
    """Sum the rows of reservations.spending by some groups and by unit: units never mix."""
    frame = spending
    named = {group.word: group.values(frame) for group in by}
    counted = pd.DataFrame({**named, **_figures(frame)})
    words = [*named, UNIT]
    columns = (
        *(group.column for group in by),
        Column(UNIT, "unit", "text", "what the amounts of the row count"),
        *_COUNTS,
        *_AMOUNTS,
        *_RATES,
    )
    added = counted.groupby(words, dropna=False, sort=True, as_index=False).sum()
    totals = counted.drop(columns=list(named)).groupby(UNIT, sort=True, as_index=False).sum()
    return Table(
        name="spend",
        title="Spend",
        columns=columns,
        frame=typed(_with_rates(added), columns),
        totals=typed_totals(_with_rates(totals), columns),
        empty="nothing was reserved",
        gives_way=_GIVES_WAY,
        picture=_picture(by, "spent_micro"),
    )


def _figures(frame: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    """Return what is summed, including where the seconds of charged clips are unknown."""
    outcome, jobs = frame["outcome"], frame["jobs"]
    charged = outcome.isin(["accepted", "rejected"])
    return {
        UNIT: frame[UNIT],
        "clips": jobs.where(charged, 0),
        "accepted": jobs.where(outcome == "accepted", 0),
        "failed": jobs.where(outcome == "failed", 0),
        "open": jobs.where(outcome == "open", 0),
        "seconds": frame["seconds"].where(charged, 0).fillna(0),
        "unknown_seconds": (charged & frame["seconds"].isna()).astype("Int64"),
        "spent_micro": frame["spent_micro"],
        "reserved_micro": frame["held_micro"],
    }


def _with_rates(added: pd.DataFrame) -> pd.DataFrame:
    """Add the cost per clip and per second; missing if there is none, or not all are known."""
    added["seconds"] = added["seconds"].where(added["unknown_seconds"] == 0)
    for name, divisor in _DIVISORS.items():
        added[name] = divided(added["spent_micro"], added[divisor])
    return added


def _converted(frame: pd.DataFrame, query: Query) -> Iterator[str]:
    """Say at which rates amounts were converted, and what stays in its own unit."""
    conversion = query.conversion
    if conversion is None:
        yield "Units never mix: each has rows of its own."
        return
    currency = conversion.currency
    yield from _rates_told(conversion, posted=query.basis == "posted")
    left = int(frame.loc[frame[UNIT] != currency, "jobs"].sum())
    if left:
        have = counted(left, "job has", "jobs have")
        yield f"{have} no known rate, and so rows in another unit."


def _rates_told(conversion: Conversion, *, posted: bool) -> Iterator[str]:
    currency = conversion.currency
    if conversion.is_of_jobs_alone:
        yield f"Amounts are in {currency} at the rate that each reservation was made at."
    else:
        sources = sorted({rate.source for rate in conversion.rates.into(currency)})
        yield (
            "Amounts are converted to USD at the rate that each reservation was made at, and to"
            f" {currency} at that of the day (UTC) on which"
            f" {'they were posted' if posted else 'the job was reserved'}: {', '.join(sources)}."
        )
        yield f"A rate holds until the next one, and for {HOLDS_DAYS} days at most."
    each = "charge and each refund" if posted else "job"
    yield f"Each {each} is rounded to a millionth by itself, so any parts add up to the whole."


def _picture(by: Sequence[Group], value: str) -> Picture | None:
    times = [group.word for group in by if group.word in groups.PERIODS]
    others = [group.word for group in by if group.word not in groups.PERIODS]
    series = others[0] if others else None
    if times:
        return Picture("over_time", x=times[0], value=value, series=series)
    if series is None:
        return None
    return Picture("bars", x=series, value=value, series=others[1] if others[1:] else None)
