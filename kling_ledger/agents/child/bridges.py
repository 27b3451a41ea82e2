"""Bridges: which connections to the inner door come from our proxy, and for which address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kling_ledger.agents.child.opened import Opened

Peer = tuple[str, int]


class Bridges:
    """The connections from the proxy to the inner door, by our local port.

    The door listens on loopback, where any local process could connect: a connection that is not a
    bridge did not show the run's credentials to the proxy.
    """

    def __init__(self) -> None:
        self._opened: dict[Peer, Opened] = {}

    @contextmanager
    def known(self, end: Peer, opened: Opened) -> Iterator[None]:
        """Register a connection while it is open; leave before its port can be reused."""
        self._opened[end] = opened
        try:
            yield
        finally:
            del self._opened[end]

    def of(self, end: Peer | None) -> Opened | None:
        """Return the address that a connection is for, None if it is not ours."""
        return None if end is None else self._opened.get(end)
