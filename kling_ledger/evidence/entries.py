"""Entries: what one row of a provider's record says, in words that fit every provider."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kling_ledger.providers.base import TaskState
from kling_pricing.money import Money


class Kind(StrEnum):
    """What a row of a record is about."""

    CHARGE = "charge"
    REFUND = "refund"
    ADJUSTMENT = "adjustment"
    RESERVATION = "reservation"
    """Credits held or released: no cost yet."""
    ITEM = "item"
    """A part of what a task cost: the parts add up."""
    TOTAL = "total"
    """A sum of other rows, or a balance."""
    PAYMENT = "payment"
    """Money that went into the account."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a provider's record.

    `amount` is what the row adds to its task's cost: a refund is negative here, whatever its sign
    in the file; None if the row only names a state. `task_id` is None for totals, payments and rows
    without a task. `at` is an instant in UTC; None if there is none, or only a day. `place` is
    where the row is, such as `line 3`; `raw` is the row as written.
    """

    kind: Kind
    task_id: str | None
    amount: Money | None
    state: TaskState | None
    at: datetime | None
    model: str | None
    place: str
    raw: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The hash of what the row says: the same in every export of it.

        It does not depend on the order of the columns, nor on cells that are empty.
        """
        said = sorted((column, text) for column, text in self.raw.items() if text)
        return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()
