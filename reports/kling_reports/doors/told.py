"""Told: what the journal tells of a job that its row does not, as SQL for a row of `reservation`.

The journal never changes; a row may: a provider that set aside more itself raises what was
reserved, and an end that is undone leaves what it had charged among what came back.
"""

from __future__ import annotations

from typing import Final

FIRST_HELD: Final = (
    # Only a job of which the provider said so can have been given more: others need no look.
    "CASE WHEN reservation.provider_held_micro IS NULL THEN reservation.reserved_micro ELSE"
    " (SELECT told.amount_micro FROM transfer AS told"
    " WHERE told.reservation_id = reservation.id AND told.kind = 'reserve'"
    " ORDER BY told.id LIMIT 1) END"
)
"""What was set aside for a job first, before its provider said what it set aside itself."""

QUOTED: Final = (
    "CASE WHEN reservation.quoted_micro IS NULL AND reservation.estimated_micro IS NULL"
    f" THEN {FIRST_HELD} ELSE reservation.quoted_micro END"
)
"""What the book said that a job costs at most; of a job from before that was kept, what was set
aside first. It is unknown where only the provider's own estimate was known."""

UNDONE: Final = (
    # What was charged before a job was opened again has come back: without refunds there is none.
    "CASE WHEN reservation.refunded_micro = 0 THEN 0 ELSE"
    " (SELECT COALESCE(SUM(told.amount_micro), 0) FROM transfer AS told"
    " WHERE told.reservation_id = reservation.id"
    " AND told.kind IN ('commit', 'overrun', 'late_commit') AND told.id <"
    " (SELECT MAX(again.id) FROM transfer AS again"
    " WHERE again.reservation_id = reservation.id AND again.kind = 'reopen')) END"
)
"""What a job was charged before it was last opened again: all of it came back."""
