"""Unfinished requests: few at a time, each for a few seconds, so that nobody can block others.

Anyone can open connections and send nothing. A connection without a complete head in time is
closed, and if too many requests are unfinished, the oldest is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S: Final = 5.0
"""How long the head of a request may take, from when it could have begun."""

MOST_UNFINISHED: Final = 96
"""How many requests may be unfinished; a further one replaces the oldest."""


class UnfinishedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with time-outs for incomplete requests."""

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
        """Whether a request is incomplete: its head or its body."""
        is_on_its_way = self.conn.their_state in {h11.IDLE, h11.SEND_BODY}
        return is_on_its_way and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process data, and check whether the head is complete."""
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
        """Close the oldest request if there are too many."""
        found = [
            one
            for one in self.connections
            if isinstance(one, UnfinishedProtocol) and one.is_unfinished
        ]
        if len(found) > self._most:
            min(found, key=lambda one: one.begun_at).transport.abort()
