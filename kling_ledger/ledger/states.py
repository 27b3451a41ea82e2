"""States: where a reservation stands in its life, in the words that the database has for it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a reservation stands in its life."""

    RESERVED = "reserved"
    """Credits are set aside; nothing was sent."""
    SUBMITTING = "submitting"
    """The request is about to be sent, or was sent and no reply is recorded."""
    SUBMITTED = "submitted"
    """The provider took the job and named its task."""
    IN_DOUBT = "in_doubt"
    """Nobody knows yet whether the provider took or charged the job; the credits stay reserved."""
    COMMITTED = "committed"
    """The job was charged; what it did not cover went back."""
    ROLLED_BACK = "rolled_back"
    """All credits went back that were not committed in parts before."""
    EXPIRED = "expired"
    """The clock ended a reservation of which nothing was ever sent; all credits went back."""


ENDED_STATES: Final = (State.COMMITTED, State.ROLLED_BACK, State.EXPIRED)
"""The states in which nothing is set aside any more."""

OPEN_STATES: Final = (State.RESERVED, State.SUBMITTING, State.SUBMITTED, State.IN_DOUBT)
"""The states in which credits are set aside."""

RESTING_STATES: Final = (State.IN_DOUBT, *ENDED_STATES)
"""The states in which a reservation stays until somebody or some evidence says otherwise."""
