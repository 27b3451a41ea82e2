"""Two people: whether the person who prepared a month may also seal it.

The ledger believes the names that it is given: this keeps colleagues from approving their own work
by mistake, but not somebody who gives another's name. Each change of the rule is recorded, with
who, when and why; a seal covers who prepared and who approved its month, whatever the rule was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kling_ledger.errors import TwoPeopleError
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction
from kling_ledger.ledger.ids import from_us

_SETTING: Final = "two_people"


@dataclass(frozen=True, slots=True)
class TwoPeopleChange:
    """One change of the rule: whether two people are now required, by whom and why."""

    at: datetime
    required: bool
    actor: str
    reason: str | None


def require(transaction: Transaction, *, required: bool, stamp: Stamp) -> bool:
    """Require two people, or stop requiring them; return whether that changed anything."""
    transaction.be_alone()
    said = _said(transaction)
    if _is_required(said) == required:
        return False
    change = {
        "at": stamp.at_us,
        "required": required,
        "actor": stamp.actor,
        "reason": stamp.reason,
    }
    transaction.run("DELETE FROM setting WHERE name = :name", name=_SETTING)
    transaction.run(
        "INSERT INTO setting (name, value) VALUES (:name, :value)",
        name=_SETTING,
        value=json.dumps([*said, change], ensure_ascii=False),
    )
    return True


def history(transaction: Transaction) -> list[TwoPeopleChange]:
    """Return every change of the rule, oldest first; without any, one person is enough."""
    return [
        TwoPeopleChange(from_us(one["at"]), one["required"], one["actor"], one["reason"])
        for one in _said(transaction)
    ]


def check(transaction: Transaction, name: str, known: Row | None, *, approver: str) -> None:
    """Refuse to seal an unprepared month, or one's own. Raises TwoPeopleError."""
    if not _is_required(_said(transaction)):
        return
    prepared_by = None if known is None or known["state"] == "open" else known["prepared_by"]
    if prepared_by is None or _person(prepared_by) == _person(approver):
        raise TwoPeopleError(name, prepared_by=prepared_by)


def _person(actor: str) -> str:
    """Return one form of a person's name, however it was typed."""
    return actor.strip().casefold()


def _is_required(said: list[dict[str, Any]]) -> bool:
    return bool(said and said[-1]["required"])


def _said(transaction: Transaction) -> list[dict[str, Any]]:
    row = transaction.row("SELECT value FROM setting WHERE name = :name", name=_SETTING)
    found: list[dict[str, Any]] = [] if row is None else json.loads(row["value"])
    return found
