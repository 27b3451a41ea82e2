"""Listeners: who is told about the progress of jobs; the log `kling_ledger.jobs` gets the same.

The log names reservations, providers and amounts, but neither requests nor what providers say about
them: those hold prompts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from kling_ledger.errors import PollError, ProviderError
from kling_ledger.ledger import Reservation, State

log: Final = logging.getLogger("kling_ledger.jobs")

_LOGGED: Final = {
    State.SUBMITTED: logging.INFO,
    State.COMMITTED: logging.INFO,
    State.ROLLED_BACK: logging.INFO,
    State.IN_DOUBT: logging.WARNING,
}


@dataclass(frozen=True, slots=True)
class Listeners:
    """Reports each new state of a reservation, and each call without an answer.

    A listener that fails, such as a closed terminal, must not stop a job half-way: its exception is
    logged and dropped.
    """

    on_change: Callable[[Reservation], None]
    on_trouble: Callable[[ProviderError], None]

    def tell_change(self, reservation: Reservation) -> Reservation:
        """Report a new state, and return the reservation."""
        level = _LOGGED.get(reservation.state)
        if level is not None:
            amount = reservation.committed or reservation.amount
            words = (reservation.id, reservation.job.provider, reservation.state, amount)
            log.log(level, "job %s at %s: %s %s", *words)
        _tell(self.on_change, reservation)
        return reservation

    def tell_trouble(self, error: ProviderError) -> None:
        """Report that a provider refused a call or did not answer."""
        if isinstance(error, PollError):
            log.warning("poll of %s without answer: %s", error.provider, error.problem)
        else:
            log.warning("call to %s: %s", error.provider, error.code)
        _tell(self.on_trouble, error)


def _tell(listener: Callable[[Any], None], news: object) -> None:
    try:
        listener(news)
    except Exception:
        log.warning("a listener raised", exc_info=True)
