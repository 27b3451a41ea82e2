"""kling-ledger: what a Kling clip will cost, what may be spent, and what was spent.

Everything that a script needs is imported from here:

    from kling_ledger import Clip, Ledger, Money, RefusedError, metered, quote

A name is loaded when it is first used, so a quote needs no database and no network.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kling_ledger.errors import (
        BudgetError,
        CeilingError,
        ConfigError,
        ConflictError,
        DatabaseError,
        InsufficientCreditsError,
        JobInDoubtError,
        JobRefusedError,
        LedgerError,
        NotFoundError,
        PollError,
        ProviderError,
        RefusedError,
        StateError,
        TaskNotWrittenError,
    )
    from kling_ledger.jobs.meter import Meter
    from kling_ledger.jobs.metered import metered
    from kling_ledger.jobs.watch import Patience
    from kling_ledger.ledger import (
        Asked,
        Budget,
        BudgetStatus,
        Change,
        Job,
        Ledger,
        Period,
        Reservation,
        Reserving,
        Scope,
        State,
        Wallet,
    )
    from kling_ledger.ledger.areserving import AsyncReserving
    from kling_ledger.ledger.verify import Verification
    from kling_ledger.providers.registry import connect
    from kling_pricing.afford import Affordability, Affordable, afford
    from kling_pricing.clip import Clip
    from kling_pricing.compare import Comparison, compare
    from kling_pricing.errors import KlingError, NoPriceError, PricingError, RequestError
    from kling_pricing.gateways import Request, read_request, write_request
    from kling_pricing.library import Library, library_of, open_library
    from kling_pricing.money import Money
    from kling_pricing.quote import Quote, quote

__all__ = [
    "Affordability",
    "Affordable",
    "Asked",
    "AsyncReserving",
    "Budget",
    "BudgetError",
    "BudgetStatus",
    "CeilingError",
    "Change",
    "Clip",
    "Comparison",
    "ConfigError",
    "ConflictError",
    "DatabaseError",
    "InsufficientCreditsError",
    "Job",
    "JobInDoubtError",
    "JobRefusedError",
    "KlingError",
    "Ledger",
    "LedgerError",
    "Library",
    "Meter",
    "Money",
    "NoPriceError",
    "NotFoundError",
    "Patience",
    "Period",
    "PollError",
    "PricingError",
    "ProviderError",
    "Quote",
    "RefusedError",
    "Request",
    "RequestError",
    "Reservation",
    "Reserving",
    "Scope",
    "State",
    "StateError",
    "TaskNotWrittenError",
    "Verification",
    "Wallet",
    "__version__",
    "afford",
    "compare",
    "connect",
    "library_of",
    "metered",
    "open_library",
    "quote",
    "read_request",
    "write_request",
]

_HOMES: Final = {
    "kling_ledger.errors": (
        "BudgetError CeilingError ConfigError ConflictError DatabaseError InsufficientCreditsError"
        " JobInDoubtError JobRefusedError LedgerError NotFoundError PollError ProviderError"
        " RefusedError StateError TaskNotWrittenError"
    ),
    "kling_ledger.jobs.meter": "Meter",
    "kling_ledger.jobs.metered": "metered",
    "kling_ledger.jobs.watch": "Patience",
    "kling_ledger.ledger": (
        "Asked Budget BudgetStatus Change Job Ledger Period Reservation Reserving Scope State"
        " Wallet"
    ),
    "kling_ledger.ledger.areserving": "AsyncReserving",
    "kling_ledger.ledger.verify": "Verification",
    "kling_ledger.providers.registry": "connect",
    "kling_pricing.afford": "Affordability Affordable afford",
    "kling_pricing.clip": "Clip",
    "kling_pricing.compare": "Comparison compare",
    "kling_pricing.errors": "KlingError NoPriceError PricingError RequestError",
    "kling_pricing.gateways": "Request read_request write_request",
    "kling_pricing.library": "Library library_of open_library",
    "kling_pricing.money": "Money",
    "kling_pricing.quote": "Quote quote",
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names.split()}


# Whoever uses the library says whether and where it logs. Until then it says nothing: without a
# handler, Python itself would print our warnings on the terminal of the command line.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("kling-ledger")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    # Found once, it is an ordinary name of the module from then on.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
