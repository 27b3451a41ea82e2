"""Group: operations that share one SQLite transaction, as if each had its own.

Most operations are admitted, and most refusals come before anything is written. So a group first
runs without savepoints, with operations of one kind merged. Only if something has to be undone do
they run again one by one, each in a savepoint.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from kling_ledger.ledger.engines.sqlite_transaction import SqliteTransaction
from kling_ledger.ledger.engines.transaction import Batch, Transaction
from kling_ledger.ledger.engines.writer import Entry


def write_group(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Write operations in one transaction, and store in each entry what it returned or raised.

    If the transaction as a whole fails, each operation is written in one of its own: on a full
    disk, a small one may still fit. Raises only if no transaction could be begun.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        _run(connection, entries)
        connection.execute("COMMIT")
    except BaseException as error:  # noqa: BLE001 - it is raised where the operation came from
        # On a full disk SQLite has already ended the transaction; nothing of it remains.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if len(entries) == 1:
            entries[0].error = error
            return
        for entry in entries:
            _write_alone(connection, entry)


def _write_alone(connection: sqlite3.Connection, entry: Entry) -> None:
    entry.error = None
    try:
        write_group(connection, [entry])
    except BaseException as error:  # noqa: BLE001 - those before it are written and stay so
        entry.error = error


def _run(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    if len(entries) == 1:
        entries[0].value = entries[0].operation(SqliteTransaction(connection))
        return
    connection.execute("SAVEPOINT together")
    if not _run_all(connection, entries):
        connection.execute("ROLLBACK TO together")
        _run_each(connection, entries)


def _run_all(connection: sqlite3.Connection, entries: Sequence[Entry]) -> bool:
    """Run operations, merged by kind; False if something has to be undone."""
    transaction = SqliteTransaction(connection)
    for some in _by_kind(entries):
        before = connection.total_changes
        try:
            _run_merged(transaction, some)
        except BaseException as error:
            if not connection.in_transaction:
                raise
            if len(some) > 1 or connection.total_changes != before:
                return False
            some[0].error = error
    return True


def _by_kind(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Group operations that can be merged; all of them wait, so any order will do."""
    kinds: dict[object, list[Entry]] = {}
    for entry in entries:
        operation = entry.operation
        kinds.setdefault(operation.decide if isinstance(operation, Batch) else entry, []).append(
            entry
        )
    return list(kinds.values())


def _run_merged(transaction: Transaction, entries: Sequence[Entry]) -> None:
    """Run batches of one kind as one batch."""
    if len(entries) == 1:
        entries[0].value = entries[0].operation(transaction)
        return
    hand_out(entries, merged(entries)(transaction))


def merged(entries: Sequence[Entry]) -> Batch[Any, Any]:
    """Merge batches of one kind into one batch, under the stamp of the first."""
    batches: list[Batch[Any, Any]] = [
        entry.operation for entry in entries if isinstance(entry.operation, Batch)
    ]
    return replace(batches[0], items=[item for batch in batches for item in batch.items])


def hand_out(entries: Sequence[Entry], result_of: Callable[[int], Any]) -> None:
    """Give each merged entry the function that returns its own results."""
    start = 0
    for entry in entries:
        entry.value = partial(_from, start, result_of)
        start += len(entry.operation.items) if isinstance(entry.operation, Batch) else 0


def _from(start: int, result_of: Callable[[int], Any], place: int) -> Any:
    return result_of(start + place)


def _run_each(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Run operations one by one; a refused one leaves no trace and does not affect the others."""
    transaction = SqliteTransaction(connection)
    for entry in entries:
        entry.error = None
        try:
            entry.value = transaction.attempt(partial(entry.operation, transaction))
        except BaseException as error:
            if not connection.in_transaction:
                raise
            entry.error = error
