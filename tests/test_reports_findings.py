"""Findings: each rule at its threshold and just past it, with figures worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kling_ledger.ledger.ids import to_us
from kling_reports.findings import limits, spending, trust
from kling_reports.findings.finding import MOST, RULES, Finding, ranked
from kling_reports.frames import frame_of
from kling_reports.report import Kind

NOW = datetime(2026, 11, 26, 10, tzinfo=UTC)
DAY = "2026-11-17"


def frame(rows: Iterable[Mapping[str, Any]], **kinds: Kind) -> pd.DataFrame:
    """A frame of these rows; names that end in `_micro` are money, anything not said is text."""
    known = list(rows)
    names = known[0] if known else kinds

    def kind(name: str) -> Kind:
        return kinds.get(name, "money" if name.endswith("_micro") else "text")

    return frame_of(known, {name: kind(name) for name in names})


def only(found: Iterable[Finding]) -> str:
    """The one sentence that was found."""
    (one,) = sentences(found)
    return one


def sentences(found: Iterable[Finding]) -> list[str]:
    return [one.sentence for one in found]


# --- a change on the period before ------------------------------------------------------------


def compared(
    now: int | None, then: int | None, *, clips: int = 10, before: int = 10
) -> pd.DataFrame:
    row = {
        "unit": "USD",
        "clips": clips,
        "clips_before": before,
        "spent_micro": now,
        "spent_before_micro": then,
    }
    return frame([row], clips="integer", clips_before="integer")


@pytest.mark.parametrize(
    ("now", "then", "told"),
    [
        (120_000_000, 100_000_000, "Spending is up 20 % on October: 120.00 USD after 100.00 USD"),
        (119_999_999, 100_000_000, None),
        (80_000_000, 100_000_000, "Spending is down 20 % on October: 80.00 USD after 100.00 USD"),
        (80_000_001, 100_000_000, None),
        (1_234_560_000, 893_200_000, "Spending is up 38 % on October: 1,234.56 USD after 893.20"),
        (100_000_000, 0, None),
        (100_000_000, None, None),
    ],
)
def test_spending_that_changes_by_a_fifth_is_told(now: int, then: int | None, told: str | None):
    found = sentences(spending.changed(compared(now, then), "November", "October"))
    assert [one.startswith(told or "") for one in found] == ([True] if told else [])


@pytest.mark.parametrize(("clips", "before"), [(9, 10), (10, 9)])
def test_a_change_of_few_clips_is_none(clips: int, before: int):
    given = compared(300_000_000, 100_000_000, clips=clips, before=before)
    assert list(spending.changed(given, "November", "October")) == []


# --- an unusual day ---------------------------------------------------------------------------


def days(cost: int, jobs: int = 10, others: Iterable[int] = (1, 2, 3, 4, 5)) -> pd.DataFrame:
    """One day of a project and user, and its other active days, costs in units."""
    own = [(DAY, jobs, cost), *((f"2026-11-0{at}", 1, one) for at, one in enumerate(others, 1))]
    rows = [
        {
            "day": datetime.fromisoformat(day),
            "project": "film/spot",
            "actor": "render-bot",
            "unit": "USD",
            "jobs": count,
            "cost_micro": one * 1_000_000,
        }
        for day, count, one in own
    ]
    return frame(rows, day="date", jobs="integer")


def told_of(given: pd.DataFrame) -> list[str]:
    return sentences(spending.unusual_days(spending.with_usual(given).head(1)))


RUNAWAY = (
    "10 jobs of film/spot by render-bot on 17 Nov cost 12.00 USD, 4 times a usual day (3.00 USD)."
)


def test_a_day_of_four_times_the_usual_is_told_and_one_below_it_is_not():
    # The median of the five other days is 3.
    assert told_of(days(12)) == [RUNAWAY]
    assert told_of(days(11)) == []


def test_nine_jobs_are_no_runaway_however_dear():
    assert told_of(days(1_000, jobs=9)) == []
    assert len(told_of(days(1_000, jobs=10))) == 1


def test_the_usual_day_is_the_mean_of_the_middle_two_and_leaves_the_day_itself_out():
    usual = spending.with_usual(days(1_000, others=(1, 2, 4, 8, 9, 9)))["usual_micro"].iloc[0]
    assert usual == 6_000_000


def test_with_fewer_than_five_other_days_all_rows_of_the_unit_say_what_is_usual():
    few = days(8, others=(1, 1, 1, 1))
    others = days(2, others=(2, 2, 2, 2, 2)).assign(project="ads")
    alone = spending.with_usual(few)["usual_micro"]
    assert alone.isna().all()
    both = spending.with_usual(pd.concat([few, others], ignore_index=True))["usual_micro"]
    # Four of 1 and six of 2: the middle two of ten are both 2.
    assert both.iloc[0] == 2_000_000
    crun = others.assign(unit="crun-credit")
    apart = spending.with_usual(pd.concat([few, crun], ignore_index=True))["usual_micro"]
    assert pd.isna(apart.iloc[0])


def test_jobs_without_project_or_user_are_one_kind_and_say_so():
    given = days(12)
    given[["project", "actor"]] = pd.NA
    assert told_of(given)[0].startswith("10 jobs of (no project) on 17 Nov cost 12.00 USD")


# --- who takes most ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shares", "is_told"),
    [((60, 20, 20), True), ((59, 20, 21), False), ((60, 40), False), ((0, 0, 0), False)],
)
def test_one_of_three_that_takes_sixty_percent_is_told(shares: tuple[int, ...], is_told: bool):
    rows = [
        {"project": f"p{at}", "unit": "USD", "spent_micro": share * 1_000_000}
        for at, share in enumerate(shares)
    ]
    found = sentences(spending.takes_most(frame(rows), "project", "projects"))
    expected = "p0 takes 60 % of what was spent: 60.00 USD of 100.00 USD, among 3 projects."
    assert found == ([expected] if is_told else [])


# --- budgets ----------------------------------------------------------------------------------


def budget(used: int, limit: int = 100, **given: Any) -> pd.DataFrame:
    row = {
        "budget": "film",
        "unit": "USD",
        "limit_micro": limit * 1_000_000,
        "spent_micro": used,
        "reserved_micro": 0,
        "left_micro": limit * 1_000_000 - used,
        "out_since": None,
        "runs_out_at": None,
        **given,
    }
    return frame([row], out_since="instant", runs_out_at="instant")


def test_a_budget_is_over_from_the_first_millionth_beyond_its_limit():
    since = to_us(datetime(2026, 11, 17, 23, 30, tzinfo=UTC))
    assert sentences(limits.over(budget(100_000_000), "UTC")) == []
    assert sentences(limits.over(budget(147_000_000, out_since=since), "UTC")) == [
        "Budget film has been over its limit since 17 Nov: 147.00 USD used of 100.00 USD (147 %)."
    ]
    # The day is the one of the report's zone.
    found = sentences(limits.over(budget(147_000_000, out_since=since), "Europe/Berlin"))
    assert "since 18 Nov" in found[0]
    assert len(sentences(limits.over(budget(100_000_001), "UTC"))) == 1


def test_a_limit_of_nothing_is_a_limit():
    assert sentences(limits.over(budget(0, limit=0), "UTC")) == []
    assert sentences(limits.over(budget(1, limit=0), "UTC")) == [
        "Budget film is over its limit: 0.000001 USD used of 0.00 USD."
    ]


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (timedelta(days=1), "on Friday, 27 Nov, at this rate: 40.00 USD of 100.00 USD"),
        (timedelta(days=6), "on Wednesday, 2 Dec,"),
        (timedelta(days=7), "on 3 Dec,"),
        (timedelta(days=14), "on 10 Dec,"),
        (timedelta(days=14, microseconds=1), None),
        (timedelta(0), None),
        (None, None),
    ],
)
def test_a_budget_that_reaches_its_limit_within_two_weeks_is_told(
    ahead: timedelta | None, told: str | None
):
    at = None if ahead is None else to_us(NOW + ahead)
    given = budget(60_000_000, runs_out_at=at)
    found = sentences(limits.runs_out(given, now=NOW, zone="UTC"))
    assert [f"Budget film reaches its limit {told}" in one for one in found] == (
        [True] if told else []
    )


def test_a_budget_with_nothing_left_does_not_run_out_any_more():
    given = budget(100_000_000, runs_out_at=to_us(NOW + timedelta(days=1)))
    assert sentences(limits.runs_out(given, now=NOW, zone="UTC")) == []


# --- failures ---------------------------------------------------------------------------------


def ended(*rows: tuple[str, int, int]) -> pd.DataFrame:
    return frame(
        [
            {
                "provider": "evolink",
                "model": model,
                "unit": "USD",
                "clips": clips,
                "failed": failed,
                "spent_micro": 1_000_000,
            }
            for model, clips, failed in rows
        ],
        clips="integer",
        failed="integer",
    )


@pytest.mark.parametrize(
    ("model", "others", "is_told"),
    [
        (("kling-2.6", 45, 5), ("kling-3.0", 100, 0), True),  # 10 % of 50
        (("kling-2.6", 46, 5), ("kling-3.0", 100, 0), False),  # 9.8 %
        (("kling-2.6", 15, 5), ("kling-3.0", 20, 0), True),  # 20 ended
        (("kling-2.6", 14, 5), ("kling-3.0", 20, 0), False),  # 19 ended
        (("kling-2.6", 15, 5), ("kling-3.0", 19, 0), False),  # 19 others ended
        (("kling-2.6", 16, 4), ("kling-3.0", 100, 0), False),  # four failed
        (("kling-2.6", 70, 30), ("kling-3.0", 90, 10), True),  # 30 %, three times 10 %
        (("kling-2.6", 71, 29), ("kling-3.0", 90, 10), False),  # 29 %
    ],
)
def test_a_model_that_fails_far_more_often_than_the_others_is_told(
    model: tuple[str, int, int], others: tuple[str, int, int], is_told: bool
):
    found = list(trust.failing(ended(model, others)))
    assert [one.row["model"] for one in found] == (["kling-2.6"] if is_told else [])


def test_the_failures_are_told_with_their_counts():
    assert sentences(trust.failing(ended(("kling-2.6", 43, 19), ("kling-3.0", 190, 10)))) == [
        "kling-2.6 at evolink fails 31 % of the time (19 of 62 jobs), all others 5 %."
    ]


# --- open jobs --------------------------------------------------------------------------------


def open_jobs(*jobs: tuple[int, str]) -> pd.DataFrame:
    return frame(
        [
            {
                "unit": "USD",
                "age": "1-7 d" if seconds >= 86_400 else "0-1 h",
                "age_seconds": seconds,
                "state": state,
                "reserved_micro": 1_500_000,
            }
            for seconds, state in jobs
        ],
        age_seconds="seconds",
    )


def test_a_job_that_is_open_for_a_day_is_told_and_one_second_less_is_not():
    assert sentences(trust.open_long(open_jobs((86_399, "submitted")))) == []
    assert only(trust.open_long(open_jobs((86_400, "submitted"), (5, "submitted")))) == (
        "1 job is open for a day or longer, or in doubt: 1.50 USD stay set aside, the oldest for"
        " 1 d."
    )


def test_a_job_in_doubt_is_told_at_once():
    found = list(trust.open_long(open_jobs((60, "in_doubt"), (90, "in_doubt"), (9, "submitted"))))
    assert sentences(found) == [
        "2 jobs are in doubt: 3.00 USD stay set aside, the oldest for 1 min 30 s."
    ]
    assert (found[0].table, found[0].row) == ("open", {"age": "0-1 h", "unit": "USD"})
    mixed = open_jobs((60, "in_doubt"), (864_000, "submitted"))
    assert only(trust.open_long(mixed, is_all=False)) == (
        "At least 2 jobs are open for a day or longer, or in doubt (1 in doubt): 3.00 USD stay set"
        " aside, the oldest for 10 d."
    )


# --- costs that nobody confirmed --------------------------------------------------------------


def bases(**spent: int) -> pd.DataFrame:
    rows = [
        {"settled_by": word, "unit": "USD", "clips": 7, "spent_micro": amount}
        for word, amount in spent.items()
    ]
    return frame(rows, clips="integer")


def test_a_tenth_that_no_provider_confirmed_is_told_and_less_is_not():
    assert only(trust.unconfirmed(bases(provider=90_000_000, quote=10_000_000))) == (
        "10 % of what was spent (10.00 USD, 7 clips) is confirmed neither by a provider's answer"
        " nor by a bill."
    )
    assert sentences(trust.unconfirmed(bases(provider=90_000_001, quote=9_999_999))) == []


def test_a_bill_confirms_and_a_person_or_a_measure_does_not():
    assert sentences(trust.unconfirmed(bases(bill=5_000_000, provider=5_000_000))) == []
    found = list(trust.unconfirmed(bases(bill=80_000_000, person=8_000_000, measured=12_000_000)))
    assert "20 % of what was spent (20.00 USD, 14 clips)" in found[0].sentence
    assert found[0].row["settled_by"] == "measured"


# --- quotes -----------------------------------------------------------------------------------


def quotes(billed: int, dearer: int, cheaper: int = 0, off: int = 500_000) -> pd.DataFrame:
    row = {
        "provider": "runapi",
        "unit": "USD",
        "compared": billed,
        "dearer": dearer,
        "cheaper": cheaper,
        "variance_micro": off,
        "variance_share_ppm": off // 10,
    }
    return frame([row], compared="integer", dearer="integer", cheaper="integer")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (quotes(100, 5), "(5 %) did not cost what was quoted: 5 % more in all."),
        (quotes(100, 3, 2, -500_000), "5 % less in all."),
        (quotes(100, 3, 2, 0), "as much in all."),
        (quotes(100, 4), None),
        (quotes(10, 1), "1 of 10 confirmed clips of runapi (10 %)"),
        (quotes(9, 9), None),
        (quotes(0, 0), None),
        (quotes(50, 50).assign(dearer=None, cheaper=None), None),
    ],
)
def test_quotes_that_one_confirmed_clip_in_twenty_did_not_cost_are_told(
    given: pd.DataFrame, told: str | None
):
    found = sentences(trust.quoted_wrong(given))
    assert [told in one for one in found if told] == ([True] if told else [])
    assert bool(found) == bool(told)


# --- which come first -------------------------------------------------------------------------


def finding(rule: str, amount: int) -> Finding:
    return Finding(rule, f"{rule} {amount}", amount, "USD", "spend", {})


def test_findings_are_ranked_by_rule_then_amount_and_no_rule_has_more_than_three():
    given = [finding("change", 5), *(finding("unusual day", at) for at in range(5))]
    assert sentences(ranked([*given, finding("over budget", 1)])) == [
        "over budget 1",
        "unusual day 4",
        "unusual day 3",
        "unusual day 2",
        "change 5",
    ]


def test_there_are_seven_findings_at_most():
    given = [finding(rule, at) for rule in RULES for at in range(2)]
    assert len(ranked(given)) == MOST == 7


def test_every_rule_is_written_down():
    root = Path(__file__).parent.parent
    written = (root / "docs/reference/findings.md").read_text("utf-8")
    assert [rule for rule in RULES if f"**{rule}**" not in written] == []
