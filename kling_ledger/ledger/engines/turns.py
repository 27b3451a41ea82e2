"""Turns: which process writes to a file next.

SQLite has one writer at a time. Left alone, processes that find it busy sleep and retry, and some
never get their turn.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

_LONGEST: Final = 48
"""How many bytes of a lock file say who holds the lock."""

_SAID: Final = re.compile(rb"([1-9][0-9]{0,9}) ([0-9]{1,11}) ")
"""A process id, and a second of the Unix clock."""


class FileTurn:
    """A turn between processes: the one that holds the lock on a file beside the database writes.

    There are two locks. The first is for being next: a process that has just written must queue for
    it again, behind the one that already holds it, so that none writes twice in a row while others
    wait. The system releases both when their process ends. Each file says who holds its lock. The
    files may be deleted while no process uses the ledger. On a system without such locks, SQLite's
    own waiting has to do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: tuple[int, int] | None = None
        self._waits_for: int | None = None

    def __enter__(self) -> None:
        if fcntl is None:
            return
        if self._files is None:
            self._files = (self._open("next"), self._open("turn"))
        is_next, turn = self._files
        self._take(is_next)
        self._take(turn)
        fcntl.flock(is_next, fcntl.LOCK_UN)

    def __exit__(self, *_: object) -> None:
        if self._files is not None:
            fcntl.flock(self._files[1], fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the files."""
        for file in self._files or ():
            os.close(file)
        self._files = None

    def held_by(self) -> str:
        """Say who holds the lock that a writer waits for, and since when, if the files tell."""
        file = self._waits_for
        found = None if file is None else _SAID.match(os.pread(file, _LONGEST, 0))
        if found is None or not _is_running(int(found[1])):
            return "another program holds the file"
        since = datetime.fromtimestamp(int(found[2]), UTC)
        return f"process {int(found[1])} has been writing since {since:%Y-%m-%d %H:%M:%S} UTC"

    def _take(self, file: int) -> None:
        self._waits_for = file
        fcntl.flock(file, fcntl.LOCK_EX)
        self._waits_for = None
        # Written at every transaction and rarely read: the reader formats the date.
        os.pwrite(file, b"%d %d ".ljust(_LONGEST) % (os.getpid(), time.time()), 0)

    def _open(self, name: str) -> int:
        return os.open(f"{self._path}-{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _is_running(process: int) -> bool:
    with suppress(PermissionError):  # it is somebody else's, and there
        try:
            os.kill(process, 0)
        except (OverflowError, ProcessLookupError):
            return False
    return True
