"""`kling-ledger db`: an older or newer database is recognised, refused, and brought up to date."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kling_ledger.config import database_url as address_of
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.schema import SCHEMA_VERSION, VERSION_TABLE
from tests.cli import BODY, Cli, finish
from tests.first_release import make_first_release
from tests.ledgers import tamper

REMEDY = "hint: upgrade it with: kling-ledger db upgrade"
UPGRADED = [
    f"upgraded from 0001 to {SCHEMA_VERSION}",
    "note: 4 fundings are now allowances, because no cash was recorded for them",
    "note: `report purchases` lists them; to record cash for one, in a month not sealed:",
    '  kling-ledger wallet purchase WALLET --of txf_... --cash "33.75 USD" --seller NAME --date 2026-10-03',  # noqa: E501
]
"""What an upgrade says: every funding until then was one of which nobody said what was paid."""

COMMANDS = (
    ("wallet", "create", "team"),
    ("wallet", "list"),
    ("wallet", "fund", "team", "1"),
    ("budget", "list"),
    ("budget", "set", "film", "--limit", "1"),
    ("reservation", "list"),
    ("reservation", "create", "--wallet", "team", "--amount", "1"),
    ("reservation", "expire"),
    ("run", "--wallet", "team", "--provider", "runapi", "--request", "body.json", "--api-key", "k"),
    ("resume", "res_1"),
    ("report", "spend"),
    ("close", "2026-10"),
    ("close", "--list"),
    ("verify",),
)


@pytest.fixture
def cli(tmp_path: Path, database_url: str) -> Cli:
    """The command with a database that does not exist yet, on each engine in turn."""
    return Cli(tmp_path, {"KLING_LEDGER_DB": database_url})


@pytest.fixture
def old(cli: Cli, database_url: str) -> Cli:
    """The command with a ledger of the first release."""
    make_first_release(address_of(database_url))
    return cli


def test_the_status_of_a_current_ledger_is_0_and_says_so(cli: Cli) -> None:
    cli("wallet", "create", "team")
    told = cli.json("db", "status")
    assert (told["version"], told["needed"]) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert told["verdict"] == "current"
    assert told["engine"] == ("sqlite" if told["database"].startswith("sqlite") else "postgresql")


def test_the_status_of_an_older_ledger_is_2_with_the_remedy(old: Cli) -> None:
    said = old("db", "status", "--format", "json")
    assert (said.code, said.lines) == (2, [REMEDY])
    assert (said.json["version"], said.json["verdict"]) == ("0001", "older")


def test_an_upgrade_makes_an_older_ledger_current_clean_and_no_cent_richer(old: Cli) -> None:
    said = old("db", "upgrade", "--format", "json")
    assert (said.code, said.lines) == (0, UPGRADED)
    assert said.json["verdict"] == "current"
    assert old.json("verify")["verdict"] == "clean"
    wallet = old.json("wallet", "show", "team")
    assert (wallet["funded"], wallet["spent"]) == ("20.000001", "3.55")
    assert (wallet["reserved"], wallet["available"]) == ("3.525", "12.925001")
    again = old("db", "upgrade", "--format", "json")
    assert (again.code, again.lines, again.json) == (0, ["nothing to do"], said.json)


def test_a_newer_ledger_is_refused_and_not_upgraded(cli: Cli, database_url: str) -> None:
    Ledger(database_url).close()
    tamper(address_of(database_url), f"UPDATE {VERSION_TABLE} SET version_num = '0999'")
    remedy = "hint: use the version of kling-ledger that wrote it, or a newer one"
    for words in (("wallet", "list"), ("db", "upgrade")):
        said = cli(*words)
        assert (said.code, said.out) == (2, "")
        assert f"has schema 0999, this program supports up to {SCHEMA_VERSION}" in said.lines[0]
        assert said.lines[1] == remedy
    status = cli("db", "status", "--format", "json")
    assert (status.code, status.json["verdict"], status.lines) == (2, "newer", [remedy])


def test_two_upgrades_at_once_are_one(old: Cli) -> None:
    both = [finish(process) for process in [old.start("db", "upgrade") for _ in range(2)]]
    assert [said.code for said in both] == [0, 0]
    assert sorted((said.lines for said in both), key=len) == [["nothing to do"], UPGRADED]


@pytest.mark.parametrize("word", ["status", "upgrade"])
def test_a_ledger_that_is_not_there_is_not_made(cli: Cli, word: str) -> None:
    said = cli("db", word)
    assert (said.code, said.out) == (2, "")
    assert "there is no ledger at" in said.err
    assert not cli.database.exists()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_refuses_an_older_ledger_with_the_remedy(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    cli = Cli(tmp_path)
    make_first_release(f"sqlite:///{cli.database}")
    (tmp_path / "body.json").write_text(str(BODY).replace("'", '"').replace("True", "true"))
    before = cli.database.read_bytes()
    said = cli(*words)
    assert (said.code, said.out) == (2, "")
    assert said.lines[0].endswith(f"has schema 0001, this program needs {SCHEMA_VERSION}")
    assert said.lines[1:] == [REMEDY]
    assert cli.database.read_bytes() == before


def test_the_database_of_another_program_is_neither_shown_nor_upgraded(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    with closing(sqlite3.connect(cli.database)) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    before = cli.database.read_bytes()
    for word in ("status", "upgrade"):
        said = cli("db", word)
        assert (said.code, said.out) == (1, "")
        assert "database of another program" in said.err
    assert cli.database.read_bytes() == before


def test_the_password_of_a_server_is_never_said(tmp_path: Path) -> None:
    url = "postgresql://ada:hush-hush@127.0.0.1:1/ledger"
    said = Cli(tmp_path)("db", "status", "--db", url)
    assert said.code == 1
    assert "127.0.0.1" in said.err
    assert "hush" not in said.err
