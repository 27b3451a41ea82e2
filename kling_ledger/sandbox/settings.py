"""SandboxSettings: how the sandbox's provider account and its jobs behave."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, get_args

from kling_ledger.errors import ConfigError
from kling_pricing.money import USD, Money

CreateReply = Literal["sdk", "page"]
"""How a create is answered: as RunAPI's client expects it, or as RunAPI's page shows it.

`sdk` is `{"id": ..., "status": "pending"}`; `page` is `{"task_id": ..., "status": "pending",
"model": ...}`, which the published client cannot read. A script should cope with both.
"""

CREATE_REPLIES: Final[tuple[str, ...]] = get_args(CreateReply)

_BALANCE: Final = Money(Decimal(100), USD)


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """What one sandbox does; `job_s` is how long a job takes, `balance` what its account holds.

    Raises ConfigError for a key that no header can carry, a time that is no time, a balance
    that is negative or not in USD, and an unknown reply.
    """

    api_key: str = "sandbox-key"
    job_s: float = 2.0
    balance: Money = _BALANCE
    create_reply: CreateReply = "sdk"

    def __post_init__(self) -> None:
        if not self.api_key or not all("!" <= character <= "~" for character in self.api_key):
            raise ConfigError(
                "the sandbox's API key is empty or holds a space or an unusual character",
                hint="use one word of plain characters, such as sandbox-key",
            )
        if not math.isfinite(self.job_s) or self.job_s < 0:
            raise ConfigError(
                f"a sandbox job cannot take {self.job_s} seconds", hint="use 0 or more seconds"
            )
        if self.balance.unit != USD or self.balance.micro < 0:
            raise ConfigError(
                f"the sandbox's account cannot hold {self.balance}",
                hint='RunAPI charges in USD: use 0 or more, as in "100 USD"',
            )
        if self.create_reply not in CREATE_REPLIES:
            raise ConfigError(
                f"there is no create reply called {self.create_reply}",
                hint=f"use one of: {', '.join(CREATE_REPLIES)}",
            )
