"""`kling-ledger budget`: limits are set, raised and removed, and a refusal explains itself."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli import API_KEY, Cli, Said, body, sandbox_process

EVERY_OPTION = (
    ("--wallet", "team"),
    ("--project", "film/"),
    ("--provider", "runapi"),
    ("--model", "kling-3.0"),
    ("--label", "team=a"),
    ("--window", "month"),
    ("--timezone", "Europe/Berlin"),
    ("--mode", "warn"),
    ("--threshold", "50"),
    ("--threshold", "90"),
    ("--ceiling", "2 USD"),
)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command with a wallet `team` that holds 100 USD."""
    cli = Cli(tmp_path)
    cli.fund("100 USD")
    return cli


def set_budget(cli: Cli, name: str, *words: str) -> dict[str, Any]:
    return dict(cli.json("budget", "set", name, *words))


def reserve(cli: Cli, amount: str, *words: str) -> Said:
    create = ("reservation", "create", "--wallet", "team", "--amount", amount)
    return cli(*create, "--format", "json", *words)


def test_a_budget_says_everything_that_it_was_told(cli: Cli) -> None:
    words = [word for option in EVERY_OPTION for word in option]
    told = set_budget(cli, "film", "--limit", "50 USD", *words)
    scope = {name: told[name] for name in ("wallet", "project", "provider", "model", "label")}
    assert list(scope.values()) == ["team", "film/", "runapi", "kling-3.0", "team=a"]
    assert (told["limit"], told["left"], told["unit"], told["ceiling"]) == ("50", "50", "USD", "2")
    assert (told["window"], told["timezone"]) == ("month", "Europe/Berlin")
    assert (told["mode"], told["thresholds"]) == ("warn", [50, 90])
    assert told["starts_at"] < told["frees_at"]
    assert cli.json("budget", "show", "film") == told
    assert cli.json("budget", "list") == [{k: v for k, v in told.items() if k != "history"}]


def test_what_is_not_said_again_stays_as_it_was(cli: Cli) -> None:
    words = [word for option in EVERY_OPTION for word in option]
    first = set_budget(cli, "film", "--limit", "50 USD", *words)
    second = set_budget(cli, "film", "--limit", "60")
    assert second == {
        **first,
        "limit": "60",
        "base_limit": "60",
        "left": "60",
        "history": second["history"],
    }
    third = set_budget(cli, "film", "--mode", "hard", "--ceiling", "none")
    past = third["history"]
    assert third == {**second, "mode": "hard", "ceiling": None, "history": past}
    assert len(past) == 3


def test_the_list_is_the_same_in_csv_and_for_a_person(cli: Cli) -> None:
    set_budget(cli, "film", "--limit", "50 USD")
    (row,) = csv.DictReader(io.StringIO(cli("budget", "list", "--format", "csv").out))
    assert (row["name"], row["limit"], row["left"]) == ("film", "50", "50")
    assert "film" in cli("budget", "list").out


def test_what_a_budget_covers_never_changes(cli: Cli) -> None:
    set_budget(cli, "film", "--limit", "50 USD", "--window", "month", "--project", "film/")
    for words, said in (
        (("--window", "day"), "window month; day differs"),
        (("--project", "ads"), "project film/; ads differs"),
        (("--limit", "50 crun-credit"), "unit USD; crun-credit differs"),
    ):
        refused = cli("budget", "set", "film", *words)
        assert refused.code == 2
        assert said in refused.err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--limit", "ten"),
        ("--limit", "-1"),
        ("--limit", "1", "--project", ""),
        ("--limit", "1", "--label", "a"),
        ("--limit", "1", "--wallet", "nobody"),
        ("--limit", "1", "--wallet", ""),
        ("--limit", "1", "--window", "year"),
        ("--limit", "1", "--timezone", "Mars/North"),
        ("--limit", "1", "--mode", "soft"),
        ("--limit", "1", "--threshold", "0"),
        ("--limit", "1", "--ceiling", "1 CNY"),
    ],
)
def test_a_budget_that_is_none_is_not_set(cli: Cli, words: tuple[str, ...]) -> None:
    said = cli("budget", "set", "film", *words)
    assert (said.code, said.out) == (2, "")
    assert cli.json("budget", "list") == []


def test_a_budget_that_is_not_there_is_named(cli: Cli) -> None:
    raising = ("raise", "film", "1", "--until", "2h", "--reason", "a storm")
    for words in (("show", "film"), ("remove", "film"), raising):
        said = cli("budget", *words)
        assert said.code == 2
        assert "no such budget: film" in said.err


def test_a_refusal_says_which_limit_what_is_left_when_it_frees_and_what_would_fit(
    cli: Cli,
) -> None:
    told = set_budget(cli, "film", "--limit", "2 USD", "--project", "film/", "--window", "month")
    first = reserve(cli, "1.25", "--project", "film/teaser").json
    cli("reservation", "commit", first["id"], "--amount", "1")
    assert reserve(cli, "0.4", "--project", "film").code == 0
    said = reserve(cli, "0.75", "--project", "film/teaser")
    assert (said.code, list(said.json)) == (3, ["error"])
    frees = told["frees_at"][:16].replace("T", " ")
    figures = "limit 2 USD, spent 1 USD, reserved 0.4 USD, asked 0.75 USD, left 0.6 USD"
    remedy = 'kling-ledger budget raise film "AMOUNT" --until WHEN --reason WHY'
    assert said.lines == [
        f"error: budget film: {figures}, frees at {frees} UTC",
        f"hint: up to 0.6 USD would be admitted now; or raise it temporarily with: {remedy}",
    ]
    assert reserve(cli, "0.6", "--project", "film/teaser").code == 0
    assert reserve(cli, "5", "--project", "ads").code == 0


def test_the_ceiling_of_a_budget_bounds_one_job(cli: Cli) -> None:
    set_budget(cli, "film", "--limit", "50 USD", "--ceiling", "1 USD")
    assert reserve(cli, "1").code == 0
    said = reserve(cli, "1.000001")
    assert said.code == 3
    assert "costs 1.000001 USD, more than the ceiling of budget film of 1 USD" in said.err


def test_a_raise_admits_more_until_it_ends(cli: Cli) -> None:
    set_budget(cli, "film", "--limit", "1 USD")
    assert reserve(cli, "1.5").code == 3
    raised = cli.json("budget", "raise", "film", "1", "--until", "2h", "--reason", "a storm")
    assert (raised["limit"], len(raised["raises"])) == ("2", 1)
    assert reserve(cli, "1.5").code == 0
    past = cli("budget", "raise", "film", "1", "--until", "2020-01-01", "--reason", "a storm")
    assert past.code == 2
    assert "which has passed" in past.err


def test_a_removed_budget_refuses_nothing(cli: Cli) -> None:
    set_budget(cli, "film", "--limit", "1 USD")
    assert cli("budget", "remove", "film").code == 0
    assert reserve(cli, "1.5").code == 0
    assert cli.json("budget", "list") == []


def test_a_budget_that_only_warns_says_so_on_standard_error(cli: Cli) -> None:
    set_budget(cli, "film", "--limit", "1 USD", "--mode", "warn", "--label", "team=a")
    assert reserve(cli, "0.7", "--label", "team=b").err == ""
    assert reserve(cli, "0.7", "--label", "team=a", "--label", "shot=7").err == ""
    said = reserve(cli, "0.7", "--label", "team=a")
    assert said.code == 0
    assert said.json["labels"] == {"team": "a"}
    assert said.lines == ["warning: budget film has passed 100 %: 1.4 USD of 1 USD"]
    assert cli.json("budget", "show", "film")["left"] == "-0.4"


def test_an_amount_in_credits_counts_in_dollars_if_its_worth_is_told(cli: Cli) -> None:
    cli.json("wallet", "create", "crun", "--unit", "crun-credit")
    cli.json("wallet", "fund", "crun", "100")
    set_budget(cli, "all", "--limit", "1 USD")
    create = ("reservation", "create", "--wallet", "crun", "--amount", "27")
    unknown = cli(*create)
    assert unknown.code == 3
    assert "the value of 27 crun-credit in USD is unknown" in unknown.err
    assert cli(*create, "--usd", "0.27").code == 0
    assert cli.json("budget", "show", "all")["reserved"] == "0.27"


def test_a_run_carries_its_labels_and_says_the_warnings_of_its_budgets(cli: Cli) -> None:
    set_budget(cli, "film", "--limit", "0.7 USD", "--label", "team=a", "--threshold", "50")
    with sandbox_process(cli.folder) as sandbox:
        run = ("run", "--provider", "runapi", "--wallet", "team", "--request", "-")
        labels = ("--label", "team=a", "--label", "shot=7")
        reach = ("--base-url", sandbox.url, "--api-key", API_KEY, "--poll-every", "0.05")
        said = cli(*run, *labels, *reach, "--format", "json", stdin=body())
        assert said.code == 0
        assert said.json["labels"] == {"shot": "7", "team": "a"}
        assert "warning: budget film has passed 50 %: 0.675 USD of 0.7 USD" in said.lines
        assert json.loads(body())["model"] == said.json["model"]
        refused = cli(*run, *labels, *reach, stdin=body())
        assert refused.code == 3
        assert "budget film: limit 0.7 USD, spent 0.675 USD" in refused.err
        assert sandbox.spent_cents() == 67.5


def test_the_past_of_a_budget_tells_who_when_why_and_the_base_limit(cli: Cli) -> None:
    cli.json("budget", "set", "film", "--limit", "5 USD", "--reason", "the plan")
    cli.json("budget", "raise", "film", "2", "--until", "3d", "--reason", "finale")
    cli.json("budget", "set", "film", "--limit", "6 USD")
    rows = cli.json("budget", "history", "film")
    told = [tuple(row[name] for name in ("field", "from", "to", "base_limit")) for row in rows]
    assert ("limit", None, "5 USD", "5 USD") in told
    (raised,) = [row for row in rows if row["field"].startswith("raise until 20")]
    assert "." not in raised["field"]
    assert (raised["from"], raised["to"], raised["base_limit"]) == ("5 USD", "7 USD", "5 USD")
    assert (raised["reason"], raised["by"] != "", raised["removed"]) == ("finale", True, None)
    assert told[-1] == ("limit", "5 USD", "6 USD", "6 USD")
    shown = cli("budget", "history", "film").out
    assert "finale" in shown


def test_a_removed_budget_has_a_past_and_so_has_the_next_of_its_name(cli: Cli) -> None:
    for limit in ("5 USD", "9 USD"):
        cli.json("budget", "set", "film", "--limit", limit)
        cli.json("budget", "remove", "film", "--reason", "over")
    rows = cli.json("budget", "history", "film")
    limits = [(row["from"], row["to"]) for row in rows if row["field"] in {"limit", "removed"}]
    assert limits == [(None, "5 USD"), ("5 USD", None), (None, "9 USD"), ("9 USD", None)]
    assert len({row["budget_id"] for row in rows}) == 2
    assert all(row["removed"] for row in rows)
    assert cli("budget", "history", "films").code == 2


def test_a_raise_that_is_on_shows_the_base_limit_beside_the_limit(cli: Cli) -> None:
    cli.json("budget", "set", "film", "--limit", "5 USD")
    assert "base limit" not in cli("budget", "list").out + cli("budget", "show", "film").out
    cli.json("budget", "raise", "film", "2", "--until", "3d", "--reason", "finale")
    (row,) = cli.json("budget", "list")
    assert (row["limit"], row["base_limit"]) == ("7", "5")
    assert "base limit" in cli("budget", "list").out
    assert "base_limit" in cli("budget", "show", "film").out
    (row,) = cli.json("report", "budgets")["tables"]["budgets"]["rows"]
    assert (row["limit"], row["base_limit"]) == ("7", "5")
