"""Rules on how far the figures hold: failures, open jobs, unconfirmed costs, wrong quotes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pandas as pd

from kling_pricing.counting import counted
from kling_reports.amounts import in_unit, lasting
from kling_reports.findings.finding import Finding, named, whole_percent

LEAST_FAILED: Final = 5
LEAST_ENDED: Final = 20
LEAST_FAILED_PERCENT: Final = 10
LEAST_TIMES_OTHERS: Final = 3
LEAST_OPEN_S: Final = 86_400
LEAST_UNCONFIRMED_PERCENT: Final = 10
LEAST_CONFIRMED: Final = 10
LEAST_WRONG_PERCENT: Final = 5
CONFIRMING: Final = ("provider", "bill")
"""The sources that confirm a cost: the provider's answer, and its bill."""


def failing(ended: pd.DataFrame) -> Iterator[Finding]:
    """A provider's model fails far more often than all others together.

    LEAST_FAILED_PERCENT (10 %) or more of its jobs failed, LEAST_FAILED (5) at least of at least
    LEAST_ENDED (20) that ended, and the share is LEAST_TIMES_OTHERS (3) times that of the others
    or more, which ended LEAST_ENDED jobs as well. `ended` has one row for each `provider`, `model`
    and `unit`, with `clips`, `failed` and `spent_micro`.
    """
    all_ended, all_failed = _ended(ended), int(ended["failed"].sum())
    for (provider, model), rows in ended.groupby(["provider", "model"], dropna=False, sort=False):
        here, failed = _ended(rows), int(rows["failed"].sum())
        others, others_failed = all_ended - here, all_failed - failed
        is_enough = failed >= LEAST_FAILED and min(here, others) >= LEAST_ENDED
        if not is_enough or failed * 100 < here * LEAST_FAILED_PERCENT:
            continue
        if failed * others < others_failed * here * LEAST_TIMES_OTHERS:
            continue
        row = rows.iloc[0]
        yield Finding(
            "failures",
            f"{named(model, 'model')} at {named(provider, 'provider')} fails"
            f" {whole_percent(failed, here)} of the time ({failed:,} of {here:,} jobs), all others"
            f" {whole_percent(others_failed, others)}.",
            int(row["spent_micro"]),
            row["unit"],
            "per_second",
            {"provider": provider, "model": model, "unit": row["unit"]},
        )


def open_long(jobs: pd.DataFrame, *, is_all: bool = True) -> Iterator[Finding]:
    """A job is in doubt, or has been open for LEAST_OPEN_S (a day) or more: one is enough.

    It holds credits until somebody acts. `jobs` has one row for each open job: `unit`, `age`,
    `age_seconds`, `state`, `reserved_micro`; `is_all` is False where more are open than these.
    """
    is_late = (jobs["age_seconds"] >= LEAST_OPEN_S) | (jobs["state"] == "in_doubt")
    for unit, told in jobs[is_late].groupby("unit", sort=False):
        held, count = int(told["reserved_micro"].sum()), len(told)
        doubts = int((told["state"] == "in_doubt").sum())
        oldest = told.sort_values("age_seconds", kind="stable").iloc[-1]
        jobs_told = f"{'' if is_all else 'At least '}{counted(count, 'job')}"
        state = "in doubt" if doubts == count else "open for a day or longer, or in doubt"
        of_doubt = f" ({doubts:,} in doubt)" if 0 < doubts < count else ""
        yield Finding(
            "in doubt",
            f"{jobs_told} {'is' if count == 1 else 'are'} {state}{of_doubt}:"
            f" {in_unit(held, str(unit))} stay set aside, the oldest for"
            f" {lasting(int(oldest['age_seconds']))}.",
            held,
            str(unit),
            "open",
            {"age": oldest["age"], "unit": unit},
        )


def unconfirmed(bases: pd.DataFrame) -> Iterator[Finding]:
    """LEAST_UNCONFIRMED_PERCENT (10 %) or more of what was spent is confirmed by no provider.

    A cost is confirmed by its provider's answer or its bill (CONFIRMING). `bases` has one row for
    each `settled_by` and `unit`, with `clips` and `spent_micro`.
    """
    for unit, rows in bases.groupby("unit", sort=False):
        rest = rows[~rows["settled_by"].isin(CONFIRMING)]
        spent, open_spent = int(rows["spent_micro"].sum()), int(rest["spent_micro"].sum())
        if open_spent <= 0 or open_spent * 100 < spent * LEAST_UNCONFIRMED_PERCENT:
            continue
        largest = rest.sort_values("spent_micro", kind="stable").iloc[-1]
        clips, amount = int(rest["clips"].sum()), in_unit(open_spent, str(unit))
        yield Finding(
            "not confirmed",
            f"{whole_percent(open_spent, spent)} of what was spent ({amount}, {clips:,} clips) is"
            " confirmed neither by a provider's answer nor by a bill.",
            open_spent,
            str(unit),
            "basis",
            {"settled_by": largest["settled_by"], "unit": unit},
        )


def quoted_wrong(variance: pd.DataFrame) -> Iterator[Finding]:
    """LEAST_WRONG_PERCENT (5 %) or more of a provider's confirmed clips did not cost their quote.

    Of LEAST_CONFIRMED (10) at least whose cost the provider or its bill said and that have a quote.
    `variance` has one row for each `provider` and `unit`, with the columns of the variance report.
    """
    for row in variance.dropna(subset=["dearer", "cheaper"]).to_dict("records"):
        compared, wrong = int(row["compared"]), int(row["dearer"]) + int(row["cheaper"])
        if compared < LEAST_CONFIRMED or wrong * 100 < compared * LEAST_WRONG_PERCENT:
            continue
        off = int(row["variance_share_ppm"])
        way = f"{whole_percent(abs(off), 1_000_000)} {'more' if off > 0 else 'less'} in all"
        yield Finding(
            "quotes",
            f"{wrong:,} of {compared:,} confirmed clips of {named(row['provider'], 'provider')}"
            f" ({whole_percent(wrong, compared)}) did not cost what was quoted:"
            f" {way if off else 'as much in all'}.",
            int(row["variance_micro"]),
            row["unit"],
            "variance",
            {"provider": row["provider"], "unit": row["unit"]},
        )


def _ended(rows: pd.DataFrame) -> int:
    return int(rows["clips"].sum()) + int(rows["failed"].sum())
