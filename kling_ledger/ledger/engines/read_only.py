"""Reading a file where nothing can be written: in a folder of somebody else, on a read-only mount.

What breaks without it: SQLite keeps an index of the log beside the file, and whoever may not make
it cannot read. Without a log the file alone is the whole ledger, and can be read as one that never
changes. Whether that held is seen afterwards.
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
"""What SQLite says where it cannot make the index of the log. The lower byte is the family."""


def can_be_written(path: Path) -> bool:
    """Whether this process may write to a file and make others beside it."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)


@contextmanager
def reading_only(path: Path, *, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """Open a file for reading alone, in a transaction that sees one state of it.

    Raises DatabaseError where a part of the ledger is in a log that cannot be read here, and where
    somebody else has written meanwhile.
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
        # The file is opened by whoever reads first.
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _stamp(path: Path) -> tuple[int, int, int]:
    """Return what tells that a file was written to. DatabaseError where it has a log."""
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        raise DatabaseError(
            f"{path} cannot be read here: the latest changes are in {log.name}, and reading that"
            " file needs write access to this folder",
            hint="copy it with `kling-ledger db backup` as a user who can write to that folder",
        )
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
