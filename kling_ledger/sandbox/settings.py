"""SandboxSettings: how the sandbox's provider accounts and their jobs behave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, get_args

from kling_ledger.errors import ConfigError
from kling_ledger.sandbox.addresses import is_loopback, redirected
from kling_ledger.sandbox.registry import GATEWAYS
from kling_ledger.sandbox.signing import signing_key
from kling_ledger.sandbox.tariff import Price, Sold, Tariff
from kling_pricing.money import USD, Money

CreateReply = Literal["sdk", "page"]
"""How RunAPI answers a create: as its client expects it, or as its page shows it.

`sdk` is `{"id": ..., "status": "pending"}`; `page` is `{"task_id": ..., "status": "pending",
"model": ...}`, which the published client cannot read. A script should cope with both.
"""

CREATE_REPLIES: Final[tuple[str, ...]] = get_args(CreateReply)

_BALANCE: Final = Money(Decimal(100), USD)


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """What one sandbox does; times are in seconds.

    `job_s` is how long a job takes; `balance` is what each provider's account holds, in US dollars
    or what they buy there. `misbehave` is a seed: jobs without markers draw their script from it.
    `callbacks_to` is a loopback address for every callback, whatever address the job names: without
    a path it keeps the job's own path, and `{provider}` stands for the name. Without
    `callbacks_to`, only loopback addresses are called. `webhook_secret` signs callbacks as Standard
    Webhooks. `hang_s` is how long an answer that never comes is held; `link_s` how long a clip can
    be downloaded, by default as long as its provider documents. `prices` override the tariffs of
    the providers that they name, for your own contract's prices or for what has no published price.

    Raises ConfigError for an invalid setting.
    """

    api_key: str = "sandbox-key"
    job_s: float = 2.0
    balance: Money = _BALANCE
    create_reply: CreateReply = "sdk"
    misbehave: str | None = None
    callbacks_to: str | None = None
    webhook_secret: str | None = None
    hang_s: float = 30.0
    retry_after_s: int = 1
    callback_retries_s: tuple[float, ...] = (1.0, 2.0, 4.0)
    link_s: float | None = None
    prices: Mapping[str, Mapping[Sold, Price]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_key(self.api_key)
        _check_seconds("a sandbox job cannot take", self.job_s)
        _check_seconds("an answer cannot be delayed for", self.hang_s)
        _check_seconds("a link cannot be valid for", self.link_s or 0)
        _check_seconds("an answer cannot be asked again after", self.retry_after_s)
        if self.balance.unit != USD or self.balance.micro < 0:
            raise ConfigError(
                f"the sandbox's accounts cannot hold {self.balance}",
                hint='they are funded in USD: use 0 or more, as in "100 USD"',
            )
        if self.create_reply not in CREATE_REPLIES:
            raise ConfigError(
                f"unknown create reply {self.create_reply}",
                hint=f"use one of: {', '.join(CREATE_REPLIES)}",
            )
        if self.webhook_secret is not None:
            signing_key(self.webhook_secret)
        if self.callbacks_to is not None and not is_loopback(self.callbacks_to):
            raise ConfigError(
                f"the sandbox sends no callbacks to {self.callbacks_to}",
                hint="use an address on this machine, as in http://127.0.0.1:9000",
            )

    def key_of(self, provider: str) -> str:
        """Return the API key in the provider's form."""
        return GATEWAYS[provider].key_of(self.api_key)

    def tariff_of(self, provider: str) -> Tariff:
        """Return what a provider charges: its own tariff, overridden by the settings' prices."""
        return GATEWAYS[provider].tariff.extended(self.prices.get(provider, {}))

    def funds_of(self, provider: str) -> Money:
        """Return what a provider's account holds at first, in its unit."""
        return GATEWAYS[provider].tariff.bought(self.balance)

    def callback_to(self, provider: str, named: object) -> str | None:
        """Return where a job's callbacks go, None for nowhere; `named` is the address in its body.

        If a provider's bodies cannot name an address, every job has callbacks once `callbacks_to`
        is set: there is no other way to request them.
        """
        address = named if isinstance(named, str) and named else None
        if self.callbacks_to is None:
            return address if address is not None and is_loopback(address) else None
        if address is None and GATEWAYS[provider].names_callback:
            return None
        return redirected(address or "", self.callbacks_to.replace("{provider}", provider))


def _check_key(key: str) -> None:
    if not key or not all("!" <= character <= "~" for character in key):
        raise ConfigError(
            "the sandbox's API key is empty or contains a space or an unusual character",
            hint="use one word of plain characters, such as sandbox-key",
        )


def _check_seconds(problem: str, seconds: float) -> None:
    if not math.isfinite(seconds) or seconds < 0:
        raise ConfigError(f"{problem} {seconds} seconds", hint="use 0 or more seconds")
