"""Told: facts of a job that only the journal has, as SQL for a row of `reservation`.

The journal never changes; a row may: if the provider itself reserves more, the reserved amount
rises, and if an end is undone, what it had charged counts as refunded.
"""

from __future__ import annotations

from typing import Final

FIRST_HELD: Final = (
    # Only a job whose provider reported a hold can have been raised: others need no look-up.
    "CASE WHEN reservation.provider_held_micro IS NULL THEN reservation.reserved_micro ELSE"
    " (SELECT told.amount_micro FROM transfer AS told"
    " WHERE told.reservation_id = reservation.id AND told.kind = 'reserve'"
    " ORDER BY told.id LIMIT 1) END"
)
"""What was first held for a job, before its provider reported its own hold."""

QUOTED: Final = (
    "CASE WHEN reservation.quoted_micro IS NULL AND reservation.estimated_micro IS NULL"
    f" THEN {FIRST_HELD} ELSE reservation.quoted_micro END"
)
"""The most that the book quoted for a job; for a job from before this was recorded, what was first
held. It is unknown if only the provider's own estimate was known."""

UNDONE: Final = (
    # What was charged before a job was reopened has come back: without refunds it is zero.
    "CASE WHEN reservation.refunded_micro = 0 THEN 0 ELSE"
    " (SELECT COALESCE(SUM(told.amount_micro), 0) FROM transfer AS told"
    " WHERE told.reservation_id = reservation.id"
    " AND told.kind IN ('commit', 'overrun', 'late_commit') AND told.id <"
    " (SELECT MAX(again.id) FROM transfer AS again"
    " WHERE again.reservation_id = reservation.id AND again.kind = 'reopen')) END"
)
"""What a job was charged before it was last reopened: all of it came back."""
