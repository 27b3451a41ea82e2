"""Onward: forwards all other traffic directly, or through this machine's proxy."""

from __future__ import annotations

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from kling_ledger.agents.child.heads import LONGEST_HEAD, Outer, basic
from kling_ledger.agents.child.opened import HTTP_PORT, Origin
from kling_ledger.config import set_variables
from kling_ledger.errors import ConfigError

CONNECT_S: Final = 30.0
"""How long connecting may take, in seconds."""

Streams = tuple[StreamReader, StreamWriter]


class NoWayError(Exception):
    """The target of a request cannot be reached."""


@dataclass(frozen=True, slots=True)
class Onward:
    """How to reach any address, according to our own environment."""

    plain: Outer | None = None
    secure: Outer | None = None
    exceptions: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Onward:
        """Read the proxies of an environment. Raises ConfigError if one is not an HTTP proxy."""
        return cls(
            _outer(("HTTP_PROXY", "ALL_PROXY"), environ),
            _outer(("HTTPS_PROXY", "ALL_PROXY"), environ),
            next(iter(set_variables(("NO_PROXY",), environ).values()), ""),
        )

    async def tunnel(self, origin: Origin) -> Streams:
        """Open a connection to an origin, byte for byte. Raises NoWayError."""
        outer = self._unless_excepted(self.secure, origin)
        if outer is None:
            return await open_streams(origin.host, origin.port)
        reader, writer = await open_streams(outer.host, outer.port)
        try:
            await _ask_for_tunnel(outer, origin, reader, writer)
        except BaseException:
            writer.close()
            raise
        return reader, writer

    async def forward(self, origin: Origin, *, is_tls: bool) -> tuple[Outer | None, Streams]:
        """Open a connection for one request; return it with the proxy it goes to, None for none.

        Raises NoWayError.
        """
        if is_tls:
            return None, await self.tunnel(origin)
        outer = self._unless_excepted(self.plain, origin)
        there = origin if outer is None else outer
        return outer, await open_streams(there.host, there.port)

    def _unless_excepted(self, outer: Outer | None, origin: Origin) -> Outer | None:
        is_excepted = proxy_bypass_environment(origin.host, {"no": self.exceptions})
        return None if is_excepted else outer


async def open_streams(
    host: str, port: int, *, tls: ssl.SSLContext | None = None, tls_name: str | None = None
) -> Streams:
    """Connect to a server, over TLS if a context is given. Raises NoWayError."""
    try:
        async with asyncio.timeout(CONNECT_S):
            return await asyncio.open_connection(
                host, port, ssl=tls, server_hostname=tls_name, limit=LONGEST_HEAD
            )
    except TimeoutError:
        raise NoWayError("the connection timed out") from None
    except (OSError, UnicodeError) as error:
        raise NoWayError(getattr(error, "strerror", None) or type(error).__name__) from None


async def _ask_for_tunnel(
    outer: Outer, origin: Origin, reader: StreamReader, writer: StreamWriter
) -> None:
    asked = f"CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n".encode()
    if outer.authorization is not None:
        asked += b"Proxy-Authorization: " + outer.authorization + b"\r\n"
    writer.write(asked + b"\r\n")
    try:
        async with asyncio.timeout(CONNECT_S):
            answer = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise NoWayError("this machine's proxy did not answer") from None
    status = answer.partition(b"\r\n")[0].split()[1:2]
    if status != [b"200"]:
        raise NoWayError("this machine's proxy refused the connection")


def _outer(names: tuple[str, ...], environ: Mapping[str, str]) -> Outer | None:
    for variable, address in set_variables(names, environ).items():
        try:
            parts = urlsplit(address if "://" in address else f"http://{address}")
            host, port = parts.hostname, parts.port or HTTP_PORT
        except ValueError:
            raise _unusable(variable) from None
        if parts.scheme != "http" or not host:
            raise _unusable(variable)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return Outer(host, port, basic(user, password) if parts.username else None)
    return None


def _unusable(variable: str) -> ConfigError:
    return ConfigError(
        f"{variable} names a proxy that cannot be used",
        hint="set it to an http:// proxy, or unset it",
    )
