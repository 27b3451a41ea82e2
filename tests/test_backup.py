"""`db backup` and `db restore`: a copy is whole, true, private, and the same on both engines."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from kling_ledger.errors import NotEmptyError, OlderSchemaError, RefusedError
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.accounts import secret
from kling_ledger.ledger.backup import backup, restore
from kling_ledger.ledger.schema import JOB_EVENT, TRANSFER, VERSION_TABLE
from kling_ledger.ledger.scopes import Scope
from kling_pricing.money import Money
from tests.cli import Cli
from tests.postgres import PostgresServer

WRITERS = 8


def usd(amount: str) -> Money:
    return Money.parse(f"{amount} USD")


def address_of(url: str) -> str:
    return url if "://" in url else f"sqlite:///{url}"


@pytest.fixture
def filled(database_url: str) -> str:
    """A ledger with money, budgets, a key, and reservations that ended in several ways."""
    with Ledger(database_url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("20"), key="july")
        ledger.budgets.set("film", usd("10"), scope=Scope(project="film"), window="month")
        for number in range(6):
            made = ledger.reserve(
                "team",
                usd("1.5"),
                project="film/a",
                labels={"team": "ads", "take": str(number)},
                key=f"job-{number}",
            )
            if number % 3 == 0:
                ledger.commit(made.id, usd("1.25"))
            elif number % 3 == 1:
                ledger.roll_back(made.id, reason="the provider refused it")
    return address_of(database_url)


def own_digest(file: Path) -> str:
    """Work the digest of a copy's journal out from the file alone."""
    digest = hashlib.sha256()
    with closing(sqlite3.connect(file)) as connection:
        for table, order in ((TRANSFER, "id"), (JOB_EVENT, "reservation_id, step")):
            query = f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {order}"
            for row in connection.execute(query):
                digest.update(json.dumps(row, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def test_a_copy_is_a_ledger_by_itself_that_only_its_owner_can_read(
    filled: str, tmp_path: Path
) -> None:
    file = tmp_path / "copies" / "today.sqlite"
    file.parent.mkdir()
    copied = backup(filled, file)
    assert copied.findings == ()
    assert [one.name for one in file.parent.iterdir()] == ["today.sqlite"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert copied.facts.digest == own_digest(file)
    with Ledger(str(file), create=False) as ledger:
        wallet = ledger.wallets.get("team")
        # 20 were put in; two jobs cost 1.25 each, two still hold 1.5 each.
        assert (wallet.posted, wallet.reserved) == (usd("17.5"), usd("3"))
        # A key stands for what it stood for.
        assert ledger.wallets.fund("team", usd("20"), key="july").posted == usd("17.5")


def test_a_round_trip_over_the_other_engine_has_the_same_journal(
    tmp_path: Path, postgres: PostgresServer, filled: str
) -> None:
    first = backup(filled, tmp_path / "1.sqlite")
    server = postgres.new_database()
    there = restore(tmp_path / "1.sqlite", server)
    back = backup(server, tmp_path / "2.sqlite")
    file = f"sqlite:///{tmp_path / '3.sqlite'}"
    again = restore(tmp_path / "2.sqlite", file)
    assert {one.facts.digest for one in (first, there, back, again)} == {first.facts.digest}
    assert [one.findings for one in (first, there, back, again)] == [()] * 4
    with Ledger(filled) as ledger, ledger.database.read() as transaction:
        own = secret(transaction)
    for url in (server, file):
        with Ledger(url) as ledger:
            with ledger.database.read() as transaction:
                assert secret(transaction) == own
            made = ledger.reserve("team", usd("0.5"))
            assert ledger.commit(made.id, usd("0.5")).committed == usd("0.5")
            assert ledger.verify().findings == ()


def test_slots_are_gathered_in_a_copy(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.new_database()
    with Ledger(url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("100"))
        ledger.budgets.set("all", usd("60"), window="month")
        ledger.use_slots(4)
        with pytest.raises(RefusedError):
            ledger.reserve("team", usd("101"))
        for _ in range(5):
            ledger.commit(ledger.reserve("team", usd("2")).id, usd("1"))
        ledger.reserve("team", usd("3"))
        with ledger.database.read() as transaction:
            assert transaction.rows("SELECT 1 FROM slot")
    copied = backup(url, tmp_path / "copy.sqlite")
    assert copied.findings == ()
    assert copied.facts.rows["slot"] == 0
    with Ledger(str(tmp_path / "copy.sqlite"), create=False) as ledger:
        wallet = ledger.wallets.get("team")
        assert (wallet.posted, wallet.reserved) == (usd("95"), usd("3"))
        assert ledger.slots == 0


def test_a_copy_under_load_holds_a_prefix_of_what_each_writer_was_told(
    database_url: str, tmp_path: Path
) -> None:
    with Ledger(database_url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("1000"))
    told: list[list[str]] = [[] for _ in range(WRITERS)]
    stop, running = threading.Event(), threading.Barrier(WRITERS + 1)

    def write(place: int) -> None:
        with Ledger(database_url) as own:
            running.wait()
            while not stop.is_set():
                told[place].append(own.reserve("team", usd("0.01"), project=str(place)).id)

    writers = [threading.Thread(target=write, args=(place,)) for place in range(WRITERS)]
    for one in writers:
        one.start()
    running.wait()
    before, copies = [], []
    try:
        for number in range(3):
            while min(map(len, told)) < 3 * (number + 1):
                stop.wait(0.01)
            before.append([len(one) for one in told])
            copies.append(backup(address_of(database_url), tmp_path / f"{number}.sqlite"))
    finally:
        stop.set()
        for one in writers:
            one.join()
    for number, copied in enumerate(copies):
        assert copied.findings == ()
        with closing(sqlite3.connect(tmp_path / f"{number}.sqlite")) as connection:
            for place in range(WRITERS):
                query = "SELECT id FROM reservation WHERE project = ?"
                held = {row[0] for row in connection.execute(query, (str(place),))}
                assert held == set(told[place][: len(held)])
                assert len(held) >= before[number][place]


def test_what_is_there_is_not_overwritten(
    filled: str, tmp_path: Path, postgres: PostgresServer
) -> None:
    file = tmp_path / "copy.sqlite"
    backup(filled, file)
    before = file.read_bytes()
    with pytest.raises(NotEmptyError):
        backup(filled, file)
    assert file.read_bytes() == before
    backup(filled, file, replace=True)
    with pytest.raises(NotEmptyError):
        restore(file, filled)
    other = postgres.new_database()
    Ledger(other).close()
    with pytest.raises(NotEmptyError):
        restore(file, other)


def test_the_ledger_itself_is_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    with Ledger(str(file)) as ledger:
        ledger.wallets.create("team", "USD")
        with pytest.raises(NotEmptyError):
            backup(f"sqlite:///{file}", file, replace=True)
    (tmp_path / "link").symlink_to(file)
    for name in ("ledger.sqlite", "link"):
        with pytest.raises(NotEmptyError):
            backup(f"sqlite:///{file}", tmp_path / name, replace=True)
    with Ledger(str(file), create=False) as ledger:
        assert ledger.wallets.get("team").unit == "USD"


def test_a_restore_that_fails_leaves_nothing(
    filled: str, tmp_path: Path, database_url: str
) -> None:
    file, target = tmp_path / "copy.sqlite", tmp_path / "new.sqlite"
    backup(filled, file)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("DROP TRIGGER transfer_never_update")
        connection.execute("UPDATE transfer SET wallet_id = 'wal_of_nobody'")
    with pytest.raises(Exception, match="FOREIGN KEY"):
        restore(file, f"sqlite:///{target}")
    assert not target.exists()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    with pytest.raises(OlderSchemaError):
        restore(file, f"sqlite:///{target}")
    assert not target.exists()


def test_the_commands_say_what_is_in_a_copy(tmp_path: Path, database_url: str) -> None:
    cli = Cli(tmp_path, {"KLING_LEDGER_DB": database_url})
    cli("wallet", "create", "team")
    cli("wallet", "fund", "team", "20")
    told = cli.json("db", "backup", "copy.sqlite")
    assert (told["verdict"], told["wallets"], told["transfers"]) == ("clean", 1, 1)
    assert told["digest"] == own_digest(tmp_path / "copy.sqlite")
    assert cli("db", "backup", "copy.sqlite").code == 2
    assert cli("db", "backup", "copy.sqlite", "--force").code == 0
    back = cli.json("db", "restore", "copy.sqlite", "--db", "new.sqlite")
    assert back["rows"] == told["rows"]
    assert cli("db", "restore", "copy.sqlite").code == 2
    (tmp_path / "no.sqlite").write_text("this is no database, whatever it is called")
    assert cli("db", "restore", "no.sqlite", "--db", "newer.sqlite").code == 1


def test_what_is_wrong_in_a_ledger_is_told_of_its_copy(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.fund("20 USD")
    with closing(sqlite3.connect(cli.database)) as connection, connection:
        connection.execute("UPDATE wallet SET posted_micro = posted_micro + 1")
    said = cli("db", "backup", "copy.sqlite", "--format", "json")
    assert (said.code, said.json["verdict"]) == (6, "differences found")
    assert (tmp_path / "copy.sqlite").exists()
