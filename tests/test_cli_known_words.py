"""Budgets and wallets in words that nobody knows would limit nothing: they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kling_ledger import Job, Ledger
from tests.cli import Cli
from tests.ledgers import usd


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path, {"KLING_LEDGER_ACTOR": "ada"})
    made.fund("10 USD")
    return made


def set_budget(cli: Cli, *words: str) -> Any:
    return cli.json("budget", "set", "film", *words)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("--limit", "1 usdd"), "did you mean USD"),
        (("--limit", "1 credits"), "-credit"),
        (("--limit", "1 EUR"), "unknown unit EUR"),
        (("--limit", "1 USD", "--provider", "runappi"), "did you mean runapi"),
        (("--limit", "1 USD", "--model", "kling-3.00"), "did you mean kling-3.0"),
        (
            ("--limit", "1 USD", "--provider", "crun", "--model", "kling-3.0"),
            "unknown model",
        ),
    ],
)
def test_what_nobody_knows_is_refused_and_taken_where_one_insists(
    cli: Cli, words: tuple[str, ...], meant: str
):
    said = cli("budget", "set", "film", *words)
    assert (said.code, said.out) == (2, "")
    assert meant in said.err
    assert "--unknown" in said.err
    assert cli.json("budget", "list") == []
    told = set_budget(cli, *words, "--unknown")
    assert told["unit"] == words[1].split()[1]
    # What it has already is not asked about again.
    assert set_budget(cli, "--limit", "2")["limit"] == "2"


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (("--limit", "1 usd"), "unit", "USD"),
        (("--limit", "1 Crun-Credit"), "unit", "crun-credit"),
        (("--limit", "1 USD", "--provider", "RunAPI"), "provider", "runapi"),
        (("--limit", "1 USD", "--model", "Kling-3.0"), "model", "kling-3.0"),
    ],
)
def test_capitals_are_forgiven_where_one_word_is_meant(
    cli: Cli, words: tuple[str, ...], name: str, value: str
):
    assert set_budget(cli, *words)[name] == value


def test_a_unit_that_a_wallet_has_is_known(cli: Cli):
    assert cli("wallet", "create", "euros", "--unit", "EUR").code == 2
    assert cli.json("wallet", "create", "euros", "--unit", "EUR", "--unknown")["unit"] == "EUR"
    assert set_budget(cli, "--limit", "1 EUR")["unit"] == "EUR"
    assert cli.json("wallet", "create", "more", "--unit", "eur")["unit"] == "EUR"
    assert cli.json("wallet", "create", "dollars", "--unit", "usd")["unit"] == "USD"


def test_a_budget_shows_what_it_covers_and_has_matched_and_who_changed_it_and_why(cli: Cli):
    set_budget(cli, "--limit", "5 USD", "--project", "film/", "--reason", "the pilot")
    cli.json("budget", "set", "nothing", "--limit", "1 USD", "--provider", "crun")
    with Ledger(str(cli.database), actor="ben") as ledger:
        for project, cost in (("film/a", "0.5"), ("film", "0.7"), ("other", "3")):
            made = ledger.reserve("team", usd(cost), project=project, job=Job(usd=usd(cost)))
            if project == "film":
                ledger.commit(made.id, usd("0.6"))
    raised = ("film", "2", "--until", "3d", "--reason", "finale")
    cli.json("budget", "raise", *raised)
    told = cli.json("budget", "show", "film")
    assert (told["covers"], told["jobs"], told["matched"]) == ("project film/", 2, "1.1")
    first, second = told["history"]
    assert (first["by"], first["reason"], first["change"]["limit"]) == (
        "ada",
        "the pilot",
        "5 USD",
    )
    assert (second["reason"], second["change"]["raise"]) == ("finale", "2 USD")
    listed = {one["name"]: one for one in cli.json("budget", "list")}
    assert (listed["film"]["jobs"], listed["film"]["matched"]) == (2, "1.1")
    assert (listed["nothing"]["covers"], listed["nothing"]["jobs"]) == ("provider crun", 0)
    shown = cli("budget", "show", "film").out
    assert "ada: " in shown
    assert "(finale)" in shown
    assert "covers" in cli("budget", "list").out


@pytest.mark.parametrize("scope", [(), ("--wallet", "team"), ("--label", "a=b")])
def test_what_a_budget_has_matched_is_what_it_has_counted(cli: Cli, scope: tuple[str, ...]):
    told = set_budget(cli, "--limit", "9 USD", *scope)
    assert (told["jobs"], told["matched"]) == (0, "0")
    with Ledger(str(cli.database)) as ledger:
        for labels in ({"a": "b"}, {"a": "bc"}, {}):
            ledger.reserve("team", usd("1"), labels=labels, job=Job(usd=usd("1")))
    told = cli.json("budget", "show", "film")
    assert told["matched"] == told["reserved"] == ("1" if "--label" in scope else "3")
