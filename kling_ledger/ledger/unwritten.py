"""Unwritten: a task id is never lost, whatever happens to the database meanwhile.

A provider that accepts a job gives its task id once. While the database cannot record it, the id is
kept in a small file: beside a ledger that is a file, otherwise in the user's data folder. Recovery
reads those files first, and removes each once the ledger has its content.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final, Self, TypeVar

from kling_ledger import config
from kling_ledger.errors import (
    ConflictError,
    DatabaseError,
    NotFoundError,
    StateError,
    TaskNotWrittenError,
)
from kling_ledger.ledger.lookout import Late, Lookout
from kling_pricing.errors import KlingError

if TYPE_CHECKING:
    from kling_ledger.ledger.ledger import Ledger
    from kling_ledger.ledger.reservations import Reservation

Result = TypeVar("Result")

log: Final = logging.getLogger("kling_ledger.ledger")

PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
"""How long to wait before each further try to record a task."""

LONGEST_S: Final = 25.0
"""After this long there are no more tries: a database may take long to report that it is away."""

_SUFFIX: Final = ".task"
_SQLITE: Final = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Note:
    """A file that says which task a reservation's job is."""

    path: Path
    reservation_id: str
    task_id: str

    def remove(self) -> None:
        """Remove the file: the ledger has its content."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def keep_task(
    ledger: Ledger,
    reservation_id: str,
    task_id: str,
    write: Callable[[], Reservation] | None = None,
) -> Reservation:
    """Record the task of a job, and keep trying if the database is away for a while.

    `write` replaces the default way of recording it, to write more than the task. A job that has
    ended meanwhile keeps the task too: the provider may still charge it. Raises TaskNotWrittenError
    once it has tried long enough, ConflictError if another reservation has the task, and StateError
    if the job has another one.
    """
    taken = write or (lambda: ledger.mark_submitted(reservation_id, task_id))
    with _SlowWriting(ledger.lookout, ledger.database.url, reservation_id, task_id) as writing:
        for pause_s in (*PAUSES_S, None):
            try:
                kept = _kept(ledger, reservation_id, task_id, taken)
            except DatabaseError as error:
                writing.leave_note()
                log.warning("job %s is task %s, and that is not written", reservation_id, task_id)
                if pause_s is None or writing.has_lasted:
                    raise TaskNotWrittenError(
                        error.message,
                        reservation_id=reservation_id,
                        task_id=task_id,
                        kept_in=None if writing.note is None else writing.note.path,
                        retryable=error.retryable,
                    ) from error
            except KlingError:
                raise
            except BaseException:
                # Ctrl-C while the database is slow: it is unknown whether it has the task.
                writing.leave_note()
                raise
            else:
                writing.remove_note()
                return kept
            time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")


def lasting(call: Callable[[], Result]) -> Result:
    """Make a call that changes a ledger; repeat it for a few seconds while its database is away.

    The call must be safe to repeat. Raises the last DatabaseError.
    """
    give_up_at = time.monotonic() + LONGEST_S
    for pause_s in PAUSES_S:
        try:
            return call()
        except DatabaseError as error:
            if not error.may_pass or time.monotonic() >= give_up_at:
                raise
        time.sleep(pause_s)
    return call()


class _SlowWriting:
    """A task being recorded: if that takes longer than a moment, it leaves a note.

    A process killed while the database is slow could not leave one any more.
    """

    def __init__(self, lookout: Lookout, url: str, reservation_id: str, task_id: str) -> None:
        self.note: Note | None = None
        self._of = url, reservation_id, task_id
        self._lock = Lock()
        self._give_up_at = time.monotonic() + LONGEST_S
        self._lookout = lookout
        self._late: Late | None = None

    @property
    def has_lasted(self) -> bool:
        """Whether it was tried for long enough."""
        return time.monotonic() >= self._give_up_at

    def leave_note(self) -> None:
        """Write the task into a file, unless that was done."""
        with self._lock:
            self.note = self.note or leave_note(*self._of)

    def remove_note(self) -> None:
        """Remove the file: the ledger has its content."""
        self._is_over()
        with self._lock:
            if self.note is not None:
                self.note.remove()

    def __enter__(self) -> Self:
        self._late = self._lookout.expect(self.leave_note)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over()

    def _is_over(self) -> None:
        if self._late is not None:
            self._late.is_over = True


def _kept(
    ledger: Ledger, reservation_id: str, task_id: str, taken: Callable[[], Reservation]
) -> Reservation:
    try:
        return taken()
    except StateError:
        # It ended while the request was under way: keep the task, the provider may still charge it.
        ledger.record_task(reservation_id, task_id)
        found = ledger.reservations.get(reservation_id)
        if found.task_id != task_id:
            raise
        return found


def leave_note(url: str, reservation_id: str, task_id: str) -> Note | None:
    """Write a task into a file, in the first folder that accepts it; None if none does."""
    said = json.dumps({"reservation": reservation_id, "task": task_id}) + "\n"
    for folder in _folders(url):
        path = folder / f"{reservation_id}{_SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_durably(path, said)
        except OSError as error:
            log.warning("task %s is not kept in %s: %s", task_id, folder, error.strerror)
        else:
            return Note(path, reservation_id, task_id)
    return None


def take_down(ledger: Ledger) -> list[Reservation]:
    """Record every task in a file that belongs to this ledger; return those jobs.

    A file that cannot be read, or contradicts the ledger, stays and is logged.
    """
    return [found for note in notes(ledger.database.url) for found in _taken_down(ledger, note)]


def notes(url: str) -> Iterator[Note]:
    """Yield the files that may belong to a ledger; in the data folder, other ledgers' too."""
    for folder in _folders(url):
        for path in sorted(folder.glob(f"res_*{_SUFFIX}")):
            try:
                said = json.loads(path.read_text("utf-8"))
                yield Note(path, str(said["reservation"]), str(said["task"]))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("%s cannot be read: %s", path, error)


def _taken_down(ledger: Ledger, note: Note) -> Iterator[Reservation]:
    try:
        found = _kept(
            ledger,
            note.reservation_id,
            note.task_id,
            lambda: ledger.mark_submitted(note.reservation_id, note.task_id),
        )
    except NotFoundError:
        return
    except (ConflictError, StateError) as error:
        log.warning("%s contradicts the ledger: %s", note.path, error)
        return
    note.remove()
    yield found


def _folders(url: str) -> Iterator[Path]:
    if url.startswith(_SQLITE):
        yield Path(url.removeprefix(_SQLITE)).absolute().parent
    # If the ledger's disk is full or its folder read-only, the user's data folder may still work.
    yield config.data_folder() / "unwritten"


def _write_durably(path: Path, said: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    try:
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(said)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        # Half a task id is worse than none: it would be read as another.
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise


__all__ = ["Note", "keep_task", "lasting", "leave_note", "notes", "take_down"]
