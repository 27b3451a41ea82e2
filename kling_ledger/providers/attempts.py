"""Attempts: how often a query is sent, and how long to pause between attempts."""

from __future__ import annotations

from typing import Final

from kling_ledger.providers.base import Pacing

ATTEMPTS: Final = 3
"""How often a query is sent before it counts as unanswered."""

LONGEST_PAUSE_S: Final = 30.0
"""The longest pause within one call; if the provider asks for more, the call ends."""

LONGEST_WISH_S: Final = 60.0
"""The longest delay between two calls that is granted to a provider that asks for one."""

FIRST_PAUSE_S: Final = 0.5
"""The pause after the first attempt; after the second it is twice as long."""


class Attempts:
    """Counts the attempts of one call.

    A pause lasts as long as the provider asked for, or else grows each time, with jitter, so that
    many waiting scripts do not retry at the same instant.
    """

    def __init__(
        self,
        pacing: Pacing | None = None,
        *,
        most: int = ATTEMPTS,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._pacing = pacing or Pacing()
        self._most = most
        self._first_pause_s = first_pause_s
        self._made = 0

    def next_pause_s(self, asked_s: float | None = None) -> float | None:
        """Return how long to pause after an attempt, or None after the last one."""
        self._made += 1
        if self._made >= self._most or (asked_s or 0) > LONGEST_PAUSE_S:
            return None
        jitter = 0.75 + self._pacing.chance() / 2
        pause_s: float = self._first_pause_s * 2 ** (self._made - 1) * jitter
        return max(asked_s or 0.0, pause_s)

    def pause(self, asked_s: float | None = None) -> bool:
        """Pause after an attempt; False if it was the last one or the pause was cut short."""
        pause_s = self.next_pause_s(asked_s)
        return pause_s is not None and not self._pacing.sleep(pause_s)
