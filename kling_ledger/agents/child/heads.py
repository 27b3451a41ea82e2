"""Heads: the request line and headers of a request to a proxy, parsed strictly and rewritten."""

from __future__ import annotations

import re
from asyncio import IncompleteReadError, LimitOverrunError, StreamReader
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import h11

from kling_ledger.agents.child.opened import HTTP_PORT, HTTPS_PORT, Origin, host_of

LONGEST_HEAD: Final = 32 * 1024
"""The longest head in bytes; a longer one is refused."""

_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\\%\s]+)(?::([0-9]{1,5}))?")
_LARGEST_PORT: Final = 65_535
_HOP_BY_HOP: Final = (b"proxy-authorization", b"proxy-connection", b"host")


class BadHeadError(Exception):
    """A head that is invalid or ambiguous. `status` is the HTTP status."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """The request line and the headers, as written."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]

    def values(self, name: bytes) -> Iterator[bytes]:
        """Yield each value of a header; `name` is lower case."""
        return (value for one, value in self.headers if one.lower() == name)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The target of a request with a full address."""

    origin: Origin
    is_tls: bool
    authority: str
    path: str


@dataclass(frozen=True, slots=True)
class Outer:
    """The proxy that this machine itself uses; `authorization` is its credentials."""

    host: str
    port: int
    authorization: bytes | None


async def read_head(reader: StreamReader) -> Head | None:
    """Read the head of a request, None if the connection was closed. Raises BadHeadError."""
    try:
        written = await reader.readuntil(b"\r\n\r\n")
    except IncompleteReadError as error:
        if error.partial:
            raise BadHeadError(400, "the request ends within its head") from None
        return None
    except LimitOverrunError:
        raise BadHeadError(431, f"a head has at most {LONGEST_HEAD:,} bytes") from None
    return _parsed(written)


def _parsed(written: bytes) -> Head:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
    try:
        connection.receive_data(written)
        request = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise BadHeadError(400, str(error)) from None
    if not isinstance(request, h11.Request):
        raise BadHeadError(400, "this is not a request")
    return Head(
        request.method.decode(),
        request.target.decode("latin-1"),
        tuple(request.headers.raw_items()),
    )


def authority_of(written: str, *, default_port: int | None = None) -> Origin:
    """Read `host:port`; BadHeadError for anything else, such as a user name before the host."""
    found = _AUTHORITY.fullmatch(written)
    host = host_of(found[1]) if found else None
    port = int(found[2]) if found and found[2] else default_port
    if host is None or port is None or not 0 < port <= _LARGEST_PORT:
        raise BadHeadError(400, "the address is not a host and port")
    return Origin(host, port)


def wanted_of(target: str) -> Wanted:
    """Read the full address of a request that is not a CONNECT. Raises BadHeadError."""
    try:
        parts = urlsplit(target)
    except ValueError:
        raise BadHeadError(400, "the address cannot be read") from None
    if parts.scheme not in {"http", "https"}:
        raise BadHeadError(400, "this is a proxy: request a full address, http://...")
    is_tls = parts.scheme == "https"
    origin = authority_of(parts.netloc, default_port=HTTPS_PORT if is_tls else HTTP_PORT)
    # Cut from the text itself, because urlsplit would drop parts of the path.
    path = target.partition("://")[2].removeprefix(parts.netloc)
    return Wanted(origin, is_tls, parts.netloc, path if path[:1] == "/" else f"/{path}")


def written_anew(head: Head, wanted: Wanted, *, through: Outer | None = None) -> bytes:
    """Write a head for the target server, or for the proxy in front of it: one request per
    connection.

    A server gets only the path.
    """
    target = wanted.path if through is None else head.target
    lines = [
        f"{head.method} {target} HTTP/1.1".encode("latin-1"),
        b"host: " + wanted.authority.encode("latin-1"),
    ]
    is_upgrade = any(head.values(b"upgrade"))
    dropped = _HOP_BY_HOP if is_upgrade else (*_HOP_BY_HOP, b"connection", b"keep-alive")
    kept = ((name, value) for name, value in head.headers if name.lower() not in dropped)
    lines += [b"%b: %b" % (name, value) for name, value in kept]
    if through is not None and through.authorization is not None:
        lines.append(b"proxy-authorization: " + through.authorization)
    if not is_upgrade:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", b""])


def basic(user: str, password: str) -> bytes:
    """Return the value of a Proxy-Authorization header for a user and a password."""
    return b"Basic " + b64encode(f"{user}:{password}".encode())
