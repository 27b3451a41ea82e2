"""Resting: the caps of runs that have had no job for a day go, and come back with the run."""

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
"""How often that is looked at; nothing hangs on when."""


def rest_runs(ledger: Ledger) -> None:
    """Remove the caps of runs that have rested; where that cannot be done, they stay."""
    try:
        ledger.tokens.rest_runs(ledger.now() - timedelta(seconds=RESTED_S))
    except KlingError as error:
        log.warning("the caps of inactive runs could not be removed: %s", error)
