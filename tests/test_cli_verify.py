"""`kling-ledger verify`: everything agrees, or the first wrong thing is named and the code is 6."""

from __future__ import annotations

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
