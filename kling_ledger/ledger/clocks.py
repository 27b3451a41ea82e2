"""Clocks: a process whose clock is wrong by days writes nothing.

What it wrote would count in the wrong months and windows, permanently. A server tells the time
itself; for a file only its last transfer does: a clock that is days before that is behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kling_ledger import config
from kling_ledger.errors import ClockError
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.ids import from_us

_HOUR_US: Final = 3_600_000_000
BEHIND_US: Final = 24 * _HOUR_US
"""How far a clock may be behind the last transfer, in microseconds."""
AHEAD_US: Final = 6 * _HOUR_US
"""How far a clock may be from the server's, or ahead of the last transfer on a server."""

_LAST: Final = "SELECT created_at FROM transfer ORDER BY id DESC LIMIT 1"
_SERVER: Final = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint) AS now"


class ClockWatch:
    """Checks a process's clock when it first writes, and then every hour."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looked_at_us: int | None = None

    def look(self, at_us: int) -> None:
        """Raise ClockError if a clock that shows `at_us` is wrong by more than is allowed."""
        if not self.is_due(at_us):
            return
        if not config.trusts_clock():
            with self._database.read() as transaction:
                check(at_us, last_us=_last(transaction), server_us=self._server(transaction))
        self._looked_at_us = at_us

    def is_due(self, at_us: int) -> bool:
        """Whether the next look asks the database."""
        return self._looked_at_us is None or abs(at_us - self._looked_at_us) >= _HOUR_US

    def _server(self, transaction: Transaction) -> int | None:
        if self._database.engine.dialect == "sqlite":
            return None
        return _number(transaction.row(_SERVER), "now")


def check(at_us: int, *, last_us: int | None, server_us: int | None) -> None:
    """Compare a clock with the last transfer and the server's clock, as far as they are known.

    If it agrees with the server, it is right: then the last transfer was written under a wrong
    clock.
    """
    if last_us is None or (server_us is not None and abs(at_us - server_us) <= AHEAD_US):
        return
    is_behind = at_us < last_us - BEHIND_US
    is_ahead = server_us is not None and at_us > max(last_us, server_us) + AHEAD_US
    if is_behind or is_ahead:
        raise ClockError(
            now=from_us(at_us),
            last=from_us(last_us),
            server=None if server_us is None else from_us(server_us),
        )


def _last(transaction: Transaction) -> int | None:
    return _number(transaction.row(_LAST), "created_at")


def _number(row: Mapping[str, int] | None, name: str) -> int | None:
    return None if row is None else int(row[name])
