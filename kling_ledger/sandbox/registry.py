"""The registry: every gateway that the sandbox plays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kling_ledger.sandbox import crun, evolink, runapi, uniall
from kling_ledger.sandbox.gateway import Gateway

GATEWAYS: Final[Mapping[str, Gateway]] = {
    gateway.name: gateway
    for gateway in (runapi.GATEWAY, crun.GATEWAY, evolink.GATEWAY, uniall.GATEWAY)
}

PROVIDERS: Final = tuple(GATEWAYS)
"""The providers whose dialects the sandbox speaks."""
