"""Forks: no connection to a file is open while the process forks.

What breaks without it: SQLite records in the process which locks it holds, and the child inherits
that record, with locks that it does not hold or can never release. A ledger that the child opens on
the same path would wait forever, or lose what it writes. So the parent closes every connection
before it forks, and opens them again when they are needed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Protocol
from weakref import WeakSet

_WAIT_S: Final = 5.0
"""How long a fork waits for readers to finish."""


class Pausing(Protocol):
    """A file that is open in this process."""

    @property
    def path(self) -> Path:
        """Where it is."""

    def pause(self, *, within_s: float) -> bool:
        """Close every connection and prevent new ones; False if somebody is still reading."""

    def resume(self) -> None:
        """Allow connections again after a `pause`."""


# A fork copies the whole process, so this belongs to the whole process too.
_open: Final[WeakSet[Pausing]] = WeakSet()
_busy: Final[set[Path]] = set()


def watch(file: Pausing) -> None:
    """Close a file's connections whenever the process forks."""
    _open.add(file)


def was_open(path: Path) -> bool:
    """Whether somebody was reading a file when the process forked."""
    return bool(_busy) and path.resolve() in _busy


def _before() -> None:
    asked: set[int] = set()
    # Another thread may open a file while this one waits for the first.
    while fresh := [file for file in list(_open) if id(file) not in asked]:
        for file in fresh:
            asked.add(id(file))
            if not file.pause(within_s=_WAIT_S):
                _busy.add(file.path.resolve())


def _in_parent() -> None:
    _busy.clear()
    for file in list(_open):
        file.resume()


def _in_child() -> None:
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
