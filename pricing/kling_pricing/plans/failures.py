"""Failures: whether a provider charges for a take that failed, as far as its price book says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kling_pricing.quote import Quote

_ANSWERS: Final[Mapping[str, bool]] = {"yes": True, "no": False}


def charges_failures(quoted: Quote) -> bool | None:
    """Return whether the provider of a quote charges for a job that fails; None if unknown."""
    return _ANSWERS.get(quoted.rate.book.charges.failure.charged)
