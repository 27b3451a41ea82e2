"""Measuring: what a job costs by the length of the file that it made, if that is billed.

No gateway documents a field for the billed seconds in the answer about a finished task. Some bill
the seconds of the file, which we have. Until a bill says more, that is closer than the highest
possible cost. A measured cost is our own figure and confirms nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Final

from kling_ledger.ledger import Ledger, Reservation, State
from kling_pricing.errors import KlingError
from kling_pricing.money import Money
from kling_pricing.quote import Quote

_TO_THE_END: Final = 0
_IS_LONG: Final = 1
_UNKNOWN: Final = frozenset({0, 2**32 - 1, 2**64 - 1})
"""Fragmented files have a length of zero; all ones means unknown."""


def settled_by_length(ledger: Ledger, ended: Reservation, files: Sequence[Path]) -> Reservation:
    """Settle a job by the length of its one clip; unchanged if that does not tell the cost.

    Only a job that was charged its quote is settled this way: any reported cost stands.
    """
    is_a_guess = ended.state is State.COMMITTED and ended.settled_by == "quote"
    if not is_a_guess or ended.refunded.micro or len(files) != 1:
        return ended
    seconds = length_of(files[0])
    cost = None if seconds is None else cost_of(ended, seconds)
    if cost is None:
        return ended
    reason = f"its clip is {seconds:f} s long"
    return ledger.correct(ended.id, cost, reason=reason, settled_by="measured")


def cost_of(reservation: Reservation, seconds: Decimal) -> Money | None:
    """Return what a clip of this length costs by the quote that its reservation keeps.

    None if the price does not depend on the file, the quote can no longer be computed, or no clip
    of that job could be this long.
    """
    kept = reservation.job.quote
    try:
        quoted = None if kept is None else Quote.from_dict(json.loads(kept))
        cost = None if quoted is None else quoted.of_produced(seconds)
    except (KlingError, ValueError):
        return None
    return cost if cost is not None and cost.unit == reservation.amount.unit else None


def length_of(file: Path) -> Decimal | None:
    """Return the playing time of an MP4 or QuickTime file in seconds; None if it does not say.

    Its movie header has the length and the units per second: ISO/IEC 14496-12, 8.2.2.
    """
    with file.open("rb") as opened:
        opened.seek(0, 2)
        for name, begins, ends in _boxes(opened, 0, opened.tell()):
            if name == b"moov":
                return _length_in(opened, begins, ends)
    return None


def _length_in(opened: BinaryIO, begins: int, ends: int) -> Decimal | None:
    for name, at, _ in _boxes(opened, begins, ends):
        if name != b"mvhd":
            continue
        opened.seek(at)
        size = 8 if opened.read(1) == b"\x01" else 4
        # Three bytes of flags and two instants come before.
        opened.seek(at + 4 + 2 * size)
        parts, length = _number(opened, 4), _number(opened, size)
        return Decimal(length) / parts if parts and length not in _UNKNOWN else None
    return None


def _boxes(opened: BinaryIO, begins: int, ends: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of a part of a file: their names, and where the content begins and ends."""
    while begins + 8 <= ends:
        opened.seek(begins)
        size, name, header = _number(opened, 4), opened.read(4), 8
        if size == _IS_LONG:
            size, header = _number(opened, 8), 16
        size = ends - begins if size == _TO_THE_END else size
        if size < header or begins + size > ends:
            return
        yield name, begins + header, begins + size
        begins += size


def _number(opened: BinaryIO, size: int) -> int:
    return int.from_bytes(opened.read(size), "big")
