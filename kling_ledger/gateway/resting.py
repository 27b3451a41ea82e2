"""Resting: the cap of a run without jobs for a day is removed, and restored with its next job."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from kling_ledger.ledger import Ledger
from kling_pricing.errors import KlingError

log: Final = logging.getLogger("kling_ledger.gateway")

RESTED_S: Final = 86_400.0
"""How long a run has no job before its cap is removed."""

REST_EVERY_S: Final = 3600.0
"""How often that is checked; the exact time does not matter."""


def rest_runs(ledger: Ledger) -> None:
    """Remove the caps of inactive runs; on an error they stay."""
    try:
        ledger.tokens.rest_runs(ledger.now() - timedelta(seconds=RESTED_S))
    except KlingError as error:
        log.warning("the caps of inactive runs could not be removed: %s", error)
