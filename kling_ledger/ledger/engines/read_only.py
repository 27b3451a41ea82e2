"""Reading a file where nothing can be written: in another user's folder, on a read-only mount.

What breaks without it: SQLite keeps an index of the log beside the file, and cannot read without
the right to create it. Without a log the file alone is the whole ledger, and can be read as one
that never changes. Whether that was true is checked afterwards.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from kling_ledger.errors import DatabaseError

_CANNOT_OPEN: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""What SQLite reports if it cannot create the log's index; the lower byte is the error's family."""


def can_be_written(path: Path) -> bool:
    """Whether this process may write to a file and create others beside it."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)


@contextmanager
def reading_only(path: Path, *, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """Open a file for reading only, in a transaction that sees one state of it.

    Raises DatabaseError if a part of the ledger is in a log that cannot be read here, or if
    somebody wrote to it meanwhile.
    """
    try:
        connection = _opened(path, "mode=ro", timeout_s)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _CANNOT_OPEN:
            raise
    else:
        with closing(connection):
            yield connection
        return
    before = _stamp(path)
    with closing(_opened(path, "mode=ro&immutable=1", timeout_s)) as connection:
        yield connection
    if _stamp(path) != before:
        raise DatabaseError(f"{path} was written to while it was read", retryable=True)


def _opened(path: Path, how: str, timeout_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("BEGIN")
        # The first query opens the file.
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _stamp(path: Path) -> tuple[int, int, int]:
    """Return values that change when the file is written to. DatabaseError if it has a log."""
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        raise DatabaseError(
            f"{path} cannot be read here: the latest changes are in {log.name}, and reading that"
            " file needs write access to this folder",
            hint="copy it with `kling-ledger db backup` as a user who can write to that folder",
        )
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
