"""Turns: which process writes next to a file.

SQLite has one writer at a time. Left to themselves, processes that find it busy sleep and try
again, and some never get through.
"""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]


class FileTurn:
    """A turn between processes: whoever holds the lock on a file beside the database writes.

    There are two locks. The first is for being next: whoever has just written must queue for it
    again, behind the one who already holds it, so that nobody writes twice in a row while others
    wait. The files are empty and may be deleted while no process uses the ledger. Where the
    system has no such locks, SQLite's own waiting has to do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: tuple[int, int] | None = None

    def __enter__(self) -> None:
        if fcntl is None:
            return
        if self._files is None:
            self._files = (self._open("next"), self._open("turn"))
        is_next, turn = self._files
        fcntl.flock(is_next, fcntl.LOCK_EX)
        fcntl.flock(turn, fcntl.LOCK_EX)
        fcntl.flock(is_next, fcntl.LOCK_UN)

    def __exit__(self, *_: object) -> None:
        if self._files is not None:
            fcntl.flock(self._files[1], fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the files."""
        for file in self._files or ():
            os.close(file)
        self._files = None

    def _open(self, name: str) -> int:
        return os.open(f"{self._path}-{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
