"""The database file: made if it is new, refused with the remedy if it is something else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kling_ledger.config import database_url
from kling_ledger.errors import ConfigError, DatabaseError
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.tables import SCHEMA_VERSION
from kling_pricing.money import Money


def run(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """Run statements on the bare file and return the rows of the last."""
    found: list[tuple[object, ...]] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            found = connection.execute(statement).fetchall()
    return found


def test_a_new_file_is_made_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "ledger.sqlite"
    with Ledger(str(path)) as ledger:
        assert ledger.wallets() == []
    assert run(path, "SELECT version FROM ledger_schema") == [(SCHEMA_VERSION,)]


def test_an_empty_file_becomes_a_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.touch()
    with Ledger(str(path)) as ledger:
        assert ledger.verify().is_clean


def test_a_file_name_may_hold_spaces_and_other_scripts(tmp_path):
    path = tmp_path / "mein Büro 片" / "le dger.sqlite"
    with Ledger(str(path)):
        assert path.is_file()


def test_opening_a_ledger_again_changes_nothing(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(str(path)) as ledger:
        ledger.create_wallet("team", "USD")
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
        with Ledger(str(path)):
            pass
        assert list(connection.iterdump()) == before


def test_a_path_and_its_address_are_the_same_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(str(path)) as by_path, Ledger(f"sqlite:///{path}") as by_address:
        by_path.create_wallet("team", "USD")
        assert by_address.wallet("team") == by_path.wallet("team")


def test_a_relative_path_starts_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Ledger("ledger.sqlite"):
        assert (tmp_path / "ledger.sqlite").is_file()


def test_a_path_from_home_starts_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert database_url("~/ledger.sqlite") == f"sqlite:///{tmp_path}/ledger.sqlite"


def test_the_variable_names_the_database_where_none_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("KLING_LEDGER_DB", str(tmp_path / "named.sqlite"))
    with Ledger():
        assert (tmp_path / "named.sqlite").is_file()


@pytest.mark.parametrize("url", ["postgresql://host/db", "mysql://host/db", "sqlite://ledger"])
def test_another_kind_of_database_is_refused(url):
    with pytest.raises(ConfigError, match="is not supported"):
        Ledger(url)


def test_a_database_of_something_else_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "music.sqlite"
    run(path, "CREATE TABLE song (title)", "INSERT INTO song VALUES ('Blue')")
    with pytest.raises(DatabaseError, match="something else") as caught:
        Ledger(str(path))
    assert "--db" in (caught.value.hint or "")
    assert run(path, "SELECT name, sql FROM sqlite_master") == [
        ("song", "CREATE TABLE song (title)")
    ]


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_another_schema_version_is_refused_with_both_versions(tmp_path, version):
    path = tmp_path / "ledger.sqlite"
    Ledger(str(path)).close()
    run(path, f"UPDATE ledger_schema SET version = {version}")
    with pytest.raises(DatabaseError, match=f"has schema version {version}") as caught:
        Ledger(str(path))
    assert f"needs {SCHEMA_VERSION}" in str(caught.value)
    assert run(path, "SELECT version FROM ledger_schema") == [(version,)]


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 99)
    with pytest.raises(DatabaseError, match="not a database"):
        Ledger(str(path))
    assert path.read_text() == "not a database " * 99


def test_a_folder_is_refused_as_a_database(tmp_path):
    with pytest.raises(DatabaseError, match="unable to open"):
        Ledger(str(tmp_path))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="cannot make the folder"):
        Ledger(str(tmp_path / "file" / "ledger.sqlite"))


def test_two_ledgers_on_one_file_see_each_others_work_at_once(tmp_path):
    path = str(tmp_path / "ledger.sqlite")
    with Ledger(path, actor="ada") as first, Ledger(path, actor="bob") as second:
        first.create_wallet("team", "USD")
        second.fund_wallet("team", Money.parse("5 USD"))
        reservation = first.reserve("team", Money.parse("3 USD"))
        second.roll_back(reservation.id, "not wanted")
        assert first.wallet("team") == second.wallet("team")
        assert first.verify() == second.verify()


def spoil(ledger: Ledger) -> None:
    """Do two things in one transaction, the second of which the tables refuse."""
    with ledger.database.write() as transaction:
        transaction.run("UPDATE wallet SET funded_micro = 7")
        transaction.run("UPDATE wallet SET reserved_micro = -1")


def test_what_fails_half_way_leaves_nothing_behind(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(str(path)) as ledger:
        ledger.create_wallet("team", "USD")
        before = run(path, "SELECT * FROM wallet")
        with pytest.raises(DatabaseError, match="reserved_is_not_negative"):
            spoil(ledger)
        assert run(path, "SELECT * FROM wallet") == before


def test_a_reader_sees_one_state_while_another_writes(tmp_path):
    with Ledger(str(tmp_path / "ledger.sqlite")) as ledger:
        ledger.create_wallet("team", "USD")
        with ledger.database.read() as transaction:
            count = "SELECT COUNT(*) AS n FROM wallet"
            before = transaction.row(count)
            ledger.create_wallet("other", "USD")
            assert transaction.row(count) == before


def test_what_is_acknowledged_is_on_the_disk(tmp_path):
    with Ledger(str(tmp_path / "ledger.sqlite")) as ledger, ledger.database.write() as transaction:
        assert transaction.row("PRAGMA journal_mode") == {"journal_mode": "wal"}
        assert transaction.row("PRAGMA synchronous") == {"synchronous": 2}
        assert transaction.row("PRAGMA foreign_keys") == {"foreign_keys": 1}


def test_a_refused_file_is_left_as_it_was(tmp_path):
    path = tmp_path / "other.sqlite"
    run(path, "CREATE TABLE thing (x)")
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="something else"):
        Ledger(str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["a?b.sqlite", "a%20b.sqlite", "a#b.sqlite", "ä.sqlite"])
def test_a_files_name_is_taken_as_it_is(tmp_path, name):
    Ledger(str(tmp_path / name)).close()
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("name", [":memory:", "sqlite:///:memory:", "sqlite:///", "a\0b"])
def test_a_ledger_lives_in_a_file(name):
    with pytest.raises(ConfigError, match="lives in a file"):
        database_url(name)
