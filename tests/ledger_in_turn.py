"""Calls of many callers that are seen to in one transaction, as they are in a rush on a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kling_ledger.ledger import Asked, Ledger, Reservation
from kling_ledger.ledger.access import Access
from kling_ledger.ledger.admissions import Admissions
from kling_ledger.ledger.deciding import Call
from kling_ledger.ledger.engines.sqlite import SqliteFile
from kling_ledger.ledger.engines.transaction import NothingDoneError, Outcome
from kling_pricing import KlingError

Told = list[Reservation] | KlingError
"""What one caller is told."""


def admissions_of(ledger: Ledger, chance: Callable[[int], int]) -> Admissions:
    return Admissions(Access(ledger.database, ledger.now, "tester", chance))


def seen_to(ledger: Ledger, calls: Sequence[Call]) -> Sequence[Outcome]:
    """See to calls in one transaction; None for one that has to be run alone."""
    engine = ledger.database.engine
    if not isinstance(engine, SqliteFile):
        return engine.write_in_turn(calls)
    in_turn = calls[0].in_turn
    assert in_turn is not None
    try:
        return ledger.database.write(lambda transaction: in_turn(transaction, calls))()
    except NothingDoneError as nothing:
        return nothing.outcomes


def told_alone(
    reserve: Callable[[Sequence[Asked]], list[Reservation]], asked: Sequence[Asked]
) -> Told:
    try:
        return reserve(asked)
    except KlingError as error:
        return error


def told_in_turn(
    ledger: Ledger, admissions: Admissions, calls: Sequence[Sequence[Asked]]
) -> tuple[list[Told], list[int]]:
    """See to calls in one transaction, then to those alone that it leaves; say which those are."""
    outcomes = seen_to(ledger, [admissions.call(asked) for asked in calls])
    told: list[Told] = []
    left = []
    for place, outcome in enumerate(outcomes):
        if outcome is None:
            left.append(place)
            told.append([])
        elif isinstance(outcome, Exception):
            assert isinstance(outcome, KlingError)
            told.append(outcome)
        else:
            told.append([outcome(n) for n in range(len(calls[place]))])
    for place in left:
        told[place] = told_alone(admissions.all_of, calls[place])
    return told, left
