"""`kling-ledger verify`: everything agrees, or the first wrong thing is named and the code is 6."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kling_ledger.ledger import Ledger
from kling_pricing import Money
from tests.cli import Cli
from tests.ledgers import tamper


@pytest.fixture
def cli(tmp_path: Path, database_url: str) -> Cli:
    """A ledger with a budget, an open reservation and an ended one, on each engine in turn."""
    with Ledger(database_url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", Money.parse("10 USD"))
        ledger.budgets.set("film", Money.parse("5 USD"))
        done = ledger.reserve("team", Money.parse("1 USD"))
        ledger.commit(done.id, Money.parse("0.9 USD"))
        ledger.reserve("team", Money.parse("2 USD"))
        url = ledger.database.url
    return Cli(tmp_path, {"KLING_LEDGER_DB": url})


def test_a_clean_ledger_is_0_and_says_how_much_was_checked(cli: Cli) -> None:
    assert cli.json("verify") == {
        "verdict": "clean",
        "wallets": 1,
        "reservations": 2,
        "open_reservations": 1,
        "transfers": 5,
        "windows": 1,
        "sealed_periods": 0,
        "findings": [],
    }
    assert "clean" in cli("verify").out


@pytest.mark.parametrize(
    ("statement", "subject", "law"),
    [
        ("UPDATE wallet SET posted_micro = posted_micro + 1", "team", "a wallet's balance"),
        ("UPDATE budget_window SET spent_micro = 0", "film", "a budget's window"),
        ("UPDATE reservation SET state = 'in_doubt' WHERE held_micro > 0", "res_", "last event"),
        ("DELETE FROM transfer WHERE kind = 'commit'", "team", "a wallet's balance"),
    ],
)
def test_what_somebody_changed_by_hand_is_6_and_named(
    cli: Cli, statement: str, subject: str, law: str
) -> None:
    tamper(cli.environ["KLING_LEDGER_DB"], statement)
    found = cli("verify", "--format", "json")
    assert (found.code, found.json["verdict"]) == (6, "differences found")
    first = found.json["findings"][0]
    assert first["subject"].startswith(subject)
    assert law in first["law"]
    shown = cli("verify")
    assert shown.code == 6
    assert first["subject"] in shown.out


SEAL = re.compile("[0-9a-f]{64}")


@pytest.fixture
def sealed(cli: Cli) -> tuple[Cli, str]:
    """The ledger, with a month sealed in which nothing happened, and its seal."""
    return cli, cli.json("close", "2026-01", "--hard")["seal"]


def test_a_seal_that_was_kept_elsewhere_is_found_in_the_ledger(sealed, tmp_path):
    cli, seal = sealed
    assert cli.json("verify", "--seal", seal)["kept_seals"] == 1
    file = tmp_path / "seals.json"
    file.write_text(cli("close", "--list", "--format", "json").out)
    assert cli.json("verify", "--seals", str(file))["verdict"] == "clean"


def test_a_month_that_was_unsealed_and_its_traces_removed_is_6_by_the_seal_that_was_kept(
    sealed, tmp_path
):
    cli, seal = sealed
    file = tmp_path / "seal.json"
    file.write_text(json.dumps({"period": "2026-01", "seal": seal}))
    tamper(cli.environ["KLING_LEDGER_DB"], "DELETE FROM sealed_part", "DELETE FROM period")
    assert cli("verify").code == 0
    for option in (("--seal", seal), ("--seals", str(file))):
        found = cli("verify", *option, "--format", "json")
        assert found.code == 6
        assert found.json["findings"][0]["law"] == "a seal that was kept outside is in the ledger"


def test_a_month_that_was_sealed_anew_is_6_by_the_seal_that_was_kept(sealed):
    cli, seal = sealed
    tamper(cli.environ["KLING_LEDGER_DB"], "DELETE FROM sealed_part", "DELETE FROM period")
    again = cli.json("close", "2026-01", "--hard")["seal"]
    assert SEAL.fullmatch(again)
    assert again != seal
    assert cli("verify").code == 0
    assert cli("verify", "--seal", seal).code == 6


@pytest.mark.parametrize("seal", ["ab", "x" * 64, ""])
def test_what_is_no_seal_is_2(cli, seal):
    found = cli("verify", "--seal", seal)
    assert found.code == 2
    assert "is not a seal" in found.err


@pytest.mark.parametrize("content", ["no json", "{}", "[]"])
def test_a_file_without_a_seal_is_2(cli, tmp_path, content):
    file = tmp_path / "seals.json"
    file.write_text(content)
    assert cli("verify", "--seals", str(file)).code == 2
