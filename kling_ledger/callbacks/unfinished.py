"""Unfinished requests: few at a time, each for a few seconds, so that nobody keeps others out.

Anybody can open connections and say nothing. One whose head does not come in time is closed, and
where too many requests are unfinished the one that has taken longest makes way.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S: Final = 5.0
"""How long the head of a request may take, from when it could have begun."""

MOST_UNFINISHED: Final = 96
"""How many requests may be on their way in at once; the next one takes the place of the oldest."""


class UnfinishedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, without endless patience for requests that do not come."""

    def __init__(
        self, *args: Any, head_s: float = HEAD_S, most: int = MOST_UNFINISHED, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._most = most
        self.begun_at = self.loop.time()
        self._head_s = head_s
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_unfinished(self) -> bool:
        """Whether there is more to come of a request: its head or its body."""
        is_on_its_way = self.conn.their_state in {h11.IDLE, h11.SEND_BODY}
        return is_on_its_way and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, and see whether the head is there."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Begin to wait for the next head on the same connection."""
        super().on_response_complete()
        self._look()

    def _look(self) -> None:
        if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._timer is None:
            self.begun_at = self.loop.time()
            self._timer = self.loop.call_later(self._head_s, self.transport.close)
        if len(self.connections) > self._most and self.is_unfinished:
            self._make_way()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _make_way(self) -> None:
        """Cut the request that has taken longest, where there are too many."""
        found = [
            one
            for one in self.connections
            if isinstance(one, UnfinishedProtocol) and one.is_unfinished
        ]
        if len(found) > self._most:
            min(found, key=lambda one: one.begun_at).transport.abort()
