"""The registry: finds a provider's facts, connection and callback reader by its name.

A provider is a folder here, with `facts.py` and `dialect.py`. To add one: its bodies in a folder of
`kling_pricing.gateways` and its name in GATEWAYS there, a price book, a folder here, and an
independent implementation in the sandbox. Only the requested dialect is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from kling_ledger import config
from kling_ledger.errors import ConfigError
from kling_ledger.providers.facts import ProviderFacts
from kling_pricing.gateways import GATEWAYS

if TYPE_CHECKING:
    from kling_ledger.providers.base import Callback, Pacing, Provider
    from kling_ledger.providers.http_provider import Dialect

FACTS: Final[Mapping[str, ProviderFacts]] = {
    name: import_module(f"kling_ledger.providers.{name}.facts").FACTS for name in GATEWAYS
}
"""The providers that jobs can be submitted to, by name."""

CALL_TIMEOUT_S: Final = 60.0
"""How long one call may take unless the caller says otherwise."""


def provider_facts(name: str) -> ProviderFacts:
    """Return what is known of a provider. Raises ConfigError for an unknown name."""
    facts = FACTS.get(name)
    if facts is None:
        raise ConfigError(
            f"no jobs can be submitted to {name!r}", hint=f"providers: {', '.join(FACTS)}"
        )
    return facts


def connect(
    name: str,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    timeout_s: float = CALL_TIMEOUT_S,
    pacing: Pacing | None = None,
) -> Provider:
    """Return a provider that jobs can be submitted to; close it after use.

    Without a key, the provider's own variable is read; without an address, its own is used.
    Raises ConfigError for an unusable setting. Nothing is sent yet.
    """
    from kling_ledger.providers.http import checked_address

    facts = provider_facts(name)
    more: dict[str, Any] = {} if pacing is None else {"pacing": pacing}
    provider: Provider = _module(facts).connect(
        config.api_key(facts.key_variable, api_key),
        base_url=checked_address(config.base_url(base_url, default=facts.base_url, provider=name)),
        timeout_s=config.timeout_s(timeout_s),
        **more,
    )
    return provider


def wire(name: str) -> Dialect:
    """Return a plain HTTP connection to a provider, whose answers can be passed on."""
    module = import_module(f"kling_ledger.providers.{name}.wire") if name == "runapi" else None
    dialect: Dialect = (module or _module(provider_facts(name))).DIALECT
    return dialect


def read_callback(name: str, payload: bytes, *, now: datetime) -> Callback:
    """Read what a provider posted to a `callback_url`; neither key nor connection is needed.

    Raises CallbackError if the payload is not understood.
    """
    callback: Callback = _module(provider_facts(name)).read_callback(payload, now=now)
    return callback


def _module(facts: ProviderFacts) -> Any:
    return import_module(f"kling_ledger.providers.{facts.name}.dialect")
