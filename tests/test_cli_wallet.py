"""`kling-ledger wallet`, and what every listing says of a ledger with nothing in it."""

from __future__ import annotations

import csv
import io
import sqlite3
from pathlib import Path

import pytest

from kling_ledger import Ledger
from tests.cli import Cli

LISTINGS = [
    ("wallet", "list"),
    ("reservation", "list"),
    ("budget", "list"),
    ("close", "--list"),
]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A ledger with the wallet `team`, which holds 2 USD: nothing here may change it."""
    cli = Cli(tmp_path_factory.mktemp("wallet"))
    cli.fund("2 USD")
    return cli


def test_a_new_wallet_is_empty_and_in_the_unit_asked_for(cli: Cli) -> None:
    made = cli.json("wallet", "create", "clips", "--unit", "evolink-credit")
    assert (made["name"], made["unit"], made["available"]) == ("clips", "evolink-credit", "0")


def test_funding_adds_up_in_plain_decimal_notation(cli: Cli) -> None:
    cli.fund("9.95 USD")
    cli.json("wallet", "fund", "team", "0.050001")
    assert cli.wallet()["available"] == "10.000001"


def test_creating_a_wallet_twice_is_harmless(cli: Cli) -> None:
    first = cli.json("wallet", "create", "team", "--unit", "USD")
    assert cli.json("wallet", "create", "team", "--unit", "USD") == first


def test_a_payment_with_a_key_is_added_once(cli: Cli) -> None:
    cli.json("wallet", "create", "team")
    for _ in range(2):
        cli.json("wallet", "fund", "team", "2 USD", "--key", "invoice-7")
    assert cli.wallet()["funded"] == "2"
    again = cli("wallet", "fund", "team", "3 USD", "--key", "invoice-7")
    assert again.code == 2
    assert "amount 2 USD; 3 USD differs" in again.err


def test_a_funding_is_an_allowance_and_says_so(cli: Cli) -> None:
    cli("wallet", "create", "team")
    said = cli("wallet", "fund", "team", "2 USD")
    assert said.lines == [
        (
            "note: this is an allowance, without cash; for credits that were paid for, use wallet "
            "purchase"
        )
    ]


BOUGHT = (
    *("wallet", "purchase", "team", "2700 evolink-credit", "--cash", "33.75 USD"),
    *("--seller", "EvoLink", "--invoice", "INV-7", "--date", "2026-10-03", "--tax", "6.41 USD"),
    *("--expires", "2036-10-03"),
)


def test_a_purchase_is_made_once_and_says_what_is_left_of_it(cli: Cli) -> None:
    cli("wallet", "create", "team", "--unit", "evolink-credit")
    for _ in range(2):
        made = cli.json(*BOUGHT, "--key", "inv-7")
    assert (made["funded"], made["available"], made["costing"]) == ("2700", "2700", "fifo")
    (lot,) = cli.json("wallet", "lots", "team")
    assert lot.pop("transfer_id").startswith("txf_")
    assert lot == {
        "bought_on": "2026-10-03",
        "seller": "EvoLink",
        "invoice": "INV-7",
        "units": "2700",
        "left": "2700",
        "unit": "evolink-credit",
        "cash": "33.75",
        "cost_left": "33.75",
        "currency": "USD",
        "expires_on": "2036-10-03",
        "state": "open",
    }
    again = cli(*BOUGHT[:4], "--cash", "34 USD", *BOUGHT[6:], "--key", "inv-7")
    assert again.code == 2
    assert "cash 33.75 USD; 34 USD differs" in again.err


def test_what_expires_next_is_listed_first_and_allowances_are_not(cli: Cli) -> None:
    cli("wallet", "create", "team")
    cli("wallet", "fund", "team", "5")
    words = ("--cash", "1 EUR", "--seller", "S", "--date", "2026-10-03")
    for amount, expires in (("1", ()), ("2", ("2036-02-01",)), ("3", ("2036-01-01",))):
        more = ("--expires", *expires) if expires else ()
        cli.json("wallet", "purchase", "team", amount, *words, *more)
    assert [lot["units"] for lot in cli.json("wallet", "lots", "team")] == ["3", "2", "1"]


def test_an_earlier_funding_becomes_a_purchase_by_its_transfer(cli: Cli) -> None:
    cli.fund("2 USD")
    report = cli.json("report", "purchases")["tables"]
    assert report["purchases"]["rows"] == []
    (allowance,) = report["allowances"]["rows"]
    words = ("--cash", "1.8 USD", "--seller", "S", "--date", "2026-10-03")
    of = ("wallet", "purchase", "team", "--of", allowance["id"])
    assert cli.json(*of, *words)["funded"] == "2"
    (lot,) = cli.json("wallet", "lots", "team")
    assert (lot["units"], lot["cash"]) == ("2", "1.8")
    again = cli(*of, *words)
    assert (again.code, again.out) == (2, "")
    assert cli.json("report", "purchases")["tables"]["allowances"]["rows"] == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--cash", "1 USD", "--seller", "S", "--date", "2999-01-01"), "in the future"),
        (("--cash", "1 USD", "--seller", "S", "--date", "03.10.2026"), "not a day"),
        (("--cash", "1", "--seller", "S", "--date", "2026-10-03"), "10 USD"),
        (("--cash", "1 USD", "--seller", "S"), "--date"),
        (
            ("--cash", "1 USD", "--seller", "S", "--date", "2026-10-03", "--of", "txf_1"),
            "either AMOUNT",
        ),
    ],
)
def test_a_purchase_that_cannot_be_changes_nothing(
    team: Cli, words: tuple[str, ...], why: str
) -> None:
    said = team("wallet", "purchase", "team", "5", *words)
    assert (said.code, said.out) == (2, "")
    assert why in said.err
    assert team.wallet()["funded"] == "2"


def test_a_wallet_may_be_costed_at_the_average_for_ever(cli: Cli) -> None:
    made = cli.json("wallet", "create", "team", "--costing", "average")
    assert made["costing"] == "average"
    assert cli.json("wallet", "create", "team") == made
    said = cli("wallet", "create", "team", "--costing", "fifo")
    assert said.code == 2
    assert "costing average; fifo differs" in said.err


def test_the_same_name_in_another_unit_is_refused(team: Cli) -> None:
    said = team("wallet", "create", "team", "--unit", "CNY")
    assert said.code == 2
    assert "unit USD; CNY differs" in said.err


@pytest.mark.parametrize("name", ["", "two words", "é", "a" * 65, "../up", "=1+1"])
def test_a_name_that_is_none_is_refused(team: Cli, name: str) -> None:
    said = team("wallet", "create", "--", name)
    assert (said.code, said.out) == (2, "")


@pytest.mark.parametrize(
    "amount",
    [
        "ten USD",
        "-1 USD",
        "1 EUR",
        "0",
        "0 USD",
        "1e3",
        "0.0000001",
        "1,5 USD",
        "",
        "NaN",
        "9" * 30,
    ],
)
def test_an_amount_that_is_none_changes_nothing(team: Cli, amount: str) -> None:
    said = team("wallet", "fund", "team", "--", amount)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert team.wallet()["funded"] == "2"


def test_a_wallet_that_is_not_there_says_how_to_create_it(team: Cli) -> None:
    for words in (("show", "nobody"), ("fund", "nobody", "1 USD")):
        said = team("wallet", *words)
        assert said.code == 2
        assert "kling-ledger wallet create nobody" in said.err


def test_list_and_show_agree_in_every_format(team: Cli) -> None:
    shown = team.json("wallet", "show", "team")
    assert team.json("wallet", "list") == [shown]
    (row,) = csv.DictReader(io.StringIO(team("wallet", "list", "--format", "csv").out))
    assert row["available"] == shown["available"] == "2"
    assert "team" in team("wallet", "list").out


@pytest.mark.parametrize("words", LISTINGS)
def test_listings_of_an_empty_ledger_are_empty_and_no_error(
    cli: Cli, words: tuple[str, str]
) -> None:
    Ledger(str(cli.database)).close()
    assert cli.json(*words) == []
    assert len(cli(*words, "--format", "csv").out.splitlines()) == 1
    table = cli(*words)
    assert (table.code, table.out) == (0, "")


@pytest.mark.parametrize("words", [*LISTINGS, ("verify",), ("wallet", "create", "team")])
def test_an_empty_address_is_refused_and_not_the_default(cli: Cli, words: tuple[str, ...]) -> None:
    said = cli(*words, "--db", "")
    assert (said.code, said.out) == (2, "")
    assert "the database's address is empty" in said.err
    assert not cli.database.exists()


def test_an_empty_ledger_verifies(cli: Cli) -> None:
    Ledger(str(cli.folder / "ledger.sqlite")).close()
    assert cli.json("verify")["findings"] == []


@pytest.mark.parametrize(
    "words", [*LISTINGS, ("verify",), ("wallet", "show", "team"), ("resume", "res_1")]
)
def test_a_ledger_that_is_not_there_is_not_made_by_reading_it(
    cli: Cli, words: tuple[str, ...]
) -> None:
    said = cli(*words, "--db", str(cli.folder / "typo" / "none.sqlite"))
    assert (said.code, said.out) == (2, "")
    assert "there is no ledger at" in said.err
    assert not (cli.folder / "typo").exists()


def test_a_reservation_that_is_not_there_is_named(team: Cli) -> None:
    for words in (("reservation", "show"), ("resume",)):
        said = team(*words, "res_nothing")
        assert said.code == 2
        assert "res_nothing" in said.err


def test_a_text_file_is_no_database(cli: Cli) -> None:
    cli.database.write_text("notes that are long enough to be a database header, but are none\n")
    said = cli("wallet", "list")
    problem, hint = said.lines
    assert said.code == 1
    assert "not a database" in problem
    assert hint == "hint: kling-ledger explain database"


def test_the_database_of_another_program_is_refused(cli: Cli) -> None:
    with sqlite3.connect(cli.database) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    said = cli("wallet", "create", "team")
    assert said.code == 1
    assert "database of another program" in said.err


def test_db_names_the_database_before_the_environment_does(cli: Cli) -> None:
    other = f"sqlite:///{cli.folder / 'other.sqlite'}"
    assert cli("wallet", "create", "team", "--db", other).code == 0
    assert cli("wallet", "list").code == 2
    assert not cli.database.exists()
    assert [row["name"] for row in cli.json("wallet", "list", "--db", other)] == ["team"]


def test_an_engine_that_is_not_supported_is_a_usage_error(cli: Cli) -> None:
    assert cli("wallet", "list", "--db", "oracle://host/name").code == 2


def test_the_demo_shows_a_failure_a_refusal_and_a_clean_ledger(cli: Cli) -> None:
    said = cli("demo")
    assert said.code == 0
    for word in ("committed", "rolled_back", "refused", "kling-ledger verify", "transfers balance"):
        assert word in said.out


def test_an_adjustment_goes_up_or_down_and_is_no_funding(cli: Cli) -> None:
    cli.fund("2 USD")
    down = cli.json("wallet", "adjust", "team", "-0.5", "--reason", "a fee")
    assert (down["funded"], down["adjusted"], down["available"]) == ("2", "-0.5", "1.5")
    up = cli.json("wallet", "adjust", "team", "+0.75 USD", "--reason", "goodwill")
    assert (up["adjusted"], up["available"]) == ("0.25", "2.25")


def test_an_adjustment_with_a_key_is_made_once(cli: Cli) -> None:
    cli.fund("2 USD")
    words = ("wallet", "adjust", "team", "-3", "--reason", "chargeback", "--key", "case-1")
    assert cli.json(*words) == cli.json(*words)
    said = cli("wallet", "show", "team")
    assert "below zero" in said.err
    other = cli("wallet", "adjust", "team", "-4", "--reason", "chargeback", "--key", "case-1")
    assert other.code == 2
    assert "amount -3 USD; -4 USD differs" in other.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-1",), "--reason is missing"),
        (("0", "--reason", "a fee"), "any amount but 0"),
        (("-1 halo-credit", "--reason", "a fee"), 'got "halo-credit", allowed: USD'),
        (("-x", "--reason", "a fee"), 'got "-x"'),
        (("-1", "--reason", " "), "reason"),
        (("-1", "--reason", "a fee", "--corrects", "October"), "not a month"),
    ],
)
def test_an_adjustment_that_is_none_changes_nothing(
    team: Cli, words: tuple[str, ...], said: str
) -> None:
    refused = team("wallet", "adjust", "team", *words)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert team.wallet()["available"] == "2"


def test_a_wallet_in_the_wrong_unit_is_removed_and_a_used_one_stays(cli: Cli):
    cli("wallet", "create", "typo", "--unit", "crun-credit")
    assert cli("wallet", "rename", "typo", "credits", "--format", "json").json["name"] == "credits"
    assert cli("wallet", "remove", "credits").err == "removed\n"
    assert "credits" not in cli("wallet", "list").out
    cli("wallet", "create", "used")
    cli("wallet", "fund", "used", "1 USD")
    for words in (("remove", "used"), ("rename", "used", "new")):
        said = cli("wallet", *words)
        assert said.code == 2
        assert f"cannot be {words[0]}d: it has 1 funding or adjustment" in said.err
