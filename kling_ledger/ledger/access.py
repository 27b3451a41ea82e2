"""Access: who acts on which database, and at what time. All groups of a ledger share it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from kling_ledger.errors import OutcomeUnknownError
from kling_ledger.ledger import ids
from kling_ledger.ledger import rules as rule_book
from kling_ledger.ledger.clocks import ClockWatch
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Stamp, Transaction, readable
from kling_ledger.ledger.rules import RulesReader

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Access:
    """A database, who acts on it, the clock, and the random bits that make ids unique.

    `watch` checks the clock if it is the machine's own.
    """

    database: Database
    clock: Callable[[], datetime]
    actor: str
    chance: Callable[[int], int]
    watch: ClockWatch | None = None
    rules: RulesReader = field(default_factory=RulesReader)

    def stamp(self, reason: str | None = None) -> Stamp:
        """Return who changes something now, and why. Raises ClockError if the clock is wrong."""
        at_us = self.at_us()
        if self.watch is not None:
            self.watch.look(at_us)
        return Stamp(at_us, self.actor, readable(reason), self.chance(ids.RANDOM_BITS))

    @property
    def has_to_look(self) -> bool:
        """Whether the next stamp asks the database about the clock."""
        return self.watch is not None and self.watch.is_due(self.at_us())

    def at_us(self, at: datetime | None = None) -> int:
        """Return an instant, by default now, in microseconds since 1970."""
        return ids.to_us(at or self.clock())

    def read(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that sees one consistent state and writes nothing."""
        return self.database.read()

    def write(
        self, operation: Callable[[Transaction], Result], *, key: str | None = None
    ) -> Result:
        """Run an operation in a transaction: all of it happens, or nothing.

        `key` is what the caller can repeat the call with if its outcome is unknown.
        """
        try:
            return self.database.write(operation)
        except OutcomeUnknownError as unknown:
            raise under(unknown, key) from unknown

    def change_rules(self, operation: Callable[[Transaction], Result]) -> Result:
        """Run an operation that changes what is admitted; every process rereads the rules."""

        def change(transaction: Transaction) -> Result:
            result = operation(transaction)
            rule_book.changed(transaction)
            return result

        return self.database.write(change)


def under(unknown: OutcomeUnknownError, key: str | None) -> OutcomeUnknownError:
    """Return an unknown outcome with the key to repeat the call with, if there is one."""
    return unknown if key is None else unknown.under(key)
