"""Gateway: all that one provider says of itself, in one value; see the registry for all four."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from starlette.routing import Route

from kling_ledger.sandbox.bodies import Asked, Body
from kling_ledger.sandbox.tariff import Tariff

if TYPE_CHECKING:
    from kling_ledger.sandbox.desk import Desk, Seen
    from kling_ledger.sandbox.settings import SandboxSettings


class Dialect(Protocol):
    """One provider's way of speaking HTTP."""

    @property
    def desk(self) -> Desk:
        """The account that it speaks for."""

    def routes(self) -> list[Route]:
        """Return the addresses that it answers at."""

    def callback_body(self, seen: Seen, base_url: str) -> dict[str, Any]:
        """Return what is posted about a job."""


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
    new_task_id: Callable[[SandboxSettings, datetime], str]
    dialect: Callable[[Desk], Dialect]
    key_of: Callable[[str], str] = str
    link_s: float | None = None
    names_callback: bool = True
    calls_again: bool = False
