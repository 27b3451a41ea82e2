"""Waiting: for what happens by itself, as long as a busy machine may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

PATIENCE_S: Final = 60.0

Found = TypeVar("Found")


def until(
    look: Callable[[], Found | None],
    what: str = "it",
    *,
    within_s: float = PATIENCE_S,
    every_s: float = 0.01,
) -> Found:
    """Look until there is something, and return it; fail if there is nothing in all that time."""
    ends_at = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < ends_at, f"{what}: not within {within_s:g} s"
        time.sleep(every_s)
    return found
