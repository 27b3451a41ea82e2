"""Closing: closes a month while others write; slow work runs beside them.

A softly closed month takes no ordinary transfers, and while it is being sealed no corrections
either. So what it carries forward and its hash are computed from consistent reads beside all
writers, and stored in small transactions. Only the last step, which checks whether the month was
reopened meanwhile, runs exclusively. An interrupted close leaves the month softly closed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from kling_ledger.errors import PeriodError
from kling_ledger.ledger import accruals, periods, seals
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction
from kling_ledger.ledger.periods import Period

_TRIES: Final = 5
_AT_ONCE: Final = 500
"""How many accruals are written in one transaction: others wait no longer than that takes."""
_KEEP: Final = """
INSERT INTO sealed_part (period, section, number, digests)
SELECT name, CAST(:section AS text), CAST(:number AS bigint), CAST(:digests AS text)
FROM period WHERE name = :name AND state = 'soft' AND version = :version
ON CONFLICT (period, section, number) DO UPDATE SET digests = excluded.digests
"""


def close_softly(database: Database, name: str, *, stamp: Stamp) -> Period:
    """Keep new transfers out of a month that is over, and carry forward what is open."""
    database.write(partial(periods.close_softly, name=name, stamp=stamp))
    _carry_forward(database, name)
    return _found(database, name)


def close_hard(database: Database, name: str, *, stamp: Stamp) -> Period:
    """Seal a month for good. Months are sealed in order: earlier ones come first."""
    if _is_sealed(database, name, stamp):
        return _found(database, name)
    for _ in range(_TRIES):
        read = database.write(partial(periods.begin_sealing, name=name, stamp=stamp))
        if read["state"] == "hard":
            return _found(database, name)
        _carry_forward(database, name)
        sealed = _worked_out(database, read, stamp=stamp)
        if sealed is not None and database.write(partial(periods.seal, sealed=sealed)):
            return _found(database, name)
    raise PeriodError(
        f"period {name} is reopened each time it is about to be sealed",
        hint="find out who else closes months, then close it again",
    )


def _is_sealed(database: Database, name: str, stamp: Stamp) -> bool:
    """Whether a month is sealed; refuses one that cannot be, before anything is written."""
    with database.read() as transaction:
        known = periods.known_row(transaction, name)
        is_sealed = known is not None and known["state"] == "hard"
        if not is_sealed:
            periods.check_over(name, stamp)
            periods.check_order(transaction, name)
        return is_sealed


def _carry_forward(database: Database, name: str) -> None:
    """Record what reservations held at the end of a month, some hundred at a time."""
    with database.read() as transaction:
        held = accruals.missing(transaction, name)
    if held is None:
        return
    after = ""
    for first in range(0, len(held) + 1, _AT_ONCE):
        some = held[first : first + _AT_ONCE]
        last = some[-1]["reservation_id"] if first + _AT_ONCE <= len(held) else None
        database.write(partial(_carry_some, name=name, rows=some, after=after, last=last))
        after = last or after


def _carry_some(
    transaction: Transaction, *, name: str, rows: Sequence[Row], after: str, last: str | None
) -> None:
    transaction.be_alone()
    known = periods.known_row(transaction, name)
    if known is not None and known["state"] == "soft":
        accruals.replace(transaction, name, rows, after=after, last=last)


def _worked_out(database: Database, read: Row, *, stamp: Stamp) -> Row | None:
    """Return the row of a month with its seal; None if the month was reopened meanwhile."""
    name = read["name"]
    try:
        with database.read() as transaction:
            if not periods.is_as_read(periods.known_row(transaction, name), read):
                return None
            periods.check_order(transaction, name)
            previous = periods.last_seal(transaction, before=name)
    except PeriodError:
        database.write(partial(periods.give_up_sealing, read=read))
        raise
    sums = {
        section.name: _sum(database, section, read) for section in seals.SECTIONS[read["format"]]
    }
    sealed = periods.to_be_sealed(read, stamp=stamp, previous=previous)
    seal = seals.seal_of(sealed, sums)
    return {**sealed, "transfers": sums["transfer"].rows, "seal": seal}


def _sum(database: Database, section: seals.Section, read: Row) -> seals.Sum:
    """Hash a section, and store a short digest of each row beside it.

    The month no longer changes, so each part can be read in its own transaction. One long read
    would keep a file's log from being emptied, and the next writer would wait.
    """
    name, total, number = read["name"], seals.Sum(), 0
    rows: list[Row] | None = None
    while rows is None or rows:
        with database.read() as transaction:
            rows = seals.chunk(transaction, section, first=name, last=name, after=rows)
        if rows:
            lines = [row["line"] for row in rows]
            total.add(lines)
            digests = json.dumps(seals.digests_of(section, lines))
            part = {"section": section.name, "number": number, "digests": digests}
            own = {"name": name, "version": read["version"]}
            database.write(partial(_keep, values={**part, **own}))
        number += 1
    return total


def _keep(transaction: Transaction, *, values: dict[str, Any]) -> None:
    transaction.run(_KEEP, **values)


def _found(database: Database, name: str) -> Period:
    with database.read() as transaction:
        return periods.find(transaction, name)
