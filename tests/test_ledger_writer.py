"""Writer: one thread writes for all, tells each caller what came of its own, and ends when told."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.engines.writer import MOST_TOGETHER, Entry, Writer
from tests.ledgers import usd

PATIENCE_S = 30
NOTHING: Any = None
"""In place of a transaction: these operations need none."""


def write_each(entries: Sequence[Entry]) -> None:
    for entry in entries:
        entry.value = entry.operation(NOTHING)


def new_writer(
    write: Callable[[Sequence[Entry]], None] = write_each,
    *,
    close: Callable[[], None] = lambda: None,
) -> Writer:
    return Writer(write, turn=nullcontext(), close=close, held_by=lambda: "somebody writes")


@contextmanager
def busy(writer: Writer) -> Iterator[ThreadPoolExecutor]:
    """Keep a writer writing meanwhile: whatever is called in the threads given has to wait."""
    is_busy, may_go = threading.Event(), threading.Event()

    def write_for_long(_: object) -> None:
        is_busy.set()
        may_go.wait(PATIENCE_S)

    with ThreadPoolExecutor(MOST_TOGETHER + 10) as threads:
        threads.submit(writer.run, write_for_long)
        is_busy.wait(PATIENCE_S)
        yield threads
        time.sleep(0.1)
        may_go.set()


def test_all_is_written_in_one_thread_that_is_none_of_the_callers():
    writer = new_writer()
    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(lambda _: writer.run(lambda _: threading.get_ident()), range(50)))
        assert len(ids) == 1
        assert not ids & {thread.ident for thread in threads._threads}
    writer.close()


def test_more_than_may_be_written_together_are_written_one_group_after_another():
    sizes: list[int] = []

    def write(entries: Sequence[Entry]) -> None:
        sizes.append(len(entries))
        write_each(entries)

    writer = new_writer(write)
    with busy(writer) as threads:
        callers = [threads.submit(writer.run, lambda _: None) for _ in range(MOST_TOGETHER + 3)]
    assert all(caller.result(PATIENCE_S) is None for caller in callers)
    assert sizes == [1, MOST_TOGETHER, 3]
    writer.close()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_cannot_be_written_is_told_to_all_who_waited_and_the_next_is_written(error):
    def write(entries: Sequence[Entry]) -> None:
        if len(entries) > 1:
            raise error("no room")
        write_each(entries)

    writer = new_writer(write)
    told: list[BaseException] = []

    def call(_: int) -> None:
        try:
            writer.run(lambda _: None)
        except error as raised:
            told.append(raised)

    with busy(writer) as threads:
        for number in range(3):
            threads.submit(call, number)
    assert len(told) == 3
    assert writer.run(lambda _: "written") == "written"
    writer.close()


def test_closing_lets_what_waits_be_written_and_refuses_what_comes_later():
    ended: list[str] = []
    writer = new_writer(close=lambda: ended.append("closed"))
    with busy(writer) as threads:
        waiting = [threads.submit(writer.run, lambda _: "written") for _ in range(5)]
        time.sleep(0.1)
        closing = threads.submit(writer.close)
    assert [one.result(PATIENCE_S) for one in waiting] == ["written"] * 5
    closing.result(PATIENCE_S)
    assert ended == ["closed"]
    with pytest.raises(DatabaseError, match="is closed"):
        writer.run(lambda _: None)


def test_a_writer_that_never_wrote_is_closed_at_once():
    ended: list[str] = []
    new_writer(close=lambda: ended.append("closed")).close()
    assert ended == []


def test_a_caller_that_comes_while_the_writer_ends_is_refused():
    may_end = threading.Event()

    def end_slowly() -> None:
        may_end.wait(PATIENCE_S)

    writer = new_writer(close=end_slowly)
    writer.run(lambda _: None)
    with ThreadPoolExecutor(2) as threads:
        closing = threads.submit(writer.close)
        time.sleep(0.05)
        late = threads.submit(writer.run, lambda _: None)
        time.sleep(0.05)
        may_end.set()
        with pytest.raises(DatabaseError, match="is closed"):
            late.result(PATIENCE_S)
        closing.result(PATIENCE_S)


def test_whoever_was_not_written_is_told_and_the_next_is_written():
    deaths = iter([True])

    writer = new_writer(lambda entries: write_each(entries) if not next(deaths, False) else None)
    with pytest.raises(DatabaseError, match="has died"):
        writer.run(lambda _: None)
    assert writer.run(lambda _: "written") == "written"
    writer.close()


# --- a ledger ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use", [lambda ledger: ledger.wallets.all(), lambda ledger: ledger.reserve("team", usd("1"))]
)
def test_a_closed_ledger_refuses_to_be_used(tmp_path, use):
    ledger = Ledger(str(tmp_path / "closed.sqlite"))
    ledger.close()
    with pytest.raises(DatabaseError, match="is closed"):
        use(ledger)


def in_a_forked_process(call: Callable[[], object]) -> str:
    """What a call says in a child of this process."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Newer Pythons warn of a fork beside other threads: that is what is tried here.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, f"{call()}".encode())
        except BaseException as error:  # noqa: BLE001 - a child must end here, whatever happened
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    os.waitpid(pid, 0)
    return text


def test_a_ledger_opened_before_a_fork_is_refused_in_the_child_and_works_in_the_parent(
    database_url,
):
    with Ledger(database_url) as ledger:
        ledger.wallets.create("team", "USD")
        for use in (ledger.verify, lambda: ledger.wallets.create("other", "USD")):
            assert "opened before the process forked" in in_a_forked_process(use)
        assert in_a_forked_process(ledger.close) == "None"
        assert ledger.wallets.create("other", "USD").name == "other"
        assert ledger.verify().is_clean


def test_a_ledger_that_is_left_open_keeps_no_process_from_ending(tmp_path: Path):
    path = str(tmp_path / "ledger.sqlite")
    code = (
        "import sys; from kling_ledger import Ledger;"
        " Ledger(sys.argv[1]).wallets.create('team', 'USD')"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True, timeout=PATIENCE_S)
    with Ledger(path) as ledger:
        assert [wallet.name for wallet in ledger.wallets.all()] == ["team"]
