"""Lost: an operation happens once, even if the server's answer is lost, or it is away or busy.

What breaks without it: if a connection is cut while a transaction ends, it is unknown whether that
was done, and a caller that simply repeats it may do it twice. An operation uses the same ids each
time it runs, and the first of them is its mark: if the mark is in the database, it was done. If it
runs again while the first try is still under way, only one of them can write it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors as pg_errors

from kling_ledger.errors import DatabaseError, OutcomeUnknownError
from kling_ledger.ledger.engines.pipeline import Pipeline, Statement
from kling_ledger.ledger.engines.transaction import Row
from kling_ledger.ledger.schema import Table

Result = TypeVar("Result")

PATIENCE_S: Final = 30.0
"""How long an operation is tried while the server is away or busy."""

log: Final = logging.getLogger("kling_ledger.database")

_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
_GONE_S: Final = 5.0
"""How long a server process may take to end after it was told to."""

_WRITES_OF: Final = ("id", "reservation_id", "budget_id", "step", "created_at", "actor")
"""The columns that identify a row's operation: its id; of an event, its step, time and actor."""

_AWAY: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "53300", "25P03", "25006"})
"""The server is stopping, starting, full, out of patience, or no longer the leader."""

_END: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = $1 AND pid <> pg_backend_pid()"
)
_IS_THERE: Final = (
    "SELECT 1 FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A row that only this operation can have written."""

    table: str
    values: Mapping[str, Any]

    @property
    def question(self) -> Statement:
        """The query that asks whether the row exists."""
        conditions = [f"{column} = ${place}" for place, column in enumerate(self.values, 1)]
        text = f"SELECT 1 FROM {self.table} WHERE {' AND '.join(conditions)}"
        return text, list(self.values.values())

    def __str__(self) -> str:
        return str(next(iter(self.values.values())))


def mark_of(table: Table, row: Row) -> Mark | None:
    """Return the mark of an operation that inserts a row; None if the row has no identity."""
    if "id" in row:
        return Mark(table.name, {"id": row["id"]})
    if "step" in row:
        return Mark(table.name, {name: row[name] for name in _WRITES_OF if name in row})
    return None


class LostAnswerError(Exception):
    """The server received a whole transaction, but its answer was lost.

    `value` is what the operation returns if it was done; `application` is the connection's name on
    the server, None behind a pooler.
    """

    def __init__(self, mark: Mark | None, value: Any, *, application: str | None) -> None:
        super().__init__("the server's answer was lost")
        self.mark = mark
        self.value = value
        self.application = application


@dataclass(slots=True)
class Doubts:
    """What earlier tries of one operation may have done."""

    lost: list[LostAnswerError] = field(default_factory=list)

    def resolved(self, pipeline: Pipeline) -> LostAnswerError | None:
        """Return the try that was done, None if none was so far."""
        for one in self.lost:
            if one.mark is not None and pipeline.run(one.mark.question)[0].rows():
                return one
        return None

    def settled(self, pipeline: Pipeline, name: str) -> LostAnswerError | None:
        """Return the try that was done; None if none was or ever will be.

        Raises OutcomeUnknownError if one may still be under way.
        """
        if not all(_is_ended(one, pipeline) for one in self.lost):
            raise self.unknown(name)
        return self.resolved(pipeline)

    def unknown(self, name: str) -> OutcomeUnknownError:
        """Return the error with the id to look for."""
        return OutcomeUnknownError(name, [str(one.mark) for one in self.lost[:1] if one.mark])


def _is_ended(lost: LostAnswerError, pipeline: Pipeline) -> bool:
    """End the server process that may still run the transaction; return whether it is gone."""
    if lost.application is None:
        return False
    pipeline.run((_END, [lost.application]))
    give_up_at = time.monotonic() + _GONE_S
    while pipeline.run((_IS_THERE, [lost.application]))[0].rows():
        if time.monotonic() >= give_up_at:
            return False
        time.sleep(_PAUSES_S[0])
    return True


class Trouble(Enum):
    """Why the same operation may work later."""

    AWAY = auto()
    """The server, or the connection to it, is away."""
    BUSY = auto()
    """Another session holds what it needs, or conflicts with it."""
    STALE = auto()
    """The connection's prepared statements are not the server's: there is a pooler in between."""


def trouble_of(error: psycopg.Error) -> Trouble | None:
    """Return the kind of trouble; None for an error that will not pass by itself."""
    state = error.sqlstate
    if isinstance(error, STALE):
        return Trouble.STALE
    if state is None:
        is_lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return Trouble.AWAY if is_lost else None
    if state in _AWAY or state.startswith("08"):
        return Trouble.AWAY
    if isinstance(error, BUSY):
        return Trouble.BUSY
    return None


STALE: Final = (pg_errors.InvalidSqlStatementName, pg_errors.DuplicatePreparedStatement)
BUSY: Final = (
    pg_errors.LockNotAvailable,
    pg_errors.SerializationFailure,
    pg_errors.DeadlockDetected,
)


def insist(
    once: Callable[[], Result],
    doubts: Doubts,
    *,
    name: str,
    held_by: Callable[[], str | None],
    patience_s: float,
) -> Result:
    """Try an operation until it is done, or its trouble has lasted too long.

    Raises DatabaseError, which says that nothing was changed, or OutcomeUnknownError. `held_by`
    names who holds what it waits for.
    """
    give_up_at = time.monotonic() + patience_s
    has_told = False
    for pause_s in _pauses():
        try:
            return once()
        except LostAnswerError as lost:
            error: BaseException = lost.__cause__ or lost
            trouble = Trouble.AWAY
        except psycopg.Error as raised:
            found = trouble_of(raised)
            if found is None:
                raise
            error, trouble = raised, found
        is_lock = isinstance(error, pg_errors.LockNotAvailable)
        if trouble is Trouble.AWAY or is_lock:
            problem = (held_by() if is_lock else None) or _sentence(error)
            if time.monotonic() >= give_up_at:
                raise (doubts.unknown(name) if doubts.lost else _given_up(name, problem)) from error
            if not has_told:
                has_told = True
                log.warning("%s: %s; trying for %g s", name, problem, patience_s)
        elif time.monotonic() >= give_up_at:
            raise error
        time.sleep(pause_s)
    raise AssertionError("the pauses never end")


def _given_up(name: str, problem: str) -> DatabaseError:
    return DatabaseError(
        f"{name}: {problem}: nothing was changed",
        hint="try again when the database is back",
        retryable=True,
    )


def _pauses() -> Iterator[float]:
    yield from _PAUSES_S
    while True:
        yield _PAUSES_S[-1]


def _sentence(error: BaseException) -> str:
    lines: Sequence[str] = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
