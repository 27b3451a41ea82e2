"""States: the states in the life of a reservation, by their words in the database."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The state of a reservation."""

    RESERVED = "reserved"
    """Credits are set aside; nothing was sent."""
    SUBMITTING = "submitting"
    """The request is about to be sent, or was sent and no reply is recorded."""
    SUBMITTED = "submitted"
    """The provider accepted the job and named its task."""
    IN_DOUBT = "in_doubt"
    """It is unknown whether the provider accepted or charged the job; the credits stay reserved."""
    COMMITTED = "committed"
    """The job was charged; the rest was returned."""
    ROLLED_BACK = "rolled_back"
    """All credits were returned, except those committed in parts before."""
    EXPIRED = "expired"
    """The reservation expired before anything was sent; all credits were returned."""


ENDED_STATES: Final = (State.COMMITTED, State.ROLLED_BACK, State.EXPIRED)
"""The states in which nothing is set aside."""

OPEN_STATES: Final = (State.RESERVED, State.SUBMITTING, State.SUBMITTED, State.IN_DOUBT)
"""The states in which credits are set aside."""

RESTING_STATES: Final = (State.IN_DOUBT, *ENDED_STATES)
"""The states in which a reservation stays until a person or some evidence says otherwise."""
