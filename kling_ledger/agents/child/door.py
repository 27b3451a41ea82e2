"""Door: what stands before the gateway, inside: who came over a bridge, to which provider, with
whose key.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any, Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from kling_ledger.agents.child.bridges import Bridges
from kling_ledger.agents.child.environment import Keys
from kling_ledger.agents.child.heads import BadHeadError, authority_of
from kling_ledger.agents.child.opened import HTTPS_PORT, Directory

_KEYED: Final = (b"authorization", b"x-api-key")
_OURS: Final = b"x-kling-"
"""How the headers begin that say who pays: a run's options have said it already."""

Headers = list[tuple[bytes, bytes]]


class Door:
    """The gateway, as the hosts of the providers.

    A connection is for the provider that it was opened for, whatever its requests say. The token of
    the run is taken for the provider's key that it stands for; any other key passes through.
    """

    def __init__(
        self, gateway: ASGIApp, *, directory: Directory, bridges: Bridges, keys: Keys
    ) -> None:
        self._gateway = gateway
        self._directory = directory
        self._bridges = bridges
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the gateway, below the name of its provider."""
        if scope["type"] != "http":
            return
        opened = self._bridges.of(scope["client"])
        if opened is None:
            await _refusal(403, "this is for the program of the run alone")(scope, receive, send)
            return
        [provider] = opened.providers
        if not scope["path"].startswith("/") or not self._is_meant(provider, scope["headers"]):
            await _refusal(421, f"this connection is to {provider}")(scope, receive, send)
            return
        await self._gateway(self._below(provider, scope), receive, send)

    def _is_meant(self, provider: str, headers: Headers) -> bool:
        """Whether a request says itself that it is for the provider that the connection is to."""
        hosts = [value for name, value in headers if name == b"host"]
        try:
            [origin] = (authority_of(one.decode(), default_port=HTTPS_PORT) for one in hosts)
        except (ValueError, BadHeadError):
            return False
        opened = self._directory.find(origin)
        return opened is not None and provider in opened.providers

    def _below(self, provider: str, scope: Scope) -> dict[str, Any]:
        return {
            **scope,
            "path": f"/{provider}{scope['path']}",
            "raw_path": b"/" + provider.encode() + scope["raw_path"],
            "headers": list(self._with_key(provider, scope["headers"])),
        }

    def _with_key(self, provider: str, headers: Headers) -> Iterator[tuple[bytes, bytes]]:
        key = self._keys.by_provider.get(provider, "").encode()
        for name, value in headers:
            if name.startswith(_OURS):
                continue
            scheme, space, secret = value.rpartition(b" ")
            is_token = name in _KEYED and hmac.compare_digest(secret, self._keys.token.encode())
            yield name, scheme + space + key if is_token else value


def _refusal(status: int, problem: str) -> JSONResponse:
    told = {"code": "kling_ledger_exec", "message": f"kling-ledger exec: {problem}"}
    return JSONResponse({"error": told}, status)
