"""Times: the instants of a bill, as people and programs write them, in UTC.

An instant helps to find a job; no amount depends on it. So what cannot be read for certain is
skipped, with a note. A stamp becomes an instant only with a zone: in its cell, in its column's
name, or named by a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import partial

from kling_ledger.evidence.reading.answers import Answers
from kling_ledger.evidence.reading.grid import listed
from kling_ledger.evidence.reading.numbers import is_nothing
from kling_ledger.evidence.reading.stamps import Order, Stamp, read_stamp
from kling_ledger.evidence.reading.zones import zone_in, zone_named


@dataclass(frozen=True, slots=True)
class Times:
    """The instants of some rows, None for a row without one, and notes about them."""

    instants: Sequence[datetime | None]
    has_unzoned: bool = False
    notes: tuple[str, ...] = ()


def read_times(cells: Sequence[tuple[str, str]], column: str, answers: Answers) -> Times:
    """Read the stamps of a column; each comes with its place. A day alone is not an instant."""
    said = None if answers.zone is None else zone_named(answers.zone)
    zone = zone_in(column) or said
    cells = [(place, "" if is_nothing(text) else text) for place, text in cells]
    stamps = [read_stamp(text) if text else None for _, text in cells]
    order = answers.dates or _order(stamps)
    found = [_instant(stamp, order, zone) for stamp in stamps]
    unread = [
        place for (place, text), stamp in zip(cells, stamps, strict=True) if text and not stamp
    ]
    unclear = [
        place
        for (place, _), stamp in zip(cells, stamps, strict=True)
        if stamp is not None and stamp.is_instant and stamp.in_order(order) is None
    ]
    return Times(
        found,
        has_unzoned=any(map(partial(_lacks_zone, zone=zone), stamps)),
        notes=tuple(
            f"{what} in column {column} ({listed(places)})"
            for what, places in (
                ("unreadable times were skipped", unread),
                ("dates whose day and month could be swapped were skipped", unclear),
            )
            if places
        ),
    )


def _lacks_zone(stamp: Stamp | None, *, zone: tzinfo | None) -> bool:
    return (
        stamp is not None
        and stamp.is_instant
        and (stamp.has_strange_zone or not (stamp.zone or zone))
    )


def _order(stamps: Iterable[Stamp | None]) -> Order | None:
    """Return the order of day, month and year in a column; None if its stamps do not prove one."""
    proofs = {stamp.proof for stamp in stamps if stamp is not None} - {None}
    return proofs.pop() if len(proofs) == 1 else None


def _instant(stamp: Stamp | None, order: Order | None, zone: tzinfo | None) -> datetime | None:
    if stamp is None or not stamp.is_instant or stamp.has_strange_zone:
        return None
    at, zone = stamp.in_order(order), stamp.zone or zone
    if at is None or zone is None:
        return None
    earlier, later = (at.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    # When the clocks change, an hour occurs twice, or not at all.
    if earlier != later:
        return None
    try:
        return at.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return None
