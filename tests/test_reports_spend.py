"""Spend: every total is the journal's, to the last millionth, however it is grouped."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_ledger.errors import ConfigError
from kling_ledger.ledger import Ledger, Reservation
from kling_pricing.money import from_micro
from kling_reports import spend
from kling_reports.report import Span
from tests.ledgers import make_empty
from tests.reports_ledger import START, Made, journal, ledger_of, query, rows, totals

MICRO = st.integers(1, 3_000_000)
JOBS = st.lists(
    st.builds(
        Made,
        wallet=st.sampled_from(["team", "crun", "shop"]),
        minute=st.integers(0, 60 * 24 * 14),
        quoted=MICRO,
        end=st.sampled_from(["committed", "part", "in_doubt", "rolled_back", "late", "reserved"]),
        cost=MICRO,
        refund=st.sampled_from([0, 0, 1, 5_000_000]),
        project=st.sampled_from([None, "film", "film/a", "film/a/b", "ads/x"]),
        provider=st.sampled_from([None, "runapi", "crun"]),
        sound=st.sampled_from([None, True, False]),
        seconds=st.sampled_from([None, 3, 10]),
        labels=st.sampled_from([None, {"team": "x"}, {"team": "y", "accepted": "no"}]),
        usd=st.sampled_from([None, 1, 999_999]),
    ),
    max_size=12,
)
WORDS = (
    "day",
    "week",
    "month",
    "project",
    "project:1",
    "project:2",
    "wallet",
    "provider",
    "model",
    "action",
    "resolution",
    "sound",
    "user",
    "state",
    "settled_by",
    "label:team",
)
GROUPS = st.lists(st.sampled_from(WORDS), max_size=4, unique=True)
ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Pacific/Apia",
        "Australia/Lord_Howe",
    ]
)


def micro(amount: Decimal) -> int:
    return int(amount * 1_000_000)


def by_unit(found: Sequence[tuple[Any, ...]]) -> dict[str, tuple[int, int]]:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for unit, spent, held in found:
        sums[unit][0] += micro(spent)
        sums[unit][1] += micro(held)
    return {unit: (spent, held) for unit, (spent, held) in sums.items() if spent or held}


def value(one: Reservation, word: str, zone: str) -> Any:
    """What a reservation counts under, worked out from what the ledger shows of it."""
    day = one.created_at.astimezone(ZoneInfo(zone)).date()
    name, _, rest = word.partition(":")
    if name == "project":
        levels = (one.project or "").split("/")
        return "/".join(levels[: int(rest or 99)]) or None
    if name == "label":
        return one.labels.get(rest)
    return {
        "day": day,
        "week": day - timedelta(days=day.weekday()),
        "month": day.replace(day=1),
        "wallet": one.wallet,
        "provider": one.job.provider,
        "model": one.job.model,
        "action": one.job.action,
        "resolution": one.job.resolution,
        "sound": one.job.sound,
        "user": one.actor,
        "state": str(one.state),
        "settled_by": one.settled_by,
    }[name]


def worked_out(ledger: Ledger, words: Sequence[str], zone: str) -> dict[tuple[Any, ...], int]:
    sums: dict[tuple[Any, ...], int] = defaultdict(int)
    for one in ledger.reservations.latest(limit=1000):
        key = (*(value(one, word, zone) for word in words), one.amount.unit)
        sums[key] += (one.committed.micro if one.committed else 0) - one.refunded.micro
    return dict(sums)


@settings(
    max_examples=25,
)
@given(jobs=JOBS, words=GROUPS, zone=ZONES)
def test_every_grouping_adds_up_to_the_journal(jobs: list[Made], words: list[str], zone: str):
    with tempfile.TemporaryDirectory() as folder, ledger_of(f"{folder}/l", jobs) as ledger:
        table = spend.report(ledger.database, query(*words, zone=zone)).main
        said = {
            unit: (sums["spent"], sums["held"])
            for unit, sums in journal(ledger).items()
            if sums["spent"] or sums["held"]
        }
        assert by_unit(rows(table, "unit", "spent", "reserved")) == said
        assert by_unit(totals(table, "unit", "spent", "reserved")) == said
        grouped = rows(table, *words, "unit", "spent")
        assert {row[:-1]: micro(row[-1]) for row in grouped} == worked_out(ledger, words, zone)
        assert sum(row[0] for row in rows(table, "clips")) == sum(
            job.end in {"committed", "late"} for job in jobs
        )


@settings(max_examples=15)
@given(jobs=JOBS, words=GROUPS, zone=ZONES, hour=st.integers(0, 24 * 14))
def test_two_halves_of_the_time_add_up_to_the_whole(
    jobs: list[Made], words: list[str], zone: str, hour: int
):
    cut = START + timedelta(hours=hour)
    with tempfile.TemporaryDirectory() as folder, ledger_of(f"{folder}/l", jobs) as ledger:
        parts = [
            rows(
                spend.report(ledger.database, query(*words, zone=zone, span=span)).main,
                "unit",
                "spent",
                "reserved",
            )
            for span in (Span(None, cut), Span(cut, None))
        ]
        whole = spend.report(ledger.database, query(*words, zone=zone)).main
        assert by_unit([*parts[0], *parts[1]]) == by_unit(rows(whole, "unit", "spent", "reserved"))


MIXED = [
    Made(),
    Made(minute=60, cost=700_000, project="film/opening", labels={"team": "x"}),
    Made(minute=61, end="rolled_back", project="film/opening", sound=None, seconds=None),
    Made(minute=62, wallet="crun", quoted=135_000_000, cost=135_000_000, usd=675_000),
    Made(minute=63, wallet="crun", quoted=135_000_000, cost=270_000_000, provider="crun"),
    Made(minute=64, end="in_doubt", project=None),
    Made(minute=65, refund=675_000),
    Made(minute=66, labels={"accepted": "no"}, provider=None),
    Made(minute=67, end="part", cost=100_000, seconds=None),
]


def test_both_engines_answer_alike(tmp_path: Path, postgres_ledger: str):
    make_empty(postgres_ledger)
    with ledger_of(str(tmp_path / "l"), MIXED) as one, ledger_of(postgres_ledger, MIXED) as other:
        for words in (WORDS[:7], WORDS[7:], ("day", "label:team"), ("month",), ()):
            for currency in (None, "USD"):
                asked = query(*words, currency=currency, zone="Europe/Berlin")
                first, second = (
                    list(spend.report(ledger.database, asked).main.rows())
                    for ledger in (one, other)
                )
                assert first == second


def test_figures_worked_by_hand(tmp_path: Path):
    jobs = [
        Made(),
        Made(cost=700_000),
        Made(refund=675_000),
        Made(end="rolled_back"),
        Made(end="in_doubt"),
    ]
    with ledger_of(str(tmp_path / "l"), jobs) as ledger:
        table = spend.report(ledger.database, query("provider")).main
    [row] = rows(
        table,
        "provider",
        "unit",
        "clips",
        "accepted",
        "failed",
        "open",
        "seconds",
        "spent",
        "reserved",
        "per_clip",
        "per_second",
        "per_accepted",
    )
    amounts = ("1.375", "0.675", "0.458333", "0.091667", "0.6875")
    assert row == ("runapi", "USD", 3, 2, 1, 1, 15, *map(Decimal, amounts))


def test_a_rejected_clip_makes_the_accepted_ones_dearer(tmp_path: Path):
    jobs = [Made(cost=600_000), Made(cost=600_000, labels={"accepted": "no", "b": "c"})]
    with ledger_of(str(tmp_path / "l"), jobs) as ledger:
        table = spend.report(ledger.database, query()).main
    assert rows(table, "clips", "accepted", "per_clip", "per_accepted") == [
        (2, 1, Decimal("0.6"), Decimal("1.2"))
    ]


def test_unknown_seconds_and_costs_of_nothing_are_unknown_and_never_zero(tmp_path: Path):
    jobs = [Made(seconds=None), Made(), Made(wallet="crun", end="rolled_back")]
    with ledger_of(str(tmp_path / "l"), jobs) as ledger:
        table = spend.report(ledger.database, query("wallet")).main
    assert rows(table, "wallet", "seconds", "per_second", "per_clip") == [
        ("crun", 0, None, None),
        ("team", None, None, Decimal("0.675")),
    ]


def test_in_dollars_what_has_no_rate_stays_in_its_own_unit(tmp_path: Path):
    credit = 135_000_000
    jobs = [
        Made(),
        Made(wallet="crun", quoted=credit, cost=credit, usd=675_000),
        Made(wallet="crun", quoted=credit, cost=credit),
    ]
    with ledger_of(str(tmp_path / "l"), jobs) as ledger:
        answered = spend.report(ledger.database, query(currency="USD"))
    assert rows(answered.main, "unit", "clips", "spent") == [
        ("USD", 2, Decimal("1.35")),
        ("crun-credit", 1, Decimal(135)),
    ]
    assert any("1 job has no known rate" in note for note in answered.notes)


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("UTC", [date(2026, 3, 28), date(2026, 3, 29)]),
        ("Europe/Berlin", [date(2026, 3, 29), date(2026, 3, 30)]),
    ],
)
def test_a_day_is_one_of_the_zone_when_the_clocks_go_forward(
    tmp_path: Path, zone: str, days: list[date]
):
    first = int((datetime(2026, 3, 28, 23, 0, tzinfo=UTC) - START).total_seconds() // 60)
    last = int((datetime(2026, 3, 29, 22, 0, tzinfo=UTC) - START).total_seconds() // 60)
    jobs = [Made(minute=first), Made(minute=last - 1), Made(minute=last)]
    with ledger_of(str(tmp_path / "l"), jobs) as ledger:
        counted = rows(spend.report(ledger.database, query("day", zone=zone)).main, "day", "clips")
    assert counted == [(days[0], 1 if zone == "UTC" else 2), (days[1], 2 if zone == "UTC" else 1)]


def test_a_span_has_its_start_and_not_its_end(tmp_path: Path):
    jobs = [Made(minute=0), Made(minute=10), Made(minute=20)]
    span = Span(START, START + timedelta(minutes=20))
    with ledger_of(str(tmp_path / "l"), jobs) as ledger:
        assert rows(spend.report(ledger.database, query(span=span)).main, "clips") == [(2,)]


@pytest.mark.parametrize(
    ("where", "clips"),
    [
        (["project=film/"], 5),
        (["project=film/opening"], 1),
        (["project=-"], 0),
        (["provider=crun", "provider=-"], 2),
        (["provider=crun", "wallet=team"], 0),
        (["label:team=x"], 1),
        (["sound=no"], 0),
        (["sound=yes", "wallet=crun"], 2),
        (["user=ann", "state=committed"], 6),
    ],
)
def test_conditions_keep_what_they_say(tmp_path: Path, where: list[str], clips: int):
    with ledger_of(str(tmp_path / "l"), MIXED) as ledger:
        table = spend.report(ledger.database, query(where=where)).main
    expected = clips + (1 if where == ["project=film/"] else 0)
    assert sum(row[0] for row in rows(table, "clips")) == expected


@pytest.mark.parametrize(
    "word", ["nobody", "project:", "project:0", "label:", "label:a=b", "day:1"]
)
def test_a_word_that_is_no_group_is_refused(word: str):
    with pytest.raises(ConfigError):
        query(word)


@pytest.mark.parametrize("where", ["provider", "provider=", "day=2026-03-20", "sound=loud"])
def test_what_is_no_condition_is_refused(where: str):
    with pytest.raises(ConfigError):
        query(where=[where])


def test_an_empty_ledger_has_a_report_with_every_column(tmp_path: Path):
    with ledger_of(str(tmp_path / "l"), []) as ledger:
        table = spend.report(ledger.database, query(*WORDS, zone="Asia/Kolkata")).main
    assert list(table.rows()) == list(table.total_rows()) == []
    assert [column.name for column in table.columns][: len(WORDS)] == list(WORDS)


def test_a_report_leaves_no_trace_and_can_be_asked_again(tmp_path: Path):
    with ledger_of(str(tmp_path / "l"), MIXED) as ledger:
        answers = [list(spend.report(ledger.database, query("day")).main.rows()) for _ in range(3)]
        with ledger.database.read() as transaction:
            assert transaction.rows("SELECT name FROM sqlite_temp_master") == []
    assert answers[0] == answers[1] == answers[2]


def test_amounts_are_exact_where_a_float_would_not_be(tmp_path: Path):
    most = 9_007_199_254
    jobs = [Made(quoted=1, cost=most * 10 + number) for number in range(9)]
    with ledger_of(str(tmp_path / "l"), jobs) as ledger:
        [(spent,)] = rows(spend.report(ledger.database, query()).main, "spent")
    assert spent == from_micro(9 * most * 10 + 36)
