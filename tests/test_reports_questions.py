"""The other questions: statement, open credits, failures, variance, budgets, reconciliation."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.errors import ConfigError
from kling_ledger.ledger import Asked, Job, Ledger, Scope
from kling_ledger.ledger.engines.transaction import Stamp
from kling_ledger.ledger.evidence import ProviderRecord, record
from kling_ledger.ledger.ids import to_us
from kling_pricing.money import Money
from kling_reports import budgets, failures, overview, reconciliation, statement, variance
from kling_reports import open as open_credits
from kling_reports.doors.budgets import BUDGET_KINDS
from kling_reports.frames import frame_of
from kling_reports.query import Query
from kling_reports.render import terminal
from kling_reports.report import Span, Table
from tests.ledgers import money, usd
from tests.reports_ledger import START, Made, journal, ledger_of, query, rows, totals

HISTORY = [
    Made(),
    Made(minute=60, cost=700_000, refund=100_000),
    Made(minute=120, end="rolled_back", project=None),
    Made(minute=180, end="late", cost=50_000),
    Made(minute=240, end="part", cost=75_000),
    Made(minute=300, end="in_doubt", provider="crun"),
    Made(
        minute=360,
        wallet="crun",
        quoted=135_000_000,
        cost=130_000_000,
        provider="crun",
        settled_by="quote",
    ),
]
HOUR_4 = START + timedelta(hours=4)


def amounts(*written: str) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, written))


def sums(table: Table, *keys: str) -> list[tuple[Any, ...]]:
    """The sum of some columns, worked out from the rows, by unit: as totals have to be."""
    added: dict[str, list[Any]] = {}
    for unit, *figures in rows(table, "unit", *keys):
        so_far = added.setdefault(unit, [0] * len(keys))
        added[unit] = [one + figure for one, figure in zip(so_far, figures, strict=True)]
    return [(unit, *figures) for unit, figures in sorted(added.items())]


# --- statement --------------------------------------------------------------------------------


def test_a_statement_leads_from_opening_to_closing(url: str):
    with ledger_of(url, HISTORY) as ledger:
        table = statement.report(ledger.database, query(span=Span(HOUR_4, None))).main
        posted = {one.name: one.posted.amount for one in ledger.wallets.all()}
    keys = ("wallet", "opening", "funded", "spent", "refunded", "adjusted", "closing", "reserved")
    assert rows(table, *keys) == [
        ("crun", *amounts("1000000", "0", "-130", "0", "0", "999870", "0")),
        ("shop", *amounts("1000000", "0", "0", "0", "0", "1000000", "0")),
        ("team", *amounts("999998.675", "0", "-0.075", "0", "0", "999998.6", "1.275")),
    ]
    assert dict(rows(table, "wallet", "closing")) == posted


def test_every_line_moves_the_balance_to_the_next(url: str):
    with ledger_of(url, HISTORY) as ledger:
        ledger.wallets.adjust("team", usd("-0.5"), reason="a fee")
        answered = statement.report(ledger.database, query())
    summary, lines = answered.main, answered.table("lines")
    for wallet, opening, closing in rows(summary, "wallet", "opening", "closing"):
        balance = opening
        for name, amount, after in rows(lines, "wallet", "amount", "balance"):
            if name == wallet:
                balance += amount
                assert after == balance
        assert balance == closing
    assert totals(lines, "unit", "amount") == sums(lines, "amount")


def test_a_month_of_the_journal_has_what_counts_in_it(url: str):
    with ledger_of(url, HISTORY) as ledger:
        march, april = (
            statement.report(ledger.database, query(period=month)).main
            for month in ("2026-03", "2026-04")
        )
    assert rows(march, "wallet", "closing") == rows(april, "wallet", "opening")
    assert {figure for row in rows(april, "spent", "funded") for figure in row} == {Decimal(0)}


def test_statements_of_two_times_in_turn_add_up(url: str):
    with ledger_of(url, HISTORY) as ledger:
        first, second = (
            statement.report(ledger.database, query(span=span)).main
            for span in (Span(None, HOUR_4), Span(HOUR_4, None))
        )
        spent = {unit: figures["spent"] for unit, figures in journal(ledger).items()}
    assert rows(first, "wallet", "closing") == rows(second, "wallet", "opening")
    both = [*rows(first, "unit", "spent", "refunded"), *rows(second, "unit", "spent", "refunded")]
    for unit, micro in spent.items():
        net = sum((row[1] + row[2] for row in both if row[0] == unit), Decimal(0))
        assert int(net * -1_000_000) == micro


@pytest.mark.parametrize(
    "asked", [query(), query(period="2026-03"), query(span=Span(HOUR_4, None))]
)
def test_what_it_was_spent_on_is_what_left_the_wallets(tmp_path: Path, asked: Query):
    with ledger_of(str(tmp_path / "l"), HISTORY) as ledger:
        answered = statement.report(ledger.database, asked)
    charges = answered.table("charges")
    left = totals(answered.main, "unit", "spent", "refunded")
    told = {
        unit: (-charged, back)
        for unit, charged, back in totals(charges, "unit", "charged", "refunded")
    }
    assert told == {unit: (spent, back) for unit, spent, back in left}
    assert totals(charges, "unit", "net") == sums(charges, "net")
    assert sum(row[0] for row in rows(charges, "jobs")) == (2 if asked.span.starts_at else 5)


def test_a_statement_can_be_of_one_wallet_and_of_nothing_finer(url: str):
    with ledger_of(url, HISTORY) as ledger:
        answered = statement.report(ledger.database, query(where=["wallet=crun"]))
        assert rows(answered.main, "wallet") == [("crun",)]
        with pytest.raises(ConfigError, match="knows no sound"):
            statement.report(ledger.database, query(where=["sound=yes"]))


# --- open credits -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "name"),
    [
        (timedelta(0), "0-1 h"),
        (timedelta(seconds=3_599), "0-1 h"),
        (timedelta(hours=1), "1-24 h"),
        (timedelta(hours=24, seconds=-1), "1-24 h"),
        (timedelta(hours=24), "1-7 d"),
        (timedelta(days=7, seconds=-1), "1-7 d"),
        (timedelta(days=7), "over 7 d"),
    ],
)
def test_open_credits_are_sorted_by_age(tmp_path: Path, age: timedelta, name: str):
    with ledger_of(str(tmp_path / "l"), [Made(end="reserved")]) as ledger:
        answered = open_credits.report(ledger.database, query(now=START + age))
    assert [row for row in rows(answered.main, "age", "jobs") if row[1]] == [(name, 1)]
    assert rows(answered.table("jobs"), "age", "age_seconds") == [(name, age.total_seconds())]


def test_open_credits_are_what_the_journal_holds(url: str):
    with ledger_of(url, HISTORY) as ledger:
        answered = open_credits.report(ledger.database, query(now=START + timedelta(days=1)))
        held = journal(ledger)["USD"]["held"]
    assert held == 1_275_000
    assert totals(answered.main, "unit", "jobs", "in_doubt", "reserved") == [
        ("USD", 2, 1, Decimal("1.275"))
    ]
    said = rows(answered.table("jobs"), "state", "to_do", "id")
    assert [state for state, _, _ in said] == ["reserved", "in_doubt"]
    assert all("kling-ledger" in to_do and one in to_do for _, to_do, one in said)


def test_open_jobs_that_only_their_script_can_end_are_not_sent_to_resume(url: str):
    sent = Job(provider="runapi", request="{}", address="https://runapi.example")
    with Ledger(url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10"))
        for job in (sent, Job(provider="runapi"), sent, Job()):
            made = ledger.reserve("team", usd("1"), job=job)
            ledger.mark_submitting(made.id)
            ledger.mark_submitted(made.id, f"task of {made.id}")
        ledger.reserve("team", usd("1"))
        answered = open_credits.report(ledger.database, query())
    said = [to_do for (to_do,) in rows(answered.table("jobs"), "to_do")]
    assert ["kling-ledger resume res_" in to_do for to_do in said] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert ["its script must end it" in to_do for to_do in said] == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_of_very_many_open_jobs_all_are_listed_and_a_terminal_has_the_oldest(tmp_path: Path):
    now = [START]
    with Ledger(str(tmp_path / "ledger.sqlite"), clock=lambda: now[0]) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("1000"))
        old = [
            one.id
            for _ in range(3)
            for one in ledger.reserve_many([Asked("team", usd("0.01"), project="old")] * 3000)
        ]
        now[0] += timedelta(hours=2)
        ledger.reserve_many([Asked("team", usd("0.02"), project="new")] * 1500)
        now[0] += timedelta(minutes=30)
        both = open_credits.report(ledger.database, query(now=now[0]))
        new = query(now=now[0], where=["project=new"])
        few = open_credits.report(ledger.database, new)
        with ledger.database.snapshot() as database:
            long = open_credits.report(database, query(now=now[0])).only("jobs")
            on_terminal = terminal.render(long, width=200, is_terminal=True)
            in_pipe = terminal.render(long, width=10_000)
    assert [row for row in rows(both.main, "age", "jobs", "reserved") if row[1]] == [
        ("0-1 h", 1500, Decimal(30)),
        ("1-24 h", 9000, Decimal(90)),
    ]
    listed = [name for (name,) in rows(both.table("jobs"), "id")]
    assert (len(listed), set(listed[:9000])) == (10_500, set(old))
    assert totals(both.table("jobs"), "unit", "reserved") == [("USD", Decimal(120))]
    assert (len(rows(few.table("jobs"), "id")), len(few.notes)) == (1500, 1)
    assert "These are the first 5,000 of 10,500 rows" in on_terminal
    assert [told.count("res_") for told in (on_terminal, in_pipe)] == [10_000, 21_000]


# --- failures ---------------------------------------------------------------------------------


def test_failures_say_what_they_would_have_cost_and_what_came_back(url: str):
    jobs = [*HISTORY, Made(minute=24 * 60, end="rolled_back", labels={"team": "x"})]
    with ledger_of(url, jobs) as ledger:
        answered = failures.report(ledger.database, query("day", "label:team"))
    keys = ("day", "label:team", "unit", "jobs", "quoted", "charged", "returned")
    cost = amounts("0.675", "0", "0.675")
    assert rows(answered.main, *keys) == [
        (date(2026, 3, 20), None, "USD", 1, *cost),
        (date(2026, 3, 21), "x", "USD", 1, *cost),
    ]
    assert rows(answered.table("jobs"), "problem") == [("the clip could not be made",)] * 2
    guide = "https://runapi.ai/zh-CN/openclaw-kling.md, checked 2026-11-20"
    assert f"RunAPI does not charge for a job that failed ({guide})." in answered.notes


def test_a_failure_that_was_charged_in_part_came_back_in_part(tmp_path: Path):
    with ledger_of(str(tmp_path / "l"), [Made(end="part", cost=75_000)]) as ledger:
        [one] = ledger.reservations.open()
        ledger.mark_submitting(one.id)
        ledger.roll_back(one.id, "it stopped half way")
        table = failures.report(ledger.database, query()).main
    assert rows(table, "quoted", "charged", "returned") == [amounts("0.675", "0.075", "0.6")]


# --- variance ---------------------------------------------------------------------------------


def test_variance_compares_quoted_and_settled(url: str):
    with ledger_of(url, HISTORY) as ledger:
        table = variance.report(ledger.database, query("provider")).main
    keys = (
        "provider",
        "unit",
        "clips",
        "quoted",
        "settled",
        "variance",
        "confirmed_clips",
    )
    assert rows(table, *keys) == [
        ("crun", "crun-credit", 1, *amounts("135", "130", "-5"), 0),
        ("runapi", "USD", 3, *amounts("2.025", "1.425", "-0.6"), 3),
    ]
    assert totals(table, "unit", "variance") == sums(table, "variance")
    assert rows(table, "exact", "dearer", "cheaper", "accuracy") == [
        (None, None, None, None),
        (1, 1, 1, Decimal("0.333333")),
    ]


@pytest.mark.parametrize(
    ("costs", "median"),
    [
        ((100, 100), "0"),
        ((100, 110), "0"),
        ((100, 100, 110, 150), "0"),
        ((100, 110, 150), "0.1"),
        ((90, 100, 110, 150), "0.1"),
        ((150,), "0.5"),
    ],
)
def test_half_of_the_clips_were_nearer_than_the_median_error(
    tmp_path: Path, costs: tuple[int, ...], median: str
):
    with ledger_of(str(tmp_path / "l"), [Made(quoted=100, cost=cost) for cost in costs]) as ledger:
        table = variance.report(ledger.database, query("model")).main
    assert rows(table, "median_error") == [(Decimal(median),)]


# --- budgets ----------------------------------------------------------------------------------


def test_a_budget_says_how_fast_it_goes_and_when_it_runs_out(url: str):
    now = datetime(2026, 3, 21, tzinfo=UTC)
    # Ten jobs make a forecast; these cost nothing to speak of.
    small = [Made(minute=400 + one, quoted=1, cost=1) for one in range(10)]
    with ledger_of(url, [*HISTORY, *small]) as ledger:
        ledger.budgets.set("month", usd("4"), scope=Scope(wallet="team"), window="month")
        ledger.budgets.set("large", usd("1000"), scope=Scope(wallet="team"), window="month")
        table = budgets.report(ledger.database, query(now=now)).main
    # 20 days gone of 31: 1.40001 spent is 0.0700005 a day, and 1.275 are still reserved.
    keys = ("budget", "limit", "spent", "reserved", "left", "daily", "forecast")
    assert rows(table, *keys) == [
        ("large", *amounts("1000", "1.40001", "1.275", "997.32499", "0.070001", "3.445016")),
        ("month", *amounts("4", "1.40001", "1.275", "1.32499", "0.070001", "3.445016")),
    ]
    assert rows(table, "runs_out_at") == [(None,), (None,)]
    assert rows(table, "used", "forecast_share")[1] == amounts("0.668753", "0.861254")


def test_a_budget_runs_out_when_what_is_left_is_gone(tmp_path: Path):
    now = START + timedelta(days=4)
    made = [Made(minute=one, quoted=100_000, cost=100_000) for one in range(10)]
    with ledger_of(str(tmp_path / "l"), made) as ledger:
        ledger.budgets.set("all", Money.parse("1.5 USD"))
        ledger.budgets.set("gone", Money.parse("1 USD"))
        ledger.budgets.set("unused", Money.parse("5 USD"), scope=Scope(project="nobody"))
        table = budgets.report(ledger.database, query(now=now)).main
    assert rows(table, "budget", "runs_out_at", "forecast", "daily", "graded_on") == [
        ("all", START + timedelta(days=6), None, Decimal("0.25"), "not graded yet"),
        ("gone", None, None, Decimal("0.25"), None),
        ("unused", None, None, None, None),
    ]


BEGINS, ENDS = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
HALF_WAY = BEGINS + (ENDS - BEGINS) / 2


def standing(**given: int) -> dict[str, Any]:
    """A budget of October, with its amounts in millionths."""
    nothing: dict[str, Any] = dict.fromkeys(BUDGET_KINDS)
    edges = {"begins_at": to_us(BEGINS), "ends_at": to_us(ENDS)}
    amounts = {"limit_micro": 200, "spent_micro": 0, "reserved_micro": 0, "jobs": 10}
    return {**nothing, "unit": "USD", **edges, **amounts, **given}


@pytest.mark.parametrize(
    ("given", "runs_out_at"),
    [
        ({"reserved_micro": 200}, None),
        ({"reserved_micro": 199}, None),
        ({"spent_micro": 100}, None),
        ({"spent_micro": 100, "limit_micro": 199}, HALF_WAY + (ENDS - HALF_WAY) * 99 / 100),
        ({"spent_micro": 200}, None),
        ({"spent_micro": 201}, None),
        ({"spent_micro": 150, "reserved_micro": 50}, None),
        ({"spent_micro": 150, "reserved_micro": 49}, HALF_WAY + (HALF_WAY - BEGINS) / 150),
    ],
    ids=[
        *("all reserved", "one left", "at the end", "before the end", "all spent", "beyond"),
        *("all used", "one left of it"),
    ],
)
def test_a_budget_runs_out_when_nothing_is_left_and_not_at_its_windows_end(
    given: dict[str, int], runs_out_at: datetime | None
):
    table = budgets.budgets(frame_of([standing(**given)], BUDGET_KINDS), HALF_WAY)
    assert rows(table, "runs_out_at") == [(runs_out_at,)]


def test_a_forecast_of_what_lasts_exactly_is_the_limit():
    known = frame_of([standing(spent_micro=100), standing(spent_micro=1)], BUDGET_KINDS)
    table = budgets.budgets(known, HALF_WAY)
    assert rows(table, "forecast", "forecast_share") == [
        amounts("0.0002", "1"),
        amounts("0.000002", "0.01"),
    ]
    # At its very end a window has nothing to come.
    assert rows(budgets.budgets(known[:1], ENDS), "forecast") == [amounts("0.0001")]
    assert rows(budgets.budgets(known[:1], ENDS), "graded_on") == [("not graded yet",)]


def test_what_is_spent_a_day_is_rounded_once_and_half_up():
    four_days = BEGINS + timedelta(days=4)
    known = frame_of([standing(spent_micro=spent) for spent in (2, 5, 6)], BUDGET_KINDS)
    table = budgets.budgets(known, four_days)
    assert rows(table, "daily") == [amounts("0.000001"), amounts("0.000001"), amounts("0.000002")]


# --- reconciliation ---------------------------------------------------------------------------


def test_reconciliation_says_what_each_figure_rests_on(url: str):
    with ledger_of(url, HISTORY) as ledger:
        ledger.wallets.adjust("shop", usd("-1"), reason="a fee of the bank")
        answered = reconciliation.report(ledger.database, query())
        spent = {unit: figures["spent"] for unit, figures in journal(ledger).items()}
    assert rows(answered.main, "provider", "unit", "basis", "jobs") == [
        ("crun", "USD", "in doubt", 1),
        ("crun", "crun-credit", "quote", 1),
        ("runapi", "USD", "provider", 3),
        ("runapi", "USD", "open", 1),
        ("runapi", "USD", "failed", 1),
    ]
    net = totals(answered.main, "unit", "spent")
    assert {unit: int(amount * 1_000_000) for unit, amount in net} == spent
    assert rows(answered.table("in_doubt"), "problem", "reserved") == [
        ("no reply", Decimal("0.675"))
    ]
    assert rows(answered.table("corrections"), "kind", "amount") == [
        ("overrun", Decimal("-0.025")),
        ("refund", Decimal("0.1")),
        ("late_commit", Decimal("-0.05")),
        ("adjust_down", Decimal(-1)),
    ]


def test_what_providers_said_stands_beside_what_we_charged(url: str):
    with ledger_of(url, [Made(), Made(minute=1), Made(minute=2, wallet="crun")]) as ledger:
        first, second, third = (one.id for one in reversed(ledger.reservations.latest()))
        said = [
            ("a", first, "matched", "0.675 USD"),
            ("b", second, "amount_differs", "0.7 USD"),
            ("c", third, "amount_differs", "1 CNY"),
            ("d", None, "only_theirs", None),
        ]
        kept = [
            ProviderRecord(
                "runapi", "", task, ours, verdict, None, money(billed) if billed else None, "test"
            )
            for task, ours, verdict, billed in said
        ]
        stamp = Stamp(1, "ann", None, 1)
        ledger.database.write(lambda transaction: record(transaction, kept, stamp=stamp))
        answered = reconciliation.report(ledger.database, query())
    assert rows(answered.table("compared"), "unit", "verdict", "tasks", "billed", "spent") == [
        ("CNY", "amount_differs", 1, Decimal(1), None),
        ("USD", "amount_differs", 1, *amounts("0.7", "0.675")),
        ("USD", "matched", 1, *amounts("0.675", "0.675")),
        (None, "only_theirs", 1, None, None),
    ]
    assert rows(answered.table("differences"), "task_id", "difference") == [
        ("b", Decimal("0.025")),
        ("c", None),
        ("d", None),
    ]


@pytest.mark.parametrize(
    "module", [statement, open_credits, failures, variance, budgets, reconciliation]
)
def test_a_ledger_in_which_nothing_happened_has_every_report(tmp_path: Path, module: Any):
    with Ledger(str(tmp_path / "empty")) as ledger:
        answered = module.report(ledger.database, query(zone="Asia/Kolkata"))
    for table in answered.tables:
        assert list(table.rows()) == list(table.total_rows()) == []
        assert table.empty
    assert answered.question.endswith("?")


def test_an_overview_by_month_names_the_month_once(url):
    with Ledger(url) as ledger:
        answered = overview.report(ledger.database, query("month", "provider"))
    assert [column.name for column in answered.main.columns[:2]] == ["month", "provider"]


@pytest.mark.parametrize("module", [variance, failures])
def test_every_word_can_be_asked_of_what_is_grouped(tmp_path: Path, module: Any):
    words = ("day", "week", "month", "project:1", "wallet", "action", "resolution", "sound")
    with ledger_of(str(tmp_path / "l"), HISTORY) as ledger:
        for word in (*words, "user", "state", "settled_by", "label:team"):
            assert list(module.report(ledger.database, query(word)).main.rows()), word
