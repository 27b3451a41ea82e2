"""Wires: how each provider is reached, with which key, and its recent estimates."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

import httpx

from kling_ledger.gateway.settings import GatewaySettings
from kling_ledger.providers.base import Estimate
from kling_ledger.providers.http import Secret
from kling_ledger.providers.http_provider import HttpProvider
from kling_ledger.providers.registry import wire
from kling_ledger.providers.surroundings import naming_the_variable

ESTIMATE_LIVES_S: Final = 60.0
"""How long an estimate is reused for the same clip with another prompt."""

_MOST_KEYS: Final = 1000
_MOST_ESTIMATES: Final = 1000
_WORDS: Final = frozenset({"prompt", "negative_prompt", "callback_url"})


class Estimates:
    """Recent estimates of one account; prompts do not affect them."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, Estimate]] = OrderedDict()
        self._lock = Lock()

    def of(self, action: str, body: dict[str, Any], ask: Callable[[], Estimate]) -> Estimate:
        """Return a cached estimate, or request it. Raises what the request raises."""
        name = json.dumps([action, _without_words(body)], sort_keys=True)
        now = time.monotonic()
        with self._lock:
            told_at, known = self._known.get(name, (0.0, None))
        if known is not None and now - told_at < ESTIMATE_LIVES_S:
            return known
        told = ask()
        with self._lock:
            self._known[name] = (now, told)
            if len(self._known) > _MOST_ESTIMATES:
                self._known.popitem(last=False)
        return told


@dataclass(frozen=True, slots=True)
class Wire(HttpProvider):
    """A provider over plain HTTP that remembers its estimates for a minute."""

    estimates: Estimates = field(default_factory=Estimates, repr=False, compare=False)

    def estimate(self, action: str, body: dict[str, Any]) -> Estimate:
        """Return the estimate of a body: the provider's, or a recent one for the same clip."""
        return self.estimates.of(action, body, lambda: HttpProvider.estimate(self, action, body))


class Wires:
    """The wires of a gateway: one for each provider and key, their connections shared by all."""

    def __init__(self, settings: GatewaySettings) -> None:
        with naming_the_variable():
            self.trust = httpx.create_ssl_context()
            """The trusted certificates; loaded once."""
        self._first: dict[str, HttpProvider] = {
            name: wire(name).connect(
                (upstream.key or Secret("")).value,
                base_url=upstream.address,
                timeout_s=settings.timeout_s,
                trust=self.trust,
            )
            for name, upstream in settings.upstreams.items()
        }
        self._known: OrderedDict[tuple[str, str], Wire] = OrderedDict()
        self._lock = Lock()

    def wire(self, provider: str, key: Secret) -> Wire:
        """Return the wire of a provider and key; the latest keys are kept in memory."""
        name = (provider, key.value)
        with self._lock:
            known = self._known.get(name)
            if known is None:
                first = self._first[provider]
                known = Wire(first.dialect, first.http.under(key), first.pacing)
                self._known[name] = known
            self._known.move_to_end(name)
            if len(self._known) > _MOST_KEYS:
                self._known.popitem(last=False)
        return known

    def address(self, provider: str) -> str:
        """Return where a provider is reached, as jobs have it."""
        return self._first[provider].address

    def close(self) -> None:
        """Close all connections."""
        for first in self._first.values():
            first.close()


def _without_words(told: Any) -> Any:
    if isinstance(told, dict):
        return {name: _without_words(one) for name, one in told.items() if name not in _WORDS}
    return told
