"""kling-ledger: what a Kling clip will cost, what may be spent, what was spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kling_ledger.jobs.meter import Meter
    from kling_ledger.jobs.metered import metered
    from kling_ledger.ledger import Ledger

__all__ = ["Ledger", "Meter", "metered"]

_HOMES = {
    "Ledger": "kling_ledger.ledger",
    "Meter": "kling_ledger.jobs.meter",
    "metered": "kling_ledger.jobs.metered",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: a quote needs no database and no network."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
