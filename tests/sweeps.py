"""Sweeps: which cases of a long list run each time, and which only with `pytest -m slow`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[Any], every: int) -> list[Any]:
    """Return all cases as parameters; each `every`th, from the first, runs each time."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=() if place % every == 0 else pytest.mark.slow,
        )
        for place, case in enumerate(cases)
    ]
