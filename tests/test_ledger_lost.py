"""What a server's lost answer, or a lost server, does to money: nothing, or once what was asked."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from kling_ledger import Ledger, State
from kling_ledger.errors import (
    ConfigError,
    DatabaseError,
    InsufficientCreditsError,
    OutcomeUnknownError,
)
from kling_ledger.ledger import Asked, Change
from kling_ledger.ledger.engines import postgres as engine
from kling_ledger.ledger.engines.connecting import Address
from tests.cutting_proxy import Cut, Proxy, cutting_proxy
from tests.ledger_in_turn import admissions_of, told_in_turn
from tests.ledgers import plain_url, usd
from tests.postgres import PostgresServer

BEFORE_2100 = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """A ledger of its own: its connections are cut."""
    made = postgres.new_database()
    with Ledger(made) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10"))
    return made


@pytest.fixture
def cut(url: str) -> Iterator[tuple[Proxy, Ledger]]:
    with cutting_proxy(url) as (proxy, through), Ledger(through) as ledger:
        yield proxy, ledger


def sums(url: str) -> dict[str, int]:
    """What each kind of transfer moved in all, by the server's own arithmetic."""
    with psycopg.connect(plain_url(url)) as server:
        rows = server.execute("SELECT kind, sum(amount_micro)::bigint FROM transfer GROUP BY kind")
        return dict(rows.fetchall())


def reserved(ledger: Ledger, amount: str = "1") -> str:
    return ledger.reserve("team", usd(amount)).id


def submitted(ledger: Ledger) -> str:
    made = reserved(ledger)
    ledger.mark_submitting(made)
    return made


def in_turn(ledger: Ledger) -> None:
    """Two callers of whom the second is refused: after a lost answer it must not be both."""
    admissions = admissions_of(ledger, lambda _: 7_000_000)
    calls = [[Asked("team", usd("6"))], [Asked("team", usd("6"))]]
    told, left = told_in_turn(ledger, admissions, calls)
    assert [type(one) for one in told] == [list, InsufficientCreditsError]
    assert left == []


CALLS: dict[
    str, tuple[Callable[[Ledger], str], Callable[[Ledger, str], object], dict[str, int]]
] = {
    "fund": (
        lambda _: "",
        lambda ledger, _: ledger.wallets.fund("team", usd("3")),
        {"fund": 13_000_000},
    ),
    "adjust": (
        lambda _: "",
        lambda ledger, _: ledger.wallets.adjust(
            "team", usd("-3"), reason="a rebate was taken back"
        ),
        {"adjust_down": 3_000_000},
    ),
    "create": (
        lambda _: "",
        lambda ledger, _: ledger.wallets.create("other", "USD"),
        {},
    ),
    "budget": (
        lambda _: "",
        lambda ledger, _: ledger.budgets.set("film", usd("5")),
        {},
    ),
    "raise": (
        lambda ledger: ledger.budgets.set("film", usd("5")).budget.id,
        lambda ledger, _: ledger.budgets.raise_limit(
            "film", usd("1"), until=BEFORE_2100, reason="a rush"
        ),
        {},
    ),
    "reserve": (lambda _: "", lambda ledger, _: reserved(ledger, "4"), {"reserve": 4_000_000}),
    "reserve many": (
        lambda _: "",
        lambda ledger, _: ledger.reserve_many([Asked("team", usd("1"))] * 3),
        {"reserve": 3_000_000},
    ),
    "reserve in turn": (
        lambda _: "",
        lambda ledger, _: in_turn(ledger),
        {"reserve": 6_000_000},
    ),
    "submitting": (reserved, lambda ledger, made: ledger.mark_submitting(made), {}),
    "submitted": (submitted, lambda ledger, made: ledger.mark_submitted(made, "task-1"), {}),
    "in doubt": (submitted, lambda ledger, made: ledger.mark_in_doubt(made, "no reply"), {}),
    "part": (
        submitted,
        lambda ledger, made: ledger.commit(made, usd("0.25"), is_part=True),
        {"commit": 250_000},
    ),
    "commit": (
        submitted,
        lambda ledger, made: ledger.commit(made, usd("1.5")),
        {"overrun": 500_000},
    ),
    "roll back": (
        submitted,
        lambda ledger, made: ledger.roll_back(made, "refused"),
        {"roll_back": 1_000_000},
    ),
    "refund": (
        lambda ledger: ledger.commit(submitted(ledger), usd("1")).id,
        lambda ledger, made: ledger.refund(made, usd("0.5"), reason="half of it was black"),
        {"refund": 500_000},
    ),
    "settle": (
        submitted,
        lambda ledger, made: ledger.settle(
            [
                Change(made, State.SUBMITTED, task_id="t"),
                Change(made, State.COMMITTED, usd("1"), settled_by="provider"),
            ]
        ),
        {"commit": 1_000_000},
    ),
}


@pytest.mark.parametrize("how", Cut)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_whose_answer_is_lost_has_happened_once(cut, url, call, how):
    proxy, ledger = cut
    prepare, ask, moved = CALLS[call]
    made = prepare(ledger)
    proxy.arm(how)

    ask(ledger, made)

    assert proxy.cuts == 1
    if how is Cut.LATE:
        proxy.let_late_through.set()
        assert proxy.late_is_over.wait(10)
        time.sleep(0.2)
    told = sums(url)
    assert {kind: told.get(kind) for kind in moved} == moved
    assert ledger.verify().is_clean


def test_a_reservation_comes_back_as_it_was_made(cut, url):
    proxy, ledger = cut
    proxy.arm(Cut.ANSWER)

    made = ledger.reserve("team", usd("4"))

    assert ledger.reservations.get(made.id) == made
    assert ledger.wallets.get("team").reserved == usd("4")


def test_a_refusal_after_a_lost_message_ends_what_may_still_be_under_way(cut, url):
    proxy, ledger = cut
    proxy.arm(Cut.LATE)

    with (
        Ledger(url) as other,
        ledger_taking_all(other, proxy),
        pytest.raises(InsufficientCreditsError),
    ):
        ledger.reserve("team", usd("7"))

    proxy.let_late_through.set()
    assert proxy.late_is_over.wait(10)
    time.sleep(0.2)
    with Ledger(url) as after:
        assert after.wallets.get("team").reserved == usd("8")
        assert len(after.reservations.latest()) == 1


class ledger_taking_all:  # noqa: N801 - reads as the sentence it is
    """Another client that takes the credits as soon as the message is lost."""

    def __init__(self, other: Ledger, proxy: Proxy) -> None:
        self._thread = threading.Thread(target=self._take, args=(other, proxy))

    @staticmethod
    def _take(other: Ledger, proxy: Proxy) -> None:
        while not proxy.cuts:
            time.sleep(0.0005)
        other.reserve("team", usd("8"))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def test_what_nobody_can_know_is_said_with_what_to_ask_for(cut, url, monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE_S", 0.5)
    proxy, ledger = cut
    end_all(url)
    ledger.wallets.get("team")  # over a connection that is now the only one
    proxy.arm(Cut.ANSWER)
    monkeypatch.setattr(Address, "pipeline", unreachable)

    with pytest.raises(OutcomeUnknownError, match="may have been done") as raised:
        ledger.reserve("team", usd("4"))

    assert not raised.value.retryable
    monkeypatch.undo()
    with Ledger(url) as after:
        assert [after.reservations.get(one).amount for one in raised.value.ids] == [usd("4")]


def unreachable(_: object) -> object:
    raise psycopg.OperationalError("connection refused")


def test_a_server_that_is_away_changes_nothing_and_says_so(cut, monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE_S", 0.5)
    proxy, ledger = cut
    ledger.database.engine.close()  # no connection is left, so the proxy need not wait for any
    proxy.close()
    monkeypatch.setattr(Address, "pipeline", unreachable)
    with pytest.raises(DatabaseError, match="connection refused: nothing was changed") as raised:
        ledger.reserve("team", usd("4"))
    assert raised.value.retryable
    assert raised.value.code == "database"


def test_connections_that_died_while_nobody_used_them_are_not_used(url):
    with Ledger(url) as ledger:
        hold = threading.Barrier(8)

        def read() -> None:
            with ledger.database.read() as transaction:
                transaction.rows("SELECT 1 AS one")
                hold.wait(20)

        readers = [threading.Thread(target=read) for _ in range(8)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        end_all(url)
        for _ in range(20):
            ledger.reserve("team", usd("0.01"))
            assert ledger.wallets.get("team").posted == usd("10")
    assert sums(url)["reserve"] == 200_000


def end_all(url: str) -> None:
    with psycopg.connect(plain_url(url), autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )


@pytest.mark.timeout(60)
def test_a_silent_server_does_not_keep_anybody_waiting():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(DatabaseError, match="timeout"):
            Ledger(f"postgresql://ada@127.0.0.1:{port}/ledger", create=False)


def test_whoever_holds_a_lock_is_named_and_waited_for(url, caplog):
    caplog.set_level(logging.WARNING, "kling_ledger.database")
    with (
        psycopg.connect(plain_url(url), application_name="somebody's shell") as other,
        Ledger(url) as ledger,
    ):
        ledger.wallets.get("team")
        other.execute("LOCK TABLE wallet IN SHARE MODE")
        other.execute("SELECT pg_current_xact_id()")
        letting_go = threading.Timer(6, other.rollback)
        letting_go.start()
        ledger.reserve("team", usd("1"))
        letting_go.join()
    assert "somebody's shell has held a lock that this needs since" in caplog.text
    assert sums(url)["reserve"] == 1_000_000


STOPS = """
import os, signal, sys, time
from kling_ledger import Ledger
with Ledger(sys.argv[1]) as ledger:
    def stop(transaction):
        transaction.be_alone()
        transaction.rows("SELECT 1 AS one")
        print("alone", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(60)  # the other threads stop first
    ledger.database.write(stop)
"""


def test_a_process_that_stops_in_the_middle_of_a_transaction_stops_nobody_for_long(url, caplog):
    with subprocess.Popen(
        [sys.executable, "-c", STOPS, url], stdout=subprocess.PIPE, text=True
    ) as stopped:
        try:
            assert stopped.stdout is not None
            assert stopped.stdout.readline() == "alone\n"
            with Ledger(url) as ledger:
                ledger.reserve("team", usd("1"))
            assert f"kling-ledger {stopped.pid}" in caplog.text
        finally:
            os.kill(stopped.pid, signal.SIGKILL)
    assert sums(url)["reserve"] == 1_000_000


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://app:p@ss:w0rd/x@host/db",
        "postgresql://app:hush/hush@host/db",
        "postgresql://app:hush@host:hush/db",
        "postgresql://app:hush@host/db?password=hush&no_such=1",
    ],
)
def test_an_address_that_cannot_be_read_shows_nothing_of_its_password(address):
    with pytest.raises(ConfigError, match="invalid address of the database") as raised:
        Ledger(address)
    told = f"{raised.value} {raised.value.hint}"
    assert "hush" not in told
    assert "w0rd" not in told
    assert "ss:" not in told


def test_a_database_that_asks_for_serializable_transactions_gives_no_errors(url):
    with psycopg.connect(plain_url(url), autocommit=True) as server:
        server.execute(
            f"ALTER DATABASE {server.info.dbname} SET default_transaction_isolation = serializable"
        )
    with Ledger(url) as ledger:
        threads = [
            threading.Thread(target=lambda: [reserved(ledger, "0.1") for _ in range(10)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sums(url)["reserve"] == 4_000_000
