"""SandboxSettings: how the sandbox's provider accounts and their jobs behave."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

from kling_ledger.callbacks.signatures import sign
from kling_ledger.errors import ConfigError
from kling_pricing.library import bundled_book
from kling_pricing.money import USD, Money, round_to

PROVIDERS: Final = ("runapi", "crun", "evolink", "uniall")
"""Whose dialects the sandbox speaks."""

CreateReply = Literal["sdk", "page"]
"""How RunAPI answers a create: as its client expects it, or as its page shows it.

`sdk` is `{"id": ..., "status": "pending"}`; `page` is `{"task_id": ..., "status": "pending",
"model": ...}`, which the published client cannot read. A script should cope with both.
"""

CREATE_REPLIES: Final[tuple[str, ...]] = get_args(CreateReply)

_BALANCE: Final = Money(Decimal(100), USD)
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_CRUN_KEY_LENGTH: Final = 32
_ANY_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """What one sandbox does; times are in seconds.

    `job_s` is how long a job takes; `balance` is what each provider's account holds, in US dollars
    or what they buy there. `misbehave` is a seed: jobs without markers draw their script from it.
    `callbacks_to` is a loopback address that every callback goes to, whatever address the job
    names: its host alone keeps the job's own path, and `{provider}` stands for the name. Without it
    only loopback addresses are called. `webhook_secret` signs callbacks as Standard Webhooks.
    `hang_s` is how long an answer that never comes is held; `link_s` how long a clip can be
    downloaded, by default as long as its provider documents.

    Raises ConfigError for what no sandbox can be.
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

    def __post_init__(self) -> None:
        _check_key(self.api_key)
        _check_seconds("a sandbox job cannot take", self.job_s)
        _check_seconds("an answer cannot be held back for", self.hang_s)
        _check_seconds("a link cannot live for", self.link_s or 0)
        _check_seconds("an answer cannot be asked again after", self.retry_after_s)
        if self.balance.unit != USD or self.balance.micro < 0:
            raise ConfigError(
                f"the sandbox's accounts cannot hold {self.balance}",
                hint='they are funded in USD: use 0 or more, as in "100 USD"',
            )
        if self.create_reply not in CREATE_REPLIES:
            raise ConfigError(
                f"there is no create reply called {self.create_reply}",
                hint=f"use one of: {', '.join(CREATE_REPLIES)}",
            )
        if self.webhook_secret is not None:
            # Signing is what tells whether it can sign.
            sign(self.webhook_secret, message_id="any", at=_ANY_TIME, body=b"")
        if self.callbacks_to is not None and not is_loopback(self.callbacks_to):
            raise ConfigError(
                f"the sandbox sends no callbacks to {self.callbacks_to}",
                hint="use an address on this machine, as in http://127.0.0.1:9000",
            )

    def key_of(self, provider: str) -> str:
        """Return the API key in the form that a provider's keys have."""
        if provider == "crun":
            return "ak_" + (self.api_key * _CRUN_KEY_LENGTH)[:_CRUN_KEY_LENGTH]
        return f"sk-{self.api_key}" if provider == "uniall" else self.api_key

    def funds_of(self, provider: str) -> Money:
        """Return what a provider's account holds at first, in the unit that it charges in."""
        book = bundled_book(provider)
        if book.unit == USD:
            return self.balance
        offer = next(iter(book.offers.values()))[-1]
        amount = self.balance.amount * offer.rate.conversions[-1].units_per_usd
        return Money(round_to(amount), book.unit)

    def callback_to(self, provider: str, named: object) -> str | None:
        """Return where a job's callbacks go, None for nowhere; `named` is what its body says.

        UniAll documents no address in a body: its jobs have callbacks where `callbacks_to` is set.
        """
        address = named if isinstance(named, str) and named else None
        if self.callbacks_to is None:
            return address if address is not None and is_loopback(address) else None
        if address is None and provider != "uniall":
            return None
        return _redirected(address or "", self.callbacks_to.replace("{provider}", provider))


def is_loopback(address: str) -> bool:
    """Whether an address is http or https on this machine."""
    if not address.isascii() or not address.isprintable():
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.hostname in _LOOPBACK


def _redirected(address: str, to: str) -> str:
    """Return the address to call instead: another host, and its path where it has one."""
    aim, named = urlsplit(to), urlsplit(address)
    if aim.path.strip("/") or aim.query:
        return to
    return urlunsplit((aim.scheme, aim.netloc, named.path or "/", named.query, ""))


def _check_key(key: str) -> None:
    if not key or not all("!" <= character <= "~" for character in key):
        raise ConfigError(
            "the sandbox's API key is empty or holds a space or an unusual character",
            hint="use one word of plain characters, such as sandbox-key",
        )


def _check_seconds(problem: str, seconds: float) -> None:
    if not math.isfinite(seconds) or seconds < 0:
        raise ConfigError(f"{problem} {seconds} seconds", hint="use 0 or more seconds")
