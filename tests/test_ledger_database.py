"""The database file: made if it is new, refused with the remedy if it is something else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kling_ledger.config import database_url, ledger_name
from kling_ledger.errors import (
    ConfigError,
    DatabaseError,
    NewerSchemaError,
    NoLedgerError,
    OlderSchemaError,
)
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.schema import SCHEMA_VERSION, VERSION_TABLE
from kling_pricing.money import Money
from tests.ledgers import dump, found, tamper, unchanged, write


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
        assert ledger.wallets.all() == []
    assert run(path, f"SELECT version_num FROM {VERSION_TABLE}") == [(SCHEMA_VERSION,)]


def test_an_empty_file_becomes_a_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.touch()
    with Ledger(str(path)) as ledger:
        assert ledger.verify().is_clean


def test_a_file_name_may_hold_spaces_and_other_scripts(tmp_path):
    path = tmp_path / "mein Büro 片" / "le dger.sqlite"
    with Ledger(str(path)):
        assert path.is_file()


def test_opening_a_ledger_again_changes_nothing(empty_url):
    with Ledger(empty_url) as ledger:
        ledger.wallets.create("team", "USD")
        before = dump(ledger)
        with Ledger(empty_url) as again:
            assert dump(again) == before


def test_a_path_and_its_address_are_the_same_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(str(path)) as by_path, Ledger(f"sqlite:///{path}") as by_address:
        by_path.wallets.create("team", "USD")
        assert by_address.wallets.get("team") == by_path.wallets.get("team")


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


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://ledger"])
def test_another_kind_of_database_is_refused(url):
    with pytest.raises(ConfigError, match="is not supported"):
        Ledger(url)


def test_a_database_of_something_else_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "music.sqlite"
    run(path, "CREATE TABLE song (title)", "INSERT INTO song VALUES ('Blue')")
    with pytest.raises(DatabaseError, match="another program") as caught:
        Ledger(str(path))
    assert "use another" in (caught.value.hint or "")
    assert run(path, "SELECT name, sql FROM sqlite_master") == [
        ("song", "CREATE TABLE song (title)")
    ]


@pytest.mark.parametrize(
    ("version", "error", "remedy"),
    [
        ("0000", OlderSchemaError, "upgrade it"),
        ("0001", OlderSchemaError, "upgrade it"),
        ("9999", NewerSchemaError, "the version of kling-ledger that wrote it"),
    ],
)
def test_another_schema_version_is_refused_with_the_remedy(empty_url, version, error, remedy):
    with Ledger(empty_url) as ledger:
        tamper(empty_url, f"UPDATE {VERSION_TABLE} SET version_num = '{version}'")
        try:
            with unchanged(ledger), pytest.raises(error, match=f"has schema {version}") as caught:
                Ledger(empty_url)
        finally:
            tamper(empty_url, f"UPDATE {VERSION_TABLE} SET version_num = '{SCHEMA_VERSION}'")
    assert remedy in (caught.value.hint or "")
    assert (caught.value.version, caught.value.needed) == (version, SCHEMA_VERSION)


def test_a_file_of_the_first_schema_is_refused_as_older(tmp_path):
    path = tmp_path / "ledger.sqlite"
    run(path, "CREATE TABLE ledger_schema (version INTEGER)")
    with pytest.raises(OlderSchemaError, match="has schema 0001"):
        Ledger(str(path))


def test_a_ledger_that_is_not_there_is_made_only_where_that_was_asked_for(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with pytest.raises(NoLedgerError, match="no ledger at"):
        Ledger(str(path), create=False)
    assert not path.exists()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not list them")
def test_a_file_that_is_no_database_is_not_kept_open(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 99)
    # While the error is kept, so are the frames that it came through.
    with pytest.raises(DatabaseError) as kept:
        Ledger(str(path))
    opened = [one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert path not in opened, kept


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
    with pytest.raises(DatabaseError, match="cannot create the folder"):
        Ledger(str(tmp_path / "file" / "ledger.sqlite"))


def test_two_ledgers_on_one_database_see_each_others_work_at_once(empty_url):
    with Ledger(empty_url, actor="ada") as first, Ledger(empty_url, actor="bob") as second:
        first.wallets.create("team", "USD")
        second.wallets.fund("team", Money.parse("5 USD"))
        reservation = first.reserve("team", Money.parse("3 USD"))
        second.roll_back(reservation.id, "not wanted")
        assert first.wallets.get("team") == second.wallets.get("team")
        assert first.verify() == second.verify()


def test_what_fails_half_way_leaves_nothing_behind(empty_url):
    with Ledger(empty_url) as ledger:
        ledger.wallets.create("team", "USD")
        with unchanged(ledger), pytest.raises(DatabaseError, match="reserved_is_not_negative"):
            write(
                ledger,
                "UPDATE wallet SET funded_micro = 7",
                "UPDATE wallet SET reserved_micro = -1",
            )


def test_a_reader_sees_one_state_while_another_writes(empty_url):
    with Ledger(empty_url) as ledger:
        ledger.wallets.create("team", "USD")
        with ledger.database.read() as transaction:
            count = "SELECT COUNT(*) AS n FROM wallet"
            before = transaction.row(count)
            ledger.wallets.create("other", "USD")
            assert transaction.row(count) == before
        assert found(ledger, count) == [{"n": 2}]


def test_what_is_acknowledged_is_on_the_disk(tmp_path):
    durable = {"synchronous": 2, "fullfsync": 1, "checkpoint_fullfsync": 1}
    settings = {"journal_mode": "wal", "foreign_keys": 1, **durable}

    def read(transaction: Transaction) -> dict[str, object]:
        return {name: transaction.rows(f"PRAGMA {name}")[0][name] for name in settings}

    with Ledger(str(tmp_path / "ledger.sqlite")) as ledger:
        assert ledger.database.write(read) == settings


def test_a_refused_file_is_left_as_it_was(tmp_path):
    path = tmp_path / "other.sqlite"
    run(path, "CREATE TABLE thing (x)")
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="another program"):
        Ledger(str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["a?b.sqlite", "a%20b.sqlite", "a#b.sqlite", "ä.sqlite"])
def test_a_files_name_is_taken_as_it_is(tmp_path, name):
    Ledger(str(tmp_path / name)).close()
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("name", [":memory:", "sqlite:///:memory:", "sqlite:///", "a\0b"])
def test_a_ledger_lives_in_a_file(name):
    with pytest.raises(ConfigError, match="needs a file"):
        database_url(name)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("sqlite:////data/northern-lights.sqlite", "northern-lights"),
        ("sqlite:///ledger", "ledger"),
        (
            "postgresql+psycopg://ann:secret@db.example:5432/studio%20one?sslmode=require",
            "studio one",
        ),
        ("postgresql+psycopg:///studio?host=/run/postgresql", "studio"),
        ("postgresql+psycopg://ann:secret@db.example", ""),
        ("postgresql+psycopg://ann:se/cret@db.example/studio", ""),
        ("postgresql+psycopg://ann:se?cret@db.example/studio", ""),
        ("postgresql+psycopg://ann:se#cret@db.example/studio", ""),
        ("postgresql+psycopg://[ann:secret@db.example/studio", ""),
    ],
)
def test_a_ledgers_name_is_its_files_or_its_databases_and_never_a_secret(address: str, name: str):
    assert ledger_name(address) == name
