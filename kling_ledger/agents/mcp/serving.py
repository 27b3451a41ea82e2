"""Serving: an MCP server over standard input and output, or over HTTP on this machine."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
import uvicorn
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from kling_ledger.errors import ConfigError
from kling_ledger.gateway.guard import HERE
from kling_ledger.providers.callback_rules import is_loopback_host
from kling_ledger.serving import address_of, bind

PATH: Final = "/mcp"
"""The path of MCP, below the server's address."""

_LARGEST: Final = 1024 * 1024
_STOP_S: Final = 5
_MOST_CONNECTIONS: Final = 256
_MOST_SESSIONS: Final = 256

LetsIn = Callable[[str], bool]
"""Returns whether a caller's token is accepted."""


def serve_stdio(server: Server[dict[str, Any]]) -> None:
    """Serve one client over standard input and output until it closes them."""

    async def serve() -> None:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    anyio.run(serve)


def serve_http(
    server: Server[dict[str, Any]],
    *,
    host: str,
    port: int,
    lets_in: LetsIn | None,
    hosts: Sequence[str] = (),
    announce: Callable[[str], None],
) -> None:
    """Serve over streamable HTTP until Ctrl-C; `announce` gets the address.

    `hosts` are further names that callers use, besides this machine's own and `host`. Raises
    ConfigError if the address is not available, and for other machines without a token.
    """
    if lets_in is None and not is_loopback_host(host):
        raise ConfigError(
            f"{host} is reachable from other machines: every caller there needs a token",
            hint="create one with kling-ledger token create, and give it with --token",
        )
    bound = bind(host, port, problem="the MCP server cannot listen")
    app: ASGIApp = server.streamable_http_app(
        streamable_http_path=PATH,
        host=host,
        max_request_body_size=_LARGEST,
        max_sessions=_MOST_SESSIONS,
        transport_security=_security([*HERE, _bracketed(host), *hosts]),
    )
    config = uvicorn.Config(
        app if lets_in is None else _Guarded(app, lets_in),
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_STOP_S,
    )
    announce(f"{address_of(bound)}{PATH}")
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[bound])


def _security(names: Sequence[str]) -> TransportSecuritySettings:
    """Return which hosts and origins are answered: pages of other sites must not reach us."""
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[form for name in names for form in (name, f"{name}:*")],
        allowed_origins=[form for name in names for form in (f"http://{name}", f"http://{name}:*")],
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _Guarded:
    """Admits only callers with a token, and tells others no more than that."""

    def __init__(self, app: ASGIApp, lets_in: LetsIn) -> None:
        self._app = app
        self._lets_in = lets_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and not await self._is_known(Headers(scope=scope)):
            refused = {"error": "the token is missing, or is not valid here"}
            answer = JSONResponse(refused, 401, {"WWW-Authenticate": "Bearer"})
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _is_known(self, headers: Headers) -> bool:
        written = headers.getlist("authorization")
        if len(written) != 1:
            return False
        scheme, _, secret = written[0].partition(" ")
        if not hmac.compare_digest(scheme.lower().encode(), b"bearer"):
            return False
        return await anyio.to_thread.run_sync(self._lets_in, secret.strip())
