"""Bridges: which connections to the door inside were made by our proxy, and for which address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kling_ledger.agents.child.opened import Opened

Peer = tuple[str, int]


class Bridges:
    """The connections that lead from the proxy to the door inside, by the end that we opened.

    The door listens on loopback, where everybody on this machine could knock: whoever comes over
    no bridge did not show the proxy the run's credentials.
    """

    def __init__(self) -> None:
        self._opened: dict[Peer, Opened] = {}

    @contextmanager
    def known(self, end: Peer, opened: Opened) -> Iterator[None]:
        """Let a connection be known while it is open; leave before its port can be another's."""
        self._opened[end] = opened
        try:
            yield
        finally:
            del self._opened[end]

    def of(self, end: Peer | None) -> Opened | None:
        """Return what a connection was made for, None where it is not ours."""
        return None if end is None else self._opened.get(end)
