"""`kling-ledger close`: a month ends, is sealed, and is listed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kling_ledger.ledger import Ledger
from kling_pricing import Money
from tests.cli import Cli
from tests.ledgers import tamper

OCTOBER = datetime(2025, 10, 15, tzinfo=UTC)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A ledger in which October 2025 has a committed reservation and an open one."""
    cli = Cli(tmp_path)
    with Ledger(str(cli.database), clock=lambda: OCTOBER) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", Money.parse("10 USD"))
        done = ledger.reserve("team", Money.parse("1 USD"))
        ledger.commit(done.id, Money.parse("0.9 USD"))
        ledger.reserve("team", Money.parse("2 USD"))
    return cli


def test_a_month_is_closed_then_sealed_and_what_was_open_is_accrued(cli: Cli) -> None:
    soft = cli.json("close", "2025-10", "--reason", "the books")
    assert (soft["state"], soft["seal"], soft["reason"]) == ("soft", None, "the books")
    hard = cli.json("close", "2025-10", "--hard")
    assert (hard["state"], len(hard["seal"])) == ("hard", 64)
    (accrual,) = hard["accruals"]
    assert (accrual["amount"], accrual["unit"]) == ("2", "USD")
    assert cli.json("close", "--list") == [hard]
    assert "2025-10" in cli("close", "--list").out
    assert cli.json("verify")["sealed_periods"] == 1


def test_what_corrects_a_sealed_month_counts_later_and_the_seal_holds(cli: Cli) -> None:
    cli.json("close", "2025-10", "--hard")
    cli.json("wallet", "adjust", "team", "-0.5", "--reason", "a fee", "--corrects", "2025-10")
    told = cli.json("verify")
    assert (told["verdict"], told["sealed_periods"]) == ("clean", 1)


def test_a_month_that_is_only_closed_opens_again(cli: Cli) -> None:
    cli.json("close", "2025-10")
    reopened = cli.json("close", "2025-10", "--reopen", "--reason", "a late bill")
    assert (reopened["state"], reopened["reason"]) == ("open", "a late bill")
    cli.json("close", "2025-10", "--hard")
    said = cli("close", "2025-10", "--reopen", "--reason", "a late bill")
    assert (said.code, said.out) == (2, "")
    assert "period 2025-10 is sealed" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give a month, such as 2026-10, or --list"),
        (("2025-10", "--list"), "give a month, such as 2026-10, or --list"),
        (("--list", "--hard"), "--list takes no other option"),
        (("2025-10", "--hard", "--reopen", "--reason", "x"), "use either --hard or --reopen"),
        (("2025-10", "--reopen"), "--reopen needs a --reason"),
        (("2025-13",), "not a month"),
        (("October",), "not a month"),
        (("2999-01",), "is not over"),
    ],
)
def test_what_cannot_be_closed_is_bad_input(cli: Cli, words: tuple[str, ...], said: str) -> None:
    found = cli("close", *words)
    assert (found.code, found.out) == (2, "")
    assert said in found.err


def test_a_row_that_is_changed_under_a_seal_is_found_and_named(cli: Cli) -> None:
    cli.json("close", "2025-10", "--hard")
    tamper(f"sqlite:///{cli.database}", "UPDATE transfer SET actor = 'mallory' WHERE kind = 'fund'")
    found = cli("verify", "--format", "json")
    assert found.code == 6
    assert found.json["findings"][0]["problem"] == "it was changed"
    assert found.json["findings"][0]["subject"].startswith("txf_")


def test_two_people_close_a_month_once_that_is_required(cli: Cli) -> None:
    ben = Cli(cli.folder, {"KLING_LEDGER_ACTOR": "ben"})
    ada = Cli(cli.folder, {"KLING_LEDGER_ACTOR": "ada"})
    assert ada.json("close", "--two-people", "show") == {"two_people": "off", "history": []}
    said = ada.json("close", "--two-people", "on", "--reason", "the auditor")
    assert said["two_people"] == "on"
    (change,) = said["history"]
    told = {name: change[name] for name in ("by", "reason", "two_people")}
    assert told == {"by": "ada", "reason": "the auditor", "two_people": "on"}
    unprepared = ben("close", "2025-10", "--hard")
    assert (unprepared.code, unprepared.out) == (2, "")
    assert "2025-10 is not prepared yet" in unprepared.err
    ada.json("close", "2025-10")
    alone = ada("close", "2025-10", "--hard")
    assert (alone.code, alone.out) == (2, "")
    assert "prepared by ada, who cannot also approve it" in alone.err
    ben.json("close", "2025-10", "--hard")
    (row,) = ben.json("close", "--list")
    assert (row["prepared_by"], row["approved_by"]) == ("ada", "ben")
    assert "ada" in ben("close", "--list").out


@pytest.mark.parametrize("words", [("2025-10",), ("--hard",), ("--list",)])
def test_the_rule_of_two_people_is_changed_alone(cli: Cli, words: tuple[str, ...]) -> None:
    found = cli("close", "--two-people", "on", *words)
    assert (found.code, found.out) == (2, "")
    assert "--two-people takes no other option" in found.err
