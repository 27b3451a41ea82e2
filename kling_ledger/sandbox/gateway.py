"""Gateway: what is known of one provider before anybody speaks to it: contract, prices, keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kling_ledger.sandbox.bodies import Asked, Body
from kling_ledger.sandbox.tariff import Tariff


@dataclass(frozen=True, slots=True)
class Gateway:
    """One provider.

    `read` understands a body, for the action that its address names where it names one. `key_of`
    returns an API key in the form that the provider's keys have. `link_s` is how long a clip can
    be downloaded, None where nobody says. `names_callback` is whether a body can name an address
    for callbacks, `calls_again` whether a callback that nobody takes is tried again.
    """

    name: str
    tariff: Tariff
    read: Callable[[Body, str], Asked]
    key_of: Callable[[str], str] = str
    link_s: float | None = None
    names_callback: bool = True
    calls_again: bool = False
