"""Who changed which limit: each change from what to what, of removed budgets too."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kling_ledger.errors import ConfigError
from kling_ledger.ledger import Ledger, Scope
from kling_reports import limits
from kling_reports.report import Span
from tests.cli import Cli
from tests.ledgers import Clock, money
from tests.reports_ledger import query, rows

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
UNTIL = NOON + timedelta(days=2)
FIELDS = ("budget", "field", "from", "to", "actor", "reason")


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def ledger(url: str, clock: Clock) -> Iterator[Ledger]:
    """A budget that ada set and ben changed, raised twice at a time and once more later, removed
    and set again; and another one of a label."""
    film = Scope(project="film/")
    with Ledger(url, clock=clock, actor="ada") as one:
        one.budgets.set("film", money("50 USD"), scope=film, window="month", reason="the plan")
    with Ledger(url, clock=clock, actor="ben") as two:
        clock.forward(hours=1)
        two.budgets.set("film", money("60 USD"), scope=film, window="month", ceiling=money("2 USD"))
        clock.forward(hours=1)
        two.budgets.set("film", money("60 USD"), scope=film, window="month", mode="warn")
        clock.forward(hours=1)
        two.budgets.raise_limit("film", money("5 USD"), until=UNTIL, reason="a retake")
        two.budgets.raise_limit("film", money("0.5 USD"), until=UNTIL, reason="one more")
        clock.forward(hours=24 * 2)
        two.budgets.raise_limit(
            "film", money("1 USD"), until=UNTIL + timedelta(days=9), reason="the end"
        )
        clock.forward(hours=1)
        two.budgets.remove("film", reason="done")
        two.budgets.set("film", money("7 USD"))
        clock.forward(hours=1)
        two.budgets.set("ads", money("9 USD"), scope=Scope(label="team=ads"))
        yield two


LATER = "2026-03-29T12:00:00+00:00"
FILM = [
    ("limit", None, "50 USD", "ada", "the plan"),
    ("mode", None, "hard", "ada", "the plan"),
    ("project", None, "film/", "ada", "the plan"),
    ("thresholds", None, "80,100", "ada", "the plan"),
    ("timezone", None, "UTC", "ada", "the plan"),
    ("window", None, "month", "ada", "the plan"),
    ("ceiling", None, "2 USD", "ben", None),
    ("limit", "50 USD", "60 USD", "ben", None),
    ("mode", "hard", "warn", "ben", None),
    ("ceiling", "2 USD", None, "ben", None),
    ("raise until 2026-03-20T12:00:00+00:00", "60 USD", "65 USD", "ben", "a retake"),
    ("raise until 2026-03-20T12:00:00+00:00", "65 USD", "65.5 USD", "ben", "one more"),
    (f"raise until {LATER}", "60 USD", "61 USD", "ben", "the end"),
    ("removed", "61 USD", None, "ben", "done"),
]


def test_each_change_is_told_from_what_to_what_and_by_whom(ledger: Ledger):
    told = rows(limits.report(ledger.database, query()).main, *FIELDS)
    assert [row[1:] for row in told[: len(FILM)]] == FILM
    assert {row[0] for row in told[: len(FILM)]} == {"film"}
    assert [row[:4] for row in told[len(FILM) :] if row[1] == "limit"] == [
        ("film", "limit", None, "7 USD"),
        ("ads", "limit", None, "9 USD"),
    ]


def test_a_removed_budget_and_one_of_its_name_are_told_apart(ledger: Ledger):
    told = rows(limits.report(ledger.database, query()).main, "budget", "to", "removed")
    limits_of_film = [row for row in told if row[1] in {"50 USD", "60 USD", "7 USD"}]
    assert [row[2] for row in limits_of_film] == [True, True, False]


@pytest.mark.parametrize(
    ("where", "budgets"),
    [
        ("project=film/", {"film"}),
        ("label:team=ads", {"ads"}),
        ("user=ada", {"film"}),
        ("project=-", {"film", "ads"}),
        ("provider=crun", set()),
    ],
)
def test_changes_are_filtered_by_what_a_budget_covers_and_who_changed_it(
    ledger: Ledger, where: str, budgets: set[str]
):
    told = rows(limits.report(ledger.database, query(where=[where])).main, "budget", "actor")
    assert {row[0] for row in told} == budgets
    if where == "user=ada":
        assert {row[1] for row in told} == {"ada"}


def test_a_condition_that_no_budget_can_meet_is_refused(ledger: Ledger):
    with pytest.raises(ConfigError, match="this report knows no sound"):
        limits.report(ledger.database, query(where=["sound=yes"]))


def test_a_span_has_its_beginning_and_not_its_end(ledger: Ledger):
    second, third = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
    asked = query(span=Span(second, third))
    told = rows(limits.report(ledger.database, asked).main, "field", "from")
    assert told == [("ceiling", None), ("limit", "50 USD")]


def test_the_command_line_tells_the_same(tmp_path: Path):
    cli = Cli(tmp_path, {"KLING_LEDGER_ACTOR": "ada"})
    with Ledger(str(cli.database)):
        pass
    cli.json("budget", "set", "all", "--limit", "5 USD", "--reason", "=first")
    cli.json("budget", "set", "all", "--limit", "8 USD")
    said = cli("report", "limits", "--format", "csv")
    told = list(csv.DictReader(io.StringIO(said.out)))
    assert [(row["field"], row["from"], row["to"]) for row in told][-1] == (
        "limit",
        "5 USD",
        "8 USD",
    )
    assert told[0]["reason"] == "'=first"
    shown = cli.json("budget", "show", "all")["history"][-1]
    assert shown["by"] == "ada"
    assert shown["fields"] == [{"field": "limit", "from": "5 USD", "to": "8 USD"}]
    assert "limit 5 USD -> 8 USD" in cli("budget", "show", "all").out
