"""Door: the entrance to the inner gateway: checks the bridge and finds the provider."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from kling_ledger.agents.child.bridges import Bridges
from kling_ledger.agents.child.heads import BadHeadError, authority_of
from kling_ledger.agents.child.opened import HTTP_PORT, HTTPS_PORT, Directory, Opened
from kling_ledger.gateway.doors import DOORS, READS, Other
from kling_ledger.gateway.paths import PathError, alike

_KEYED: Final = (b"authorization", b"x-api-key")
_OURS: Final = b"x-kling-"
"""The prefix of headers that choose who pays: the run's options decide that."""

Headers = list[tuple[bytes, bytes]]


class Door:
    """The gateway, as the hosts of the providers.

    A connection is only for the address it was opened for. Callers with the run's token are served
    by `with_our_keys`, callers with their own key by `with_own_keys`.
    """

    def __init__(
        self,
        directory: Directory,
        bridges: Bridges,
        *,
        token: str,
        with_our_keys: ASGIApp,
        with_own_keys: ASGIApp,
    ) -> None:
        self._directory = directory
        self._bridges = bridges
        self._token = token.encode()
        self._with_our_keys = with_our_keys
        self._with_own_keys = with_own_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the gateway, below its provider's name."""
        if scope["type"] != "http":
            return
        opened = self._bridges.of(scope["client"])
        if opened is None:
            await _refusal(403, "this is only for the program of this run")(scope, receive, send)
            return
        provider = self._meant(opened, scope)
        if provider is None:
            told = " or ".join(opened.providers)
            await _refusal(421, f"this address is not known to be for {told}")(scope, receive, send)
            return
        is_ours = self._is_ours(scope["headers"])
        leaving = (_OURS, *_KEYED) if is_ours else (_OURS,)
        below = {
            **scope,
            "path": f"/{provider}{scope['path']}",
            "raw_path": b"/" + provider.encode() + scope["raw_path"],
            "headers": [one for one in scope["headers"] if not one[0].startswith(leaving)],
        }
        gateway = self._with_our_keys if is_ours else self._with_own_keys
        await gateway(below, receive, send)

    def _meant(self, opened: Opened, scope: Scope) -> str | None:
        """Return the provider of a request, None if it names another or is ambiguous."""
        if not scope["path"].startswith("/"):
            return None
        there = self._named(opened, scope["headers"])
        named = [one for one in there if one in opened.providers]
        # If several are at one address, the path decides; other paths go to that address anyway.
        claimed = [one for one in named if len(named) > 1 and _claims(one, scope)]
        return claimed[0] if len(claimed) == 1 else named[0] if named and not claimed else None

    def _named(self, opened: Opened, headers: Headers) -> Iterator[str]:
        """Yield the providers at the host that a request names itself."""
        port = HTTPS_PORT if opened.is_tls else HTTP_PORT
        hosts = [value for name, value in headers if name == b"host"]
        try:
            [origin] = (authority_of(one.decode(), default_port=port) for one in hosts)
        except (ValueError, BadHeadError):
            return
        there = self._directory.find(origin)
        yield from () if there is None else there.providers

    def _is_ours(self, headers: Headers) -> bool:
        secrets = (value.rpartition(b" ")[2] for name, value in headers if name in _KEYED)
        return any(hmac.compare_digest(secret, self._token) for secret in secrets)


def _claims(provider: str, scope: Scope) -> bool:
    """Whether a path is one of a provider's own, or nearly one."""
    door, query = DOORS[provider], scope["query_string"].decode("latin-1")
    try:
        way = door.way(scope["method"], scope["path"], query)
    except PathError:
        # Near-submissions are refused at every provider, polls only at their own.
        return scope["method"] in READS or door.is_nearly_a_submit(alike(scope["path"]))
    return not isinstance(way, Other)


def _refusal(status: int, problem: str) -> JSONResponse:
    told = {"code": "kling_ledger_exec", "message": f"kling-ledger exec: {problem}"}
    return JSONResponse({"error": told}, status)
