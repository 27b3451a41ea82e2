"""Points at which a process on a ledger dies or loses its connection, and what it was doing then.

Nothing in the product knows of them: every new connection passes here. On SQLite a
point comes before each statement, as SQLite itself traces them, triggers too; on PostgreSQL before
each exchange with the server, and before and after each wait for its answer.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger import Change, Ledger, Reservation, State
from kling_pricing.money import Money
from tests.first_release import make_first_release
from tests.ledger_operations import (
    CLIP,
    HALF,
    OPENINGS,
    OPERATIONS,
    asked,
    call_again,
    digest_of,
    ids_of,
    opened,
    set_up,
    state_of,
)
from tests.ledgers import plain_url, tables, unprotected

Answer = dict[str, Any]

# --- points ------------------------------------------------------------------------------------


WAITING: Final = frozenset({"a wait", "an answer"})
"""Points whose number depends on how what was sent and answered is cut into pieces."""


class Fuse:
    """Notes the points that a process passes, and burns at one of them."""

    def __init__(
        self,
        at: int = 0,
        burn: Callable[[], None] = lambda: None,
        *,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.passed: list[str] = []
        self.at = at
        self._burn = burn
        self._without = without
        self._is_lit = False

    def point(self, name: str) -> None:
        """Pass a point: it counts unless it is of a kind to be left out."""
        if self._is_lit and name not in self._without:
            self.passed.append(name)
            if len(self.passed) == self.at:
                self._burn()

    @contextmanager
    def lit(self) -> Iterator[None]:
        """Note what happens meanwhile; its end is a point too."""
        self._is_lit = True
        try:
            yield
            self.point("the end")
        finally:
            self._is_lit = False


def die() -> None:
    """End this process as a power cut would: nothing is closed, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


class Watched(psycopg.Connection[Any]):
    """A connection whose exchanges with the server are points."""

    fuse: Fuse | None = None

    def wait(self, gen: Any, *given: Any, **named: Any) -> Any:
        """Pass the points of one exchange."""
        if self.fuse is None:
            return super().wait(gen, *given, **named)
        self.fuse.point("an exchange")
        return super().wait(_watched(gen, self.fuse), *given, **named)


def _watched(gen: Any, fuse: Fuse) -> Generator[Any, Any, Any]:
    try:
        wanted = next(gen)
        while True:
            fuse.point("a wait")
            ready = yield wanted
            fuse.point("an answer")
            wanted = gen.send(ready)
    except StopIteration as ended:
        return ended.value


@contextmanager
def watching(fuse: Fuse) -> Iterator[list[Watched]]:
    """Let every new connection pass its points; give those to a server as they come."""
    made: list[Watched] = []

    def connect(*given: Any, **named: Any) -> Watched:
        connection = Watched.connect(*given, **named)
        connection.fuse = fuse
        made.append(connection)
        return connection

    def traced(*given: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = plain(*given, **named)
        connection.set_trace_callback(fuse.point)
        return connection

    plain: Any = sqlite3.connect
    plain_psycopg: Any = psycopg.connect
    # Whoever connects asks the driver for it, SQLAlchemy too.
    psycopg.connect = connect
    sqlite3.connect = traced  # type: ignore[assignment]
    try:
        yield made
    finally:
        psycopg.connect = plain_psycopg
        sqlite3.connect = plain


_OURS: Final = "starts_with(application_name, current_setting('application_name'))"
"""Of the sessions of a database, those on the schema of the one who asks, if it has one."""

# --- a ledger that is made new again and again -------------------------------------------------


class Original:
    """A database as it was before an operation, kept to begin from it again and again."""

    def __init__(self, url: str, operation: str, *, slots: int = 0) -> None:
        self._url = url
        self._slots = slots
        self._path = Path(url.removeprefix("sqlite:///"))
        self._kept = self._path.with_name("original")
        self._is_empty = operation == "create"
        is_file = url.startswith("sqlite")
        self._server = None if is_file else psycopg.connect(plain_url(url), autocommit=True)
        if self._server is not None:
            self._keep_tables(self._server)
        elif not self._is_empty:
            (make_first_release if operation == "upgrade" else set_up)(url)
            shutil.copyfile(self._path, self._kept)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def restore(self) -> None:
        """Make the database what it was."""
        if self._server is not None:
            self.wait_until_left()
            with nullcontext() if self._is_empty else unprotected(self._server):
                self._server.execute(self._restoring.encode())
            return
        for end in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + end).unlink(missing_ok=True)
        if not self._is_empty:
            shutil.copyfile(self._kept, self._path)

    def wait_until_left(self) -> None:
        """Wait until the server has noticed that its clients are gone, and finished for them."""
        if self._server is None:
            return
        give_up_at = time.monotonic() + 60
        while self._server.execute(_OTHERS).fetchone() != (0,):
            if time.monotonic() > give_up_at:
                raise AssertionError("a client that is dead still has its session")
            time.sleep(0.001)

    def end_sessions(self) -> None:
        """End every other session of the database, as its administrator might."""
        if self._server is None:
            raise AssertionError("a file has no sessions")
        self._server.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            f" AND backend_type = 'client backend' AND {_OURS}"
        )

    def _keep_tables(self, server: psycopg.Connection[Any]) -> None:
        """Keep the tables in a schema beside; a database that was used before has one."""
        row = server.execute("SELECT current_schema()").fetchone()
        schema = row[0] if row else "public"
        if self._is_empty:
            self._restoring = f"DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}"
            return
        original = f"{schema}_original"
        if server.execute("SELECT to_regnamespace(%s)", (original,)).fetchone() == (None,):
            set_up(self._url, slots=self._slots)
            server.execute(f"CREATE SCHEMA {original}".encode())
            for table in tables():
                server.execute(f"CREATE TABLE {original}.{table} AS TABLE {table}".encode())
        # Rows go after those that refer to them, and come before.
        emptying = [f"DELETE FROM {table}" for table in reversed(tables())]
        filling = [f"INSERT INTO {table} SELECT * FROM {original}.{table}" for table in tables()]
        self._restoring = "; ".join([*emptying, *filling])


_OTHERS: Final = (
    "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    f" AND {_OURS}"
)


# --- what a process of the nursery does --------------------------------------------------------


def kill_at_each_point(
    url: str,
    operation: str,
    first: int,
    step: int,
    without: list[str],
    last: int,
    processes: int,
    slots: int = 0,
) -> Answer:
    """Kill a process at every `step`th point of an operation, then finish what it began.

    Kinds of points `without` which it goes are left out, but for the `last` ones, which so many
    `processes` share. Says at which points a process was killed, all points of the operation, and
    what was wrong after.
    """
    said: Answer = {"killed": [], "wrong": []}
    with closing(Original(url, operation, slots=slots)) as original:
        right, said["points"] = _uninterrupted(original, url, operation, frozenset(without))
        _, every = _uninterrupted(original, url, operation, frozenset())
        fuses = [Fuse(point, die, without=frozenset(without)) for point in _of(said["points"])]
        ends = [Fuse(point, die) for point in _of(every)[len(every) - last :]]
        for fuse in fuses[first::step] + ends[first::processes]:
            original.restore()
            if not _is_killed(url, operation, fuse):
                continue
            said["killed"].append(fuse.at)
            problem = _finished(original, url, operation, right)
            if problem:
                said["wrong"].append(f"killed at point {fuse.at} of {every}: {problem}")
    return said


def _of(points: list[str]) -> list[int]:
    return list(range(1, len(points) + 1))


def lose_connection_at_each_point(
    url: str, operation: str, first: int, step: int, slots: int = 0
) -> Answer:
    """End the sessions of an operation at every `step`th point, and let the same ledger go on.

    Says how often that was an error of ours, how often it was not noticed, and what was wrong.
    """
    said: Answer = {"errors": 0, "unnoticed": 0, "wrong": []}
    with closing(Original(url, operation, slots=slots)) as original:
        right, points = _uninterrupted(original, url, operation, WAITING)
        for point in _of(points)[first::step]:
            original.restore()
            fuse = Fuse(point, original.end_sessions, without=WAITING)
            with watching(fuse), closing(opened(url, 1000)) as ledger:
                ids = ids_of(ledger)
                try:
                    with fuse.lit():
                        OPERATIONS[operation].call(ledger, ids)
                    said["unnoticed"] += 1
                except DatabaseError as error:
                    said["errors"] += 1
                    if not error.retryable:
                        said["wrong"].append(f"point {point}: not retryable: {error}")
                _again_until_connected(partial(call_again, ledger, ids, operation))
                is_right = ledger.verify().is_clean and state_of(ledger) == right
            if not is_right:
                said["wrong"].append(f"point {point} of {points[point - 1 : point + 1]}")
    return said


def _again_until_connected(call: Callable[[], None]) -> None:
    """Make a call whose first attempt may find the connection that was just lost."""
    try:
        call()
    except DatabaseError as error:
        if not error.retryable:
            raise
        call()


def _uninterrupted(
    original: Original, url: str, operation: str, without: frozenset[str]
) -> tuple[list[str], list[str]]:
    """Return the state that an operation leads to, which is clean, and the points on the way."""
    original.restore()
    fuse = Fuse(without=without)
    with watching(fuse):
        _perform(url, operation, fuse)
    with closing(opened(url, 3000)) as ledger:
        assert ledger.verify().is_clean
        return state_of(ledger), fuse.passed


def _perform(url: str, operation: str, fuse: Fuse) -> None:
    if operation in OPENINGS:
        with fuse.lit():
            OPENINGS[operation](url)
        return
    with closing(opened(url, 1000)) as ledger:
        ids = ids_of(ledger)
        with fuse.lit():
            OPERATIONS[operation].call(ledger, ids)


def _is_killed(url: str, operation: str, fuse: Fuse) -> bool:
    """Whether a process that has to die at a point did; False if it came to its end before."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with watching(fuse):
                _perform(url, operation, fuse)
            status = 0
        except BaseException:  # noqa: BLE001 - a child must end here, whatever happened
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(ended) and os.WEXITSTATUS(ended):
        raise AssertionError(f"{operation} failed before its point {fuse.at}")
    return os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL


def _finished(original: Original, url: str, operation: str, right: list[str]) -> str | None:
    """Make the call again as the next process would; return what is wrong then, or before."""
    if operation in OPENINGS:
        OPENINGS[operation](url)
    with closing(opened(url, 5000)) as ledger:
        found = ledger.verify().findings
        if found:
            return f"verify finds {found[0]}"
        if operation in OPERATIONS:
            call_again(ledger, ids_of(ledger), operation)
        # What is as it should be is clean: that was verified once.
        differing = set(state_of(ledger)) ^ set(right)
    if differing:
        return f"the call made again leads elsewhere: {sorted(differing)}"
    return None


def write_history(path: str, log: str, calls: int, checkpoint_at: int | None) -> Answer:
    """Live through a history and die; before it and after each call, log the whole state's digest.

    At one of the calls the database takes over what its write-ahead log holds by then.
    """
    set_up(path)
    ledger = opened(path, 1000)
    with Path(log).open("w", buffering=1) as told:
        told.write(_digest(ledger))
        for number, call in zip(range(calls), _history(ledger), strict=False):
            call()
            told.write(_digest(ledger))
            if number == checkpoint_at:
                with closing(sqlite3.connect(path)) as other:
                    other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        die()
    return {"outlived": True}


def _history(ledger: Ledger) -> Iterator[Callable[[], object]]:
    for number in itertools.count():
        made: list[Reservation] = []
        some = [asked(f"{name}-{number}") for name in "abcd"]
        yield lambda: made.extend(ledger.reserve_many(some))  # noqa: B023 - called at once
        a, b, c, d = (one.id for one in made)
        for change in (
            Change(a, State.SUBMITTING),
            Change(a, State.SUBMITTED, task_id=f"task {number}"),
            Change(a, State.COMMITTED, HALF, is_part=True, key=f"part {number}"),
            Change(a, State.COMMITTED, HALF, key=f"rest {number}"),
            Change(a, None, HALF, key=f"refund {number}", reason="dark"),
            Change(b, State.ROLLED_BACK, problem="it failed"),
            Change(b, State.COMMITTED, HALF),
            Change(c, State.COMMITTED, CLIP + HALF),
            Change(d, State.ROLLED_BACK, problem="cancelled"),
        ):
            yield partial(ledger.settle, [change])
        yield partial(ledger.wallets.fund, "team", CLIP + CLIP, key=f"fund {number}")
        yield partial(ledger.budgets.set, f"budget-{number}", Money.parse("90 USD"))


def _digest(ledger: Ledger) -> str:
    return digest_of(ledger) + "\n"
