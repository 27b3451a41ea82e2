"""Assumptions: what a ledger relies on in a PostgreSQL server, tested before it writes there.

What breaks without it: a server that speaks PostgreSQL's protocol but keeps fewer of its promises
admits more than there is. A ledger notes which server passed; each version of a server is tested
once.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any, Final

import psycopg
from psycopg import errors as pg_errors

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger.engines.pipeline import Pipeline
from kling_ledger.ledger.schema import EXPECTATION_FAILED

PASSED: Final = "engine"
"""The name of the setting that records which server passed."""

_TRIES: Final = 200

_TRIALS: Final = "1"
"""The version of these tests: a new number tests every server again."""

_BEGIN: Final = ("BEGIN ISOLATION LEVEL READ COMMITTED", ())
_COMMIT: Final = ("COMMIT", ())
_WHO: Final = (
    "SELECT version() || COALESCE((SELECT string_agg(extname || ' ' || extversion, ','"
    " ORDER BY extname) FROM pg_extension), '') AS server"
)
_INSERT: Final = "INSERT INTO setting (name, value) VALUES ($1, $2)"
_NOTE: Final = f"{_INSERT} ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_CHANGE: Final = "UPDATE setting SET value = $1 WHERE name = $2 AND value = $3"
_VALUE: Final = "SELECT value FROM setting WHERE name = $1"
_BALANCE: Final = (
    "INSERT INTO provider_balance"
    " (provider, address, account, checked_at, available_micro, unit, actor)"
    " VALUES ($1, '', '', 0, 0, 'USD', 'trial')"
)


def check(first: Pipeline, second: Pipeline, *, name: str) -> None:
    """Test a server, unless it passed before; leaves nothing behind.

    Raises DatabaseError with the assumption that does not hold. A role that may not write is not
    tested: it can do no harm.
    """
    server = hashlib.sha256(f"{_TRIALS} {_text(first, (_WHO, ()))}".encode()).hexdigest()
    if _text(first, (_VALUE, [PASSED])) == server:
        return
    with suppress(pg_errors.InsufficientPrivilege):
        for assumption, holds in _ASSUMPTIONS:
            if not holds(first, second):
                raise _broken(name, assumption)
        if not _is_sound_for_two(first, second, server):
            raise _broken(
                name,
                "two transactions can change one row on a condition that only one of them meets",
            )
        _note(first, server)


def _broken(name: str, assumption: str) -> DatabaseError:
    return DatabaseError(
        f"{name}: it cannot hold a ledger: {assumption}",
        hint="use PostgreSQL itself, or a server that behaves as it does",
    )


def _nothing_stays_of_a_message_that_fails(first: Pipeline, second: Pipeline) -> bool:
    probe = _probe()
    sqlstate = _error_of(
        first,
        _BEGIN,
        (_INSERT, [probe, "1"]),
        ("SELECT kling_ledger_expect(0, 1)", ()),
        _COMMIT,
    )
    return sqlstate == EXPECTATION_FAILED and _text(second, (_VALUE, [probe])) is None


def _triggers_fire(first: Pipeline, _: Pipeline) -> bool:
    change = ("UPDATE provider_balance SET actor = '' WHERE provider = $1", [probe := _probe()])
    return _error_of(first, _BEGIN, (_BALANCE, [probe]), change, _COMMIT) == "23001"


def _a_lock_excludes(first: Pipeline, second: Pipeline) -> bool:
    key = secrets.randbits(62)
    try:
        first.run(_BEGIN, (f"SELECT pg_advisory_xact_lock({key})", ()))
        told = second.run((f"SELECT pg_try_advisory_xact_lock({key}) AS is_free", ()))
        return told[0].rows() == [{"is_free": False}]
    finally:
        first.roll_back()


def _is_sound_for_two(first: Pipeline, second: Pipeline, server: str) -> bool:
    """Test two transactions that change the same row on the same condition: only one may succeed.

    The row is the one that records who passed, so a process killed here leaves no other behind.
    Processes that test the server at the same time interfere with each other, and try again.
    """
    for _ in range(_TRIES):
        trial = f"on trial {secrets.token_hex(8)}"
        _note(first, trial)
        changed: list[int] = []
        try:
            mine = first.run(_BEGIN, (_CHANGE, [f"{trial}, 1", PASSED, trial]))[1].count
            waiting = Thread(target=_change, args=(second, trial, changed), daemon=True)
            waiting.start()
            waiting.join(0.05)
            first.run(_COMMIT)
            waiting.join()
        finally:
            first.roll_back()
        if mine == 1:
            return changed == [0]
        time.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - so that not all come back at once
        if _text(first, (_VALUE, [PASSED])) == server:
            return True
    return False


def _change(pipeline: Pipeline, trial: str, changed: list[int]) -> None:
    try:
        _, answer, _ = pipeline.run(_BEGIN, (_CHANGE, [f"{trial}, 2", PASSED, trial]), _COMMIT)
        changed.append(answer.count)
    except pg_errors.SerializationFailure:
        # A server without a weaker isolation level reports it this way.
        pipeline.roll_back()
        changed.append(0)


_ASSUMPTIONS: Final[tuple[tuple[str, Callable[[Pipeline, Pipeline], bool]], ...]] = (
    (
        "a message that fails in the middle leaves something behind",
        _nothing_stays_of_a_message_that_fails,
    ),
    ("its triggers do not protect the journal from changes", _triggers_fire),
    ("its advisory locks do not exclude others", _a_lock_excludes),
)
"""What is wrong with a server that fails a test, and the test."""


def _note(pipeline: Pipeline, server: str) -> None:
    """Record which server passed, or that one is being tested."""
    pipeline.run(_BEGIN, (_NOTE, [PASSED, server]), _COMMIT)


def _error_of(pipeline: Pipeline, *statements: Any) -> str | None:
    """Run statements that must fail; return the SQLSTATE, None if they do not fail."""
    try:
        pipeline.run(*statements)
    except pg_errors.InsufficientPrivilege:
        raise
    except psycopg.Error as error:
        return error.sqlstate
    finally:
        pipeline.roll_back()
    return None


def _text(pipeline: Pipeline, statement: Any) -> str | None:
    rows = pipeline.run(statement)[0].rows()
    return str(next(iter(rows[0].values()))) if rows else None


def _probe() -> str:
    return f"trial_{secrets.token_hex(8)}"
