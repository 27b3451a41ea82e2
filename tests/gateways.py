"""A gateway in front of a sandbox, for tests; and what the sandbox says that it has made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from kling_ledger import Ledger
from kling_ledger.gateway.events import Exchange
from kling_ledger.gateway.server import Gateway
from kling_ledger.gateway.settings import PROVIDERS, GatewaySettings, Upstream
from kling_ledger.providers.http import Secret
from kling_ledger.sandbox import Sandbox
from tests.ledgers import usd

BODIES: dict[str, dict[str, Any]] = {
    "runapi": {
        "model": "kling-3.0",
        "prompt": "a lake",
        "duration_seconds": 5,
        "enable_sound": True,
        "output_resolution": "1080p",
    },
    "crun": {
        "model": "kling/v3",
        "input": {
            "mode": "std",
            "multi_shots": False,
            "prompt": "a lake",
            "duration": 5,
            "audio": True,
        },
    },
    "evolink": {
        "model": "kling-v3-text-to-video",
        "prompt": "a lake",
        "duration": 5,
        "quality": "720p",
        "sound": "off",
    },
    "uniall": {"model": "kling-v3-std-silent", "prompt": "a lake", "duration": 5},
}
"""A job of each provider."""

PATHS = {
    "runapi": "/runapi/api/v1/kling/text_to_video",
    "crun": "/crun/api/v1/client/job/CreateTask",
    "evolink": "/evolink/v1/videos/generations",
    "uniall": "/uniall/v1/video/generations",
}
"""Where it is sent through a gateway."""

UNITS = {"runapi": "USD", "crun": "crun-credit", "evolink": "evolink-credit"}
"""What each provider charges in."""


@dataclass
class Running:
    """A gateway that runs, the sandbox behind it, and what it has told of its exchanges."""

    gateway: Gateway
    sandbox: Sandbox
    told: list[Exchange]

    def post(
        self, provider: str, body: Any = None, *, path: str | None = None, **headers: str
    ) -> httpx.Response:
        """Send a job as a caller with the sandbox's key, unless headers say another."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        content: dict[str, Any] = {"json": BODIES[provider] if body is None else body}
        if isinstance(body, (bytes, str)):
            content = {"content": body}
        return httpx.post(
            self.gateway.url + (path or PATHS[provider]),
            headers={**self.key(provider), "content-type": "application/json", **named},
            **content,
        )

    def get(self, provider: str, path: str, **headers: str) -> httpx.Response:
        """Ask as a caller with the sandbox's key, unless headers say another."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        url = f"{self.gateway.url}/{provider}{path}"
        return httpx.get(url, headers={**self.key(provider), **named})

    def key(self, provider: str) -> dict[str, str]:
        """Return the header that holds the sandbox's key."""
        key = self.sandbox.settings.api_key
        return {"x-api-key": key} if provider == "crun" else {"authorization": f"Bearer {key}"}

    def made(self, provider: str) -> int:
        """Return how many tasks the sandbox has made for a provider's account."""
        return len(self.sandbox.stores[provider].jobs())


@contextmanager
def running(
    ledger: Ledger,
    sandbox: Sandbox,
    *,
    wallet: str | None = "team",
    has_keys: bool = False,
    **settings: Any,
) -> Iterator[Running]:
    """Run a gateway over a ledger in front of a sandbox; `has_keys` lets it hold the keys."""
    upstreams = {
        name: Upstream(
            name,
            sandbox.url,
            Secret(sandbox.settings.key_of(name)) if has_keys else None,
        )
        for name in PROVIDERS
    }
    for name in PROVIDERS:
        # A key that is new becomes an account; here it was seen before.
        key = Secret(sandbox.settings.api_key)
        ledger.accounts.of_key(name, partial(key.fingerprint, provider=name))
    told: list[Exchange] = []
    given = GatewaySettings(upstreams, wallet=wallet, **settings)
    with Gateway(ledger, given, observers=[told.append]) as gateway:
        yield Running(gateway, sandbox, told)


def wallet_of(ledger: Ledger, provider: str, amount: str) -> str:
    """Make a wallet that pays at a provider, and return its name."""
    from kling_pricing import Money

    unit = UNITS[provider]
    ledger.wallets.create(provider, unit)
    ledger.wallets.fund(provider, Money.parse(f"{amount} {unit}"))
    return provider


__all__ = ["BODIES", "PATHS", "UNITS", "Running", "running", "usd", "wallet_of"]
