"""Periods: a month is closed, first softly, then hard under a seal that proves it.

A soft close keeps new transfers out: they count in the next open month, but a correction may still
name this one. A hard close lets nothing in. The steps of a close are here, each quick: slow work
runs between them, beside other writers (see `closing`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from kling_ledger.errors import NotFoundError, PeriodError, PeriodOrderError
from kling_ledger.ledger import accruals, first_seals, rules, seals, two_people
from kling_ledger.ledger.accruals import Accrual
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction, Update, overtaken
from kling_ledger.ledger.ids import from_us, to_us
from kling_ledger.ledger.schema import PERIOD

_MONTH: Final = re.compile(r"(19|2[0-9])[0-9]{2}-(0[1-9]|1[0-2])")
_SELECT: Final = f"SELECT {', '.join(PERIOD.columns)} FROM period"
_NOT_SEALED: Final = {
    "transfers": None,
    "previous_seal": None,
    "seal": None,
    "format": None,
}
_NOT_PREPARED: Final = {"prepared_by": None, "prepared_at": None}


@dataclass(frozen=True, slots=True)
class Period:
    """A month that was closed: `soft`, `hard` under its seal, or `open` again.

    `format` says what its seal covers: 1 its transfers alone, from 2 on what its reports rest on.
    """

    name: str
    state: str
    transfers: int | None
    previous_seal: str | None
    seal: str | None
    format: int | None
    accruals: tuple[Accrual, ...]
    actor: str
    reason: str | None
    closed_at: datetime
    prepared_by: str | None
    prepared_at: datetime | None

    @property
    def approved_by(self) -> str | None:
        """Who sealed it; None if nobody has."""
        return self.actor if self.state == "hard" else None

    def seal_dict(self) -> dict[str, Any]:
        """Return what its seal covers and proves, by the names that every export uses."""
        said = {
            "period": self.name,
            "state": self.state,
            "transfers": self.transfers,
            "seal": self.seal,
            "previous_seal": self.previous_seal,
        }
        # The text of a seal of the first format never changes, not by one byte.
        return said if self.format in {None, 1} else {**said, "seal_format": self.format}


def close_softly(transaction: Transaction, name: str, *, stamp: Stamp) -> None:
    """Keep new transfers out of a month that is over; one that is closed stays as it is."""
    transaction.be_alone()
    known = known_row(transaction, name)
    if known is not None and known["state"] != "open" and not _is_being_sealed(known):
        return
    check_over(name, stamp)
    said = _prepared(name, stamp) if known is None or known["state"] == "open" else known
    _write(transaction, known, {**said, **_NOT_SEALED})


def begin_sealing(transaction: Transaction, name: str, *, stamp: Stamp) -> Row:
    """Keep corrections out of a month too, and return its row; it may be sealed already."""
    transaction.be_alone()
    known = known_row(transaction, name)
    if known is not None and known["state"] == "hard":
        return known
    two_people.check(transaction, name, known, approver=stamp.actor)
    if known is not None and _is_being_sealed(known):
        return known
    check_over(name, stamp)
    said = _prepared(name, stamp) if known is None or known["state"] == "open" else known
    return _write(transaction, known, {**said, **_NOT_SEALED, "format": seals.FORMAT})


def give_up_sealing(transaction: Transaction, read: Row) -> None:
    """Admit corrections again to a month that cannot be sealed yet."""
    transaction.be_alone()
    known = known_row(transaction, read["name"])
    if known is not None and is_as_read(known, read):
        _write(transaction, known, {**known, **_NOT_SEALED})


def seal(transaction: Transaction, sealed: Row) -> bool:
    """Seal a month with its final row; False if it has changed since it was read."""
    transaction.be_alone()
    known = known_row(transaction, sealed["name"])
    if known is not None and known["state"] == "hard":
        return True
    previous = last_seal(transaction, before=sealed["name"])
    if not is_as_read(known, sealed) or sealed["previous_seal"] != previous:
        return False
    _check_none_later(transaction, sealed["name"])
    _write(transaction, known, sealed)
    return True


def is_as_read(known: Row | None, read: Row) -> bool:
    """Whether a month is still being sealed, and unchanged since it was read."""
    return (
        known is not None and _is_being_sealed(known) and bool(known["version"] == read["version"])
    )


def to_be_sealed(read: Row, *, stamp: Stamp, previous: str | None) -> dict[str, Any]:
    """Return the row of a month as it will be sealed, without the seal itself."""
    return {**read, **_said(read["name"], "hard", stamp), "previous_seal": previous}


def reopen(transaction: Transaction, name: str, *, stamp: Stamp) -> Period:
    """Reopen a softly closed month; a sealed one stays sealed."""
    transaction.be_alone()
    known = known_row(transaction, name)
    period = find(transaction, name)
    if period.state == "hard":
        raise PeriodError(
            f"period {name} is sealed", hint="post a correction: it counts in the next month"
        )
    if period.state == "open":
        return period
    _write(transaction, known, {**_said(name, "open", stamp), **_NOT_PREPARED, **_NOT_SEALED})
    transaction.run("DELETE FROM accrual WHERE period = :period", period=name)
    return find(transaction, name)


def find(transaction: Transaction, name: str) -> Period:
    """Return a month that was closed; NotFoundError if it never was."""
    row = known_row(transaction, name)
    if row is None:
        raise NotFoundError("closed period", name, hint="close it first")
    return _period(row, accruals.of_month(transaction, name))


def every(transaction: Transaction) -> list[Period]:
    """Return every month that was ever closed, in order."""
    rows = transaction.rows(f"{_SELECT} ORDER BY name")
    return [_period(row, accruals.of_month(transaction, row["name"])) for row in rows]


def sealed(transaction: Transaction) -> list[Row]:
    """Return the rows of all sealed months, in order."""
    return transaction.rows(f"{_SELECT} WHERE state = 'hard' ORDER BY name")


def sealed_again(transaction: Transaction, name: str) -> str:
    """Recompute the seal of a month from its rows, in its own format."""
    row = known_row(transaction, name)
    if row is None:
        raise NotFoundError("closed period", name, hint="close it first")
    if row["format"] is None:
        return first_seals.worked_out(transaction, name, previous=row["previous_seal"])
    return seals.seal_of(
        row, seals.sums_of(transaction, seal_format=row["format"], first=name, last=name)[name]
    )


def known_row(transaction: Transaction, name: str) -> Row | None:
    """Return the row of a month, None if it was never closed. PeriodError for an invalid name."""
    _check_name(name)
    return transaction.row(f"{_SELECT} WHERE name = :name", name=name)


def last_seal(transaction: Transaction, *, before: str) -> str | None:
    """Return the seal of the last sealed month before this one."""
    row = transaction.row(
        "SELECT seal FROM period WHERE state = 'hard' AND name < :name ORDER BY name DESC LIMIT 1",
        name=before,
    )
    return None if row is None else str(row["seal"])


def posting_period(
    transaction: Transaction, known: rules.Rules, at_us: int, corrects: str | None
) -> str:
    """Return the month that a correction counts in: the one that it names, until that is sealed.

    Raises PeriodError for a future month.
    """
    if corrects is None:
        return known.period(at_us)
    row = known_row(transaction, corrects)
    if corrects > max(rules.month_of(at_us), known.period(at_us)):
        raise PeriodError(f"{corrects} is in the future", hint="name the month that it is for")
    if row is not None and row["state"] == "soft" and corrects > known.sealed_to:
        return corrects
    return known.period(at_us)


def _prepared(name: str, stamp: Stamp) -> dict[str, Any]:
    """Return the columns of a softly closed month, including who prepared it."""
    said = _said(name, "soft", stamp)
    return {**said, "prepared_by": stamp.actor, "prepared_at": stamp.at_us}


def _said(name: str, state: str, stamp: Stamp) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "actor": stamp.actor,
        "reason": stamp.reason,
        "closed_at": stamp.at_us,
    }


def _is_being_sealed(row: Row) -> bool:
    """Whether a softly closed month is being sealed, or somebody began to seal it."""
    return bool(row["state"] == "soft" and row["format"] is not None)


def _write(transaction: Transaction, known: Row | None, said: Row) -> Row:
    """Write a month's row; every process then rereads which months are closed."""
    row = {**said, "version": (0 if known is None else known["version"] or 0) + 1}
    if known is None:
        transaction.insert(PERIOD, [row])
    else:
        transaction.update(PERIOD, [Update({"name": row["name"]}, row)], refused=overtaken)
        if row["format"] is None and known["format"] is not None:
            transaction.run("DELETE FROM sealed_part WHERE period = :name", name=row["name"])
    rules.changed(transaction)
    return row


def _check_name(name: str) -> None:
    if not _MONTH.fullmatch(name):
        raise PeriodError(f"not a month: {name!r}", hint="write it as 2026-10")


def check_over(name: str, stamp: Stamp) -> None:
    """Refuse to close a month that is not over. Raises PeriodError."""
    _check_name(name)
    ends = rules.month_after(name)
    if stamp.at_us < to_us(datetime.fromisoformat(f"{ends}-01").replace(tzinfo=UTC)):
        raise PeriodError(f"period {name} is not over", hint=f"it can be closed from {ends}-01 UTC")


def check_order(transaction: Transaction, name: str) -> None:
    """Refuse to seal a month while an earlier one with transfers is not, or a later one is.

    Raises PeriodOrderError, or PeriodError.
    """
    row = transaction.row(
        "SELECT MIN(period) AS first FROM transfer WHERE period < :name AND period NOT IN"
        " (SELECT name FROM period WHERE state = 'hard')",
        name=name,
    )
    if row is not None and row["first"] is not None:
        first = row["first"]
        raise PeriodOrderError(name, earlier=first)
    _check_none_later(transaction, name)


def _check_none_later(transaction: Transaction, name: str) -> None:
    later = transaction.row(
        "SELECT MIN(name) AS first FROM period WHERE state = 'hard' AND name > :name", name=name
    )
    if later is not None and later["first"] is not None:
        raise PeriodError(f"period {later['first']} comes after {name} and is already sealed")


def _period(row: Row, accrued: tuple[Accrual, ...]) -> Period:
    return Period(
        name=row["name"],
        state=row["state"],
        transfers=row["transfers"],
        previous_seal=row["previous_seal"],
        seal=row["seal"],
        format=None if row["state"] != "hard" else row["format"] or 1,
        accruals=accrued,
        actor=row["actor"],
        reason=row["reason"],
        closed_at=from_us(row["closed_at"]),
        prepared_by=row["prepared_by"],
        prepared_at=None if row["prepared_at"] is None else from_us(row["prepared_at"]),
    )
