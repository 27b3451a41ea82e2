"""Periods: a month is closed, first softly, then hard under a seal that proves it.

A soft close keeps new transfers out: they count in the next month that is open, but a correction
may still name the month. A hard close lets nothing in any more and seals what is there: SHA-256
over the seal before it and every transfer of the month, in the order of their ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from kling_ledger.errors import NotFoundError, PeriodError, PeriodOrderError
from kling_ledger.ledger import rules
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction, Update, overtaken
from kling_ledger.ledger.ids import from_us, to_us
from kling_ledger.ledger.journal import canonical_line
from kling_ledger.ledger.schema import ACCRUAL, PERIOD, SEALED_TRANSFER, TRANSFER
from kling_pricing.money import Money

_MONTH: Final = re.compile(r"2[0-9]{3}-(0[1-9]|1[0-2])")
_DIGITS: Final = 24
"""How much of a transfer's own digest is kept: enough to tell which one was changed."""
_TRANSFERS: Final = (
    f"SELECT {', '.join(TRANSFER.columns)} FROM transfer WHERE period = :period ORDER BY id"
)

_SET_ASIDE: Final = (
    "CASE WHEN kind IN ('reserve', 'reopen') THEN amount_micro ELSE -amount_micro END"
)


@dataclass(frozen=True, slots=True)
class Accrual:
    """What a reservation still held when a period ended."""

    reservation_id: str
    amount: Money


@dataclass(frozen=True, slots=True)
class Period:
    """A month that was closed: `soft`, `hard` under its seal, or `open` again."""

    name: str
    state: str
    transfers: int | None
    previous_seal: str | None
    seal: str | None
    accruals: tuple[Accrual, ...]
    actor: str
    reason: str | None
    closed_at: datetime

    def seal_dict(self) -> dict[str, Any]:
        """Return what its seal covers and proves, by the names that every form gives it."""
        return {
            "period": self.name,
            "state": self.state,
            "transfers": self.transfers,
            "seal": self.seal,
            "previous_seal": self.previous_seal,
        }


def close_softly(transaction: Transaction, name: str, *, stamp: Stamp) -> Period:
    """Keep new transfers out of a month that is over; what is open is carried into the next."""
    transaction.be_alone()
    known = _known(transaction, name)
    if known is not None and known["state"] != "open":
        return find(transaction, name)
    _check_over(name, stamp)
    _write(transaction, name, "soft", stamp)
    _carry_forward(transaction, name)
    rules.changed(transaction)
    return find(transaction, name)


def close_hard(transaction: Transaction, name: str, *, stamp: Stamp) -> Period:
    """Seal a month for good. Months are sealed in their order: what is earlier comes first."""
    transaction.be_alone()
    known = _known(transaction, name)
    if known is not None and known["state"] == "hard":
        return find(transaction, name)
    _check_over(name, stamp)
    _check_order(transaction, name)
    # Each seal takes in the one before it: who changes a month has to seal all later ones anew.
    previous = last_seal(transaction, before=name)
    seal = Seal(previous)
    sealed = [
        {"transfer_id": line.id, "period": name, "digest": seal.add(line)}
        for line in lines(transaction, name)
    ]
    _write(transaction, name, "hard", stamp, seal=seal, previous=previous)
    if sealed:
        transaction.insert(SEALED_TRANSFER, sealed)
    _carry_forward(transaction, name)
    rules.changed(transaction)
    return find(transaction, name)


def reopen(transaction: Transaction, name: str, *, stamp: Stamp) -> Period:
    """Open a softly closed month again; what is sealed stays sealed."""
    transaction.be_alone()
    period = find(transaction, name)
    if period.state == "hard":
        raise PeriodError(
            f"period {name} is sealed", hint="post a correction: it counts in the next month"
        )
    _write(transaction, name, "open", stamp)
    transaction.run("DELETE FROM accrual WHERE period = :period", period=name)
    rules.changed(transaction)
    return find(transaction, name)


def find(transaction: Transaction, name: str) -> Period:
    """Return a month that was closed; NotFoundError if nobody ever closed it."""
    row = _known(transaction, name)
    if row is None:
        raise NotFoundError("closed period", name, hint="close it first")
    return _period(row, accruals(transaction, name))


def every(transaction: Transaction) -> list[Period]:
    """Return every month that was ever closed, in their order."""
    rows = transaction.rows(f"SELECT {PERIOD.selected} FROM period ORDER BY name")
    return [_period(row, accruals(transaction, row["name"])) for row in rows]


def accruals(transaction: Transaction, name: str) -> tuple[Accrual, ...]:
    """Return what was carried out of a period, by reservation."""
    rows = transaction.rows(
        f"SELECT {ACCRUAL.selected} FROM accrual WHERE period = :period ORDER BY reservation_id",
        period=name,
    )
    return tuple(
        Accrual(row["reservation_id"], Money.from_micro(row["amount_micro"], row["unit"]))
        for row in rows
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One transfer as it is sealed."""

    id: str
    text: str

    @property
    def digest(self) -> str:
        """The digest that names this transfer if the seal breaks."""
        import hashlib

        return hashlib.sha256(self.text.encode()).hexdigest()[:_DIGITS]


class Seal:
    """A hash over the seal before and one transfer after another."""

    def __init__(self, previous: str | None) -> None:
        import hashlib

        self._hash = hashlib.sha256((previous or "").encode())
        self.transfers = 0

    def add(self, line: Line) -> str:
        """Take a transfer in and return its own digest."""
        self._hash.update(b"\n" + line.text.encode())
        self.transfers += 1
        return line.digest

    @property
    def value(self) -> str:
        """The seal over everything so far, in hexadecimal."""
        return self._hash.hexdigest()


def lines(transaction: Transaction, period: str) -> Iterator[Line]:
    """Return the transfers of a period as they are sealed, in the order of their ids."""
    for row in transaction.rows(_TRANSFERS, period=period):
        yield Line(row["id"], canonical_line(TRANSFER.in_order(row)))


def last_seal(transaction: Transaction, *, before: str) -> str | None:
    """Return the seal of the last sealed month before another one."""
    row = transaction.row(
        "SELECT seal FROM period WHERE state = 'hard' AND name < :name ORDER BY name DESC LIMIT 1",
        name=before,
    )
    return None if row is None else str(row["seal"])


def posting_period(
    transaction: Transaction, known: rules.Rules, at_us: int, corrects: str | None
) -> str:
    """Return the month that a correction counts in: the one it is for while that is not sealed."""
    if corrects is None:
        return known.period(at_us)
    _check_name(corrects)
    row = _known(transaction, corrects)
    if row is not None and row["state"] == "soft" and corrects > known.sealed_to:
        return corrects
    return known.period(at_us)


def _write(
    transaction: Transaction,
    name: str,
    state: str,
    stamp: Stamp,
    *,
    seal: Seal | None = None,
    previous: str | None = None,
) -> None:
    said = {
        "state": state,
        "transfers": None if seal is None else seal.transfers,
        "previous_seal": previous,
        "seal": None if seal is None else seal.value,
        "actor": stamp.actor,
        "reason": stamp.reason,
        "closed_at": stamp.at_us,
    }
    if _known(transaction, name) is None:
        transaction.insert(PERIOD, [{"name": name, **said}])
    else:
        transaction.update(PERIOD, [Update({"name": name}, said)], refused=overtaken)


def _carry_forward(transaction: Transaction, name: str) -> None:
    """Write down what reservations held at the end of a month, as the journal tells it."""
    transaction.run("DELETE FROM accrual WHERE period = :period", period=name)
    rows = transaction.rows(
        f"""
        SELECT reservation_id, unit, SUM({_SET_ASIDE}) AS held FROM transfer
        WHERE period <= :period
          AND kind IN ('reserve', 'reopen', 'commit', 'return', 'roll_back', 'expire')
        GROUP BY reservation_id, unit HAVING SUM({_SET_ASIDE}) <> 0 ORDER BY reservation_id
        """,
        period=name,
    )
    carried = [
        {
            "period": name,
            "reservation_id": row["reservation_id"],
            "amount_micro": int(row["held"]),
            "unit": row["unit"],
        }
        for row in rows
    ]
    if carried:
        transaction.insert(ACCRUAL, carried)


def _check_name(name: str) -> None:
    if not _MONTH.fullmatch(name):
        raise PeriodError(f"{name!r} is no month", hint="write it as in 2026-10")


def _check_over(name: str, stamp: Stamp) -> None:
    _check_name(name)
    ends = rules.month_after(name)
    if stamp.at_us < to_us(datetime.fromisoformat(f"{ends}-01").replace(tzinfo=UTC)):
        raise PeriodError(f"period {name} is not over", hint=f"close it from {ends}-01 UTC on")


def _check_order(transaction: Transaction, name: str) -> None:
    """Refuse to seal a month while an earlier one with transfers is not, or a later one is."""
    row = transaction.row(
        "SELECT MIN(period) AS first FROM transfer WHERE period < :name AND period NOT IN"
        " (SELECT name FROM period WHERE state = 'hard')",
        name=name,
    )
    if row is not None and row["first"] is not None:
        first = row["first"]
        raise PeriodOrderError(name, earlier=first)
    later = transaction.row(
        "SELECT MIN(name) AS first FROM period WHERE state = 'hard' AND name > :name", name=name
    )
    if later is not None and later["first"] is not None:
        raise PeriodError(f"period {later['first']} comes after {name} and is sealed already")


def _known(transaction: Transaction, name: str) -> Row | None:
    _check_name(name)
    return transaction.row(f"SELECT {PERIOD.selected} FROM period WHERE name = :name", name=name)


def _period(row: Row, accrued: tuple[Accrual, ...]) -> Period:
    return Period(
        name=row["name"],
        state=row["state"],
        transfers=row["transfers"],
        previous_seal=row["previous_seal"],
        seal=row["seal"],
        accruals=accrued,
        actor=row["actor"],
        reason=row["reason"],
        closed_at=from_us(row["closed_at"]),
    )
