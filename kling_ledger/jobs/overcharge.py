"""Overcharges: a settled cost far above what was held is charged anyway, and reported.

What the provider says that it took is the truth about money, however odd. A person should know: the
cause may be a slipped decimal point, another clip than the requested one, or a new price.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from kling_ledger.ledger import Reservation
from kling_pricing.money import Money

TIMES: Final = 2
"""A cost this many times the hold is odd."""

TRIFLE_USD: Final = Decimal("0.10")
"""A charge that exceeds its hold by less than this is not reported."""

_FINE: Final = 10
"""Below this many times the hold, a report shows one decimal."""


def overcharge(
    reservation: Reservation,
    cost: Money | None,
    *,
    ceiling: Money | None = None,
    took: str = "charged",
) -> str | None:
    """Say what is odd about a settled cost: above the ceiling, or a multiple of the hold.

    `took` is what was done with it. None if it is in another unit, or within the ceiling and either
    less than twice the hold or only a trifle above it.
    """
    held = reservation.amount
    if cost is None or cost.unit != held.unit or cost <= held:
        return None
    is_above = ceiling is not None and ceiling.unit == cost.unit and cost > ceiling
    is_multiple = cost >= held * TIMES and not _is_trifle(reservation, cost)
    if not (is_above or is_multiple):
        return None
    above = f", above the ceiling of {ceiling}" if is_above else ""
    return f"{took} {cost}, {_compared(cost, held)}{above}"


def noted(problem: str | None, odd: str | None) -> str | None:
    """Return the note kept about a job: its problem, what is odd about its cost, or both."""
    return "; ".join(said for said in (problem, odd) if said) or None


def _is_trifle(reservation: Reservation, cost: Money) -> bool:
    """Whether the difference is a trifle in US dollars; False if it cannot be converted."""
    worth, held = reservation.job.usd, reservation.amount
    if worth is None or not held.micro:
        return False
    return worth.amount * (cost - held).micro / held.micro < TRIFLE_USD


def _compared(cost: Money, held: Money) -> str:
    if not held.micro:
        return "but nothing was held"
    times = Decimal(cost.micro) / held.micro
    shown = times.quantize(Decimal("0.1") if times < _FINE else Decimal(1), ROUND_HALF_UP)
    return f"{shown.normalize():f} x what was held ({held})"
