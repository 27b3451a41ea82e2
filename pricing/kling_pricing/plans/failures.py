"""Failures: whether a provider charges for a take that failed, where that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_CHARGES: Final[Mapping[str, bool]] = {
    # "RunAPI only bills for completed generations. If the task fails or times out, the reserved
    # credits are rolled back to your account balance."
    # Source: https://runapi.ai/zh-CN/openclaw-kling.md, checked 2026-11-20.
    "runapi": False,
}


def charges_failures(provider: str) -> bool | None:
    """Return whether a provider charges for a job that fails; None where it does not say."""
    return _CHARGES.get(provider)
