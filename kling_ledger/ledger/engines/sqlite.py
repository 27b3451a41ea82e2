"""SQLite: a file, many threads and processes, one writer at a time.

WAL with `synchronous=FULL`: what was acknowledged survives a power cut. A writing transaction takes
the write lock when it begins, so that nothing that it read can change before it writes.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger.engines import forks
from kling_ledger.ledger.engines.group import write_group
from kling_ledger.ledger.engines.read_only import can_be_written, reading_only
from kling_ledger.ledger.engines.spares import Spares
from kling_ledger.ledger.engines.sqlite_transaction import SqliteTransaction
from kling_ledger.ledger.engines.transaction import Batch, Transaction
from kling_ledger.ledger.engines.turns import FileTurn
from kling_ledger.ledger.engines.writer import Entry, Writer

if TYPE_CHECKING:
    from sqlalchemy import Connection

BUSY_TIMEOUT_S: Final = 30
"""How long a transaction waits for another process to finish its own, in seconds."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class SqliteFile:
    """A ledger's file: any number of readers, and one writer at a time."""

    dialect: Final = "sqlite"

    def __init__(self, path: Path) -> None:
        self.name = f"sqlite:///{path}"
        self._path = path
        _make_folder(path)
        self._file = _only_name(path)
        self.is_read_only = path.exists() and not can_be_written(path)
        self._place = str(path)
        self._readers = Spares(self._connect, is_idle=lambda reader: not reader.in_transaction)
        self._turn = FileTurn(path)
        self._writing: sqlite3.Connection | None = None
        self._writer = Writer(
            self._write_group,
            turn=self._turn,
            close=self._stop_writing,
            held_by=lambda: f"{self.name}: {self._turn.held_by()}",
        )
        self._between_groups = Lock()
        self._is_paused = False
        # Connections outside the pool, which a fork cannot close.
        self._aside: list[None] = []
        forks.watch(self)

    def pause(self, *, within_s: float) -> bool:
        """Close every connection and prevent new ones; False if somebody is still reading."""
        if not self._between_groups.acquire(timeout=within_s):
            return False
        self._is_paused = True
        if self._writing is not None:
            self._writing.close()
            self._writing = None
        return self._readers.withdraw(within_s=within_s) and not self._aside

    def resume(self) -> None:
        """Allow connections again after a `pause`."""
        if self._is_paused:
            self._is_paused = False
            self._readers.lend_again()
            self._between_groups.release()

    def close(self) -> None:
        """Give back every connection."""
        self._writer.close()
        self._readers.close()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that sees one consistent state and writes nothing."""
        if self.is_read_only:
            with reading_only(self._path, timeout_s=BUSY_TIMEOUT_S) as connection:
                yield SqliteTransaction(connection)
            return
        self._check_is_there()
        with self._readers.lent() as connection:
            try:
                connection.execute("BEGIN")
                yield SqliteTransaction(connection)
            finally:
                connection.rollback()

    @contextmanager
    def read_together(self, count: int) -> Iterator[Sequence[Transaction]]:
        """Open `count` transactions that all see one state, each for a thread of its own."""
        if self.is_read_only or count == 1:
            with self.read() as transaction:
                yield [transaction]
            return
        self._check_is_there()
        # Outside the pool: callers that each wait for several lent ones would deadlock.
        with self._one_aside(), ExitStack() as opened:
            watching, *readers = [
                opened.enter_context(closing(self._connect())) for _ in range(count + 1)
            ]
            _begin_together(watching, readers)
            yield [SqliteTransaction(reader) for reader in readers]

    @contextmanager
    def whole(self) -> Iterator[sqlite3.Connection]:
        """Open a separate connection that sees one state of everything, to copy it all."""
        if self.is_read_only:
            with reading_only(self._path, timeout_s=BUSY_TIMEOUT_S) as connection:
                yield connection
            return
        with self._one_aside(), closing(self._connect()) as connection:
            connection.execute("BEGIN")
            yield connection

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    def write(self, operation: Callable[[Transaction], Result]) -> Result:
        """Run an operation in a transaction: all of it happens, or nothing if it raises."""
        self._check_writable()
        result: Result = self._writer.run(operation)
        return result

    def write_batch(self, batch: Batch[Item, Result]) -> Callable[[int], Result]:
        """Write a batch, perhaps merged with others of its kind; return what gives its results."""
        self._check_writable()
        result_of: Callable[[int], Result] = self._writer.run(batch)
        return result_of

    def writer_of(self, _: Batch[Any, Any]) -> Writer:
        """Return the thread that writes a batch for those who cannot wait themselves."""
        self._check_writable()
        return self._writer

    @contextmanager
    def schema(self) -> Iterator[Connection]:
        """Open a transaction to change the tables themselves; nobody else writes meanwhile."""
        self._check_writable()
        from sqlalchemy import create_engine, event
        from sqlalchemy.pool import NullPool

        engine = create_engine("sqlite://", creator=self._connect, poolclass=NullPool)
        event.listen(engine, "begin", _begin)
        with self._one_aside(), engine.begin() as connection:
            yield connection

    @contextmanager
    def _one_aside(self) -> Iterator[None]:
        self._aside.append(None)
        try:
            yield
        finally:
            self._aside.pop()

    def use_write_ahead_log(self) -> None:
        """Switch a ledger's file to WAL, permanently."""
        give_up_at = time.monotonic() + BUSY_TIMEOUT_S
        with self._readers.lent() as connection:
            while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                try:
                    connection.execute("PRAGMA journal_mode=WAL")
                except sqlite3.OperationalError:
                    # SQLite does not wait for others here: its time-out only covers transactions.
                    if time.monotonic() >= give_up_at:
                        raise
                    time.sleep(0.01)

    def _check_writable(self) -> None:
        if self.is_read_only:
            raise DatabaseError(
                f"{self.name} is read-only: this user cannot write to it or to its folder",
                hint="use a ledger that this user can write to",
            )

    def _write_group(self, entries: Sequence[Entry]) -> None:
        with self._between_groups:
            self._check_is_there()
            if self._writing is None:
                self._writing = self._connect()
            write_group(self._writing, entries)

    def _check_is_there(self) -> None:
        """Refuse a file that is no longer the opened one: anything written to it is lost."""
        try:
            now = os.stat(self._place)  # noqa: PTH116 - at every write
        except FileNotFoundError:
            now = None
        if self._file is None:
            self._file = None if now is None else (now.st_dev, now.st_ino)
        elif now is None or self._file != (now.st_dev, now.st_ino):
            raise DatabaseError(
                f"{self.name} was {'removed' if now is None else 'replaced'} while it was open",
                hint="stop every program that uses it, then start them again",
            )

    def _stop_writing(self) -> None:
        if self._writing is not None:
            self._writing.close()
        self._writing = None
        self._turn.close()

    def _connect(self) -> sqlite3.Connection:
        # The driver must not begin transactions by itself: we choose the kind.
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous=FULL")
            # On macOS a disk keeps data in its own memory, unless it is asked to write it out.
            connection.execute("PRAGMA fullfsync=ON")
            connection.execute("PRAGMA checkpoint_fullfsync=ON")
            connection.execute("PRAGMA foreign_keys=ON")
        except BaseException:
            # The file may be no database: only now does SQLite look.
            connection.close()
            raise
        return connection


def _only_name(path: Path) -> tuple[int, int] | None:
    """Return which file a path leads to, None for none yet.

    Raises DatabaseError if the file may have another name: each name would have a log of its own,
    and two ledgers would write to one file.
    """
    if forks.was_open(path):
        raise DatabaseError(
            f"{path} was being read while the process forked",
            hint="start processes with multiprocessing's 'spawn', or fork while no read is running",
        )
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    if found.st_nlink > 1 and path.is_file():
        raise DatabaseError(
            f"{path} has {found.st_nlink} hard links, and each would become a separate ledger",
            hint="remove the other hard links",
        )
    if _is_mounted(path):
        raise DatabaseError(
            f"{path} is mounted without the files next to it",
            hint="mount the folder, not the file",
        )
    return found.st_dev, found.st_ino


def _is_mounted(path: Path) -> bool:
    """Whether a file is a mount point, as in a container that was given a single file."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # Spaces and similar characters are written as octal there.
    place = re.sub(r"[ \t\n\\]", lambda found: f"\\{ord(found[0]):03o}", str(path.resolve()))
    return any(line.split(" ")[4] == place for line in mounts.splitlines())


def _begin_together(watching: sqlite3.Connection, readers: Sequence[sqlite3.Connection]) -> None:
    """Begin to read on several connections, with no write in between: they see one state.

    `data_version` on the first connection changes with every write by another one.
    """
    while True:
        before = watching.execute("PRAGMA data_version").fetchone()
        for reader in readers:
            reader.execute("BEGIN")
            # Only what is read first fixes the state.
            reader.execute("SELECT name FROM sqlite_master LIMIT 1").fetchone()
        if watching.execute("PRAGMA data_version").fetchone() == before:
            return
        for reader in readers:
            reader.rollback()


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"cannot create the folder of {path}: {error.strerror}") from None
    if not path.exists() and not os.access(path.parent, os.W_OK | os.X_OK):
        raise DatabaseError(
            f"cannot create a ledger at {path}: this user cannot write to its folder",
            hint="use a folder that this user can write to",
        )


def _begin(connection: Any) -> None:
    """Begin a transaction that goes through SQLAlchemy: to create the tables, or migrate them."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
