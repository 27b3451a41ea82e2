"""Gateway: the fixed facts of one provider: its contract, its prices and the form of its keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kling_ledger.sandbox.bodies import Asked, Body
from kling_ledger.sandbox.tariff import Tariff


@dataclass(frozen=True, slots=True)
class Gateway:
    """One provider.

    `read` reads a body, for the action in its address if there is one. `key_of` returns an API key
    in the provider's form. `link_s` is how long a clip can be downloaded, None if undocumented.
    `names_callback` is whether a body can name a callback address, `calls_again` whether a callback
    that is not accepted is retried.
    """

    name: str
    tariff: Tariff
    read: Callable[[Body, str], Asked]
    key_of: Callable[[str], str] = str
    link_s: float | None = None
    names_callback: bool = True
    calls_again: bool = False
