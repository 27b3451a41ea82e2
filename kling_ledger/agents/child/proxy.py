"""Proxy: the proxy of one child process: opened addresses go to the inner door, others onward."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import ssl
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Final

from kling_ledger.agents.child.bridges import Bridges
from kling_ledger.agents.child.heads import (
    LONGEST_HEAD,
    BadHeadError,
    Head,
    Wanted,
    authority_of,
    basic,
    read_head,
    wanted_of,
    written_anew,
)
from kling_ledger.agents.child.hello import is_whole, server_name
from kling_ledger.agents.child.onward import NoWayError, Onward, Streams, open_streams
from kling_ledger.agents.child.opened import HTTPS_PORT, Directory, Opened, Origin, host_of
from kling_ledger.serving import bind

USER: Final = "run"
"""The user name of the run's credentials."""

_PIECE: Final = 64 * 1024
_MOST_HEADS: Final = 256
"""The most connections without a complete head; a further one is closed."""

_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


class NotLetThroughError(Exception):
    """A request that is not allowed here."""


@dataclass(frozen=True, slots=True)
class Inside:
    """The inner door: its address, the TLS context that trusts it, and its name."""

    host: str
    port: int
    trust: ssl.SSLContext
    name: str

    async def open(self, *, speaks_tls: bool) -> Streams:
        """Connect to the door; for clients without TLS, we use TLS ourselves."""
        if speaks_tls:
            return await open_streams(self.host, self.port)
        return await open_streams(self.host, self.port, tls=self.trust, tls_name=self.name)


@dataclass
class Proxy:
    """Serves the child's connections.

    `secret` is the password of the run, `head_s` the time limit of a request's head.
    """

    directory: Directory
    inside: Inside
    bridges: Bridges
    onward: Onward
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    head_s: float = 10.0
    _heads: int = 0

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection until it ends."""
        try:
            await self._answer(reader, writer)
        except BadHeadError as error:
            await _refuse(writer, error.status, str(error))
        except NotLetThroughError as error:
            await _refuse(writer, HTTPStatus.FORBIDDEN, str(error))
        except NoWayError as error:
            await _refuse(writer, HTTPStatus.BAD_GATEWAY, str(error))
        except OSError:
            pass  # One side closed the connection, which ends it for both.
        finally:
            writer.close()

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        head = await self._head(reader)
        if head is None:
            return
        if not self._is_child(head):
            await _refuse(writer, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, "not part of this run")
        elif head.method == "CONNECT":
            await self._connect(authority_of(head.target), reader, writer)
        else:
            await self._forward(head, wanted_of(head.target), reader, writer)

    async def _head(self, reader: StreamReader) -> Head | None:
        """Read the head within its time limit; not too many at once."""
        if self._heads >= _MOST_HEADS:
            return None
        self._heads += 1
        try:
            async with asyncio.timeout(self.head_s):
                return await read_head(reader)
        except TimeoutError:
            raise BadHeadError(HTTPStatus.REQUEST_TIMEOUT, "the request came too slowly") from None
        finally:
            self._heads -= 1

    def _is_child(self, head: Head) -> bool:
        told = next(head.values(b"proxy-authorization"), b"")
        return hmac.compare_digest(told, basic(USER, self.secret))

    async def _connect(self, origin: Origin, reader: StreamReader, writer: StreamWriter) -> None:
        opened = await self._opened(origin)
        if opened is None:
            far = await self.onward.tunnel(origin)
            try:
                writer.write(_ESTABLISHED)
                await self._tunnel((reader, writer), far)
            finally:
                far[1].close()
        else:
            async with self._bridge(opened, speaks_tls=opened.is_tls) as inside:
                writer.write(_ESTABLISHED)
                await _join((reader, writer), inside)

    async def _tunnel(self, child: Streams, far: Streams) -> None:
        """Carry bytes both ways, unless the child's first bytes name an opened host.

        A client that connects to an IP address names its host only in these bytes.
        """
        back = asyncio.ensure_future(_carry(far[0], child[1]))
        try:
            first = await _first_bytes(child[0])
            opened = self._by_name(server_name(first))
            if opened is None:
                far[1].write(first)
                await asyncio.gather(_carry(child[0], far[1]), back)
                return
        finally:
            back.cancel()
        far[1].close()
        async with self._bridge(opened, speaks_tls=True) as inside:
            inside[1].write(first)
            await _join(child, inside)

    async def _forward(
        self, head: Head, wanted: Wanted, reader: StreamReader, writer: StreamWriter
    ) -> None:
        opened = await self._opened(wanted.origin)
        if opened is None:
            outer, far = await self.onward.forward(wanted.origin, is_tls=wanted.is_tls)
            try:
                if wanted.is_tls:
                    await self._over_tls(far, wanted.origin)
                far[1].write(written_anew(head, wanted, through=outer))
                await _join((reader, writer), far)
            finally:
                far[1].close()
        else:
            async with self._bridge(opened, speaks_tls=False) as inside:
                inside[1].write(written_anew(head, wanted))
                await _join((reader, writer), inside)

    async def _over_tls(self, far: Streams, origin: Origin) -> None:
        try:
            await far[1].start_tls(self._trust, server_hostname=origin.host)
        except OSError as error:
            raise NoWayError(f"{origin} is not trusted: {error}") from None

    @asynccontextmanager
    async def _bridge(self, opened: Opened, *, speaks_tls: bool) -> AsyncIterator[Streams]:
        """Connect to the inner door, which finds the target by our local port."""
        reader, writer = await self.inside.open(speaks_tls=speaks_tls)
        try:
            with self.bridges.known(writer.get_extra_info("sockname")[:2], opened):
                yield reader, writer
        finally:
            writer.close()

    async def _opened(self, origin: Origin) -> Opened | None:
        """Return the opened address of a request's target, None if there is none.

        Other ports of a provider's own name are refused: they may accept jobs too.
        """
        opened = self.directory.find(origin) or await self._by_address(origin)
        if opened is None and self.directory.is_own_name(origin.host):
            raise NotLetThroughError(f"{origin} is not guarded, so it is blocked: use port 443")
        return opened

    async def _by_address(self, origin: Origin) -> Opened | None:
        """Return what is opened at an address that a name resolves to."""
        if origin.port not in self.directory.ports_of_addresses:
            return None
        try:
            found = await asyncio.get_running_loop().getaddrinfo(origin.host, origin.port)
        except (OSError, UnicodeError):
            return None
        origins = (Origin(host_of(str(one[4][0])) or "", origin.port) for one in found)
        return next(filter(None, map(self.directory.find, origins)), None)

    def _by_name(self, name: str | None) -> Opened | None:
        host = host_of(name or "")
        return None if host is None else self.directory.find(Origin(host, HTTPS_PORT))

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """Return the certificates that we trust, for a client that leaves TLS to us."""
        return ssl.create_default_context()


async def _first_bytes(reader: StreamReader) -> bytes:
    """Read enough of a client's first bytes to find the host name."""
    first = await reader.read(_PIECE)
    while not is_whole(first):
        more = await reader.read(_PIECE)
        if not more:
            break
        first += more
    return first


async def _join(one: Streams, other: Streams) -> None:
    """Carry bytes both ways until both have ended, or one of them breaks."""
    ways = [
        asyncio.ensure_future(_carry(one[0], other[1])),
        asyncio.ensure_future(_carry(other[0], one[1])),
    ]
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()


async def _carry(reader: StreamReader, writer: StreamWriter) -> None:
    """Carry bytes one way to their end, and pass the end on if possible."""
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof() and not writer.is_closing():
        writer.write_eof()


async def _refuse(writer: StreamWriter, status: int, problem: str) -> None:
    """Refuse with an HTTP error and close the connection."""
    told = {"error": {"code": "kling_ledger_exec", "message": f"kling-ledger exec: {problem}"}}
    body = json.dumps(told).encode()
    wants = b'proxy-authenticate: Basic realm="kling-ledger exec"\r\n' if status == 407 else b""
    writer.write(
        b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
        + wants
        + b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        + b"connection: close\r\n\r\n"
        + body
    )
    with suppress(OSError):
        await writer.drain()


class Listening:
    """A proxy that listens on loopback, on its own thread, until `close`.

    `url` contains the run's credentials. Raises PortError if it cannot listen.
    """

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._bound = bind("127.0.0.1", 0, problem="the proxy cannot listen")
        self.port: int = self._bound.getsockname()[1]
        self.url = f"http://{USER}:{proxy.secret}@127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._connections: dict[asyncio.Task[None], StreamWriter] = {}
        self._thread = threading.Thread(target=self._run, name="kling proxy", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and close every connection."""
        with suppress(RuntimeError):  # It has stopped by itself.
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._taken, sock=self._bound, limit=LONGEST_HEAD)
        await self._stop.wait()
        server.close()
        for task, writer in self._connections.items():
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await asyncio.sleep(0)

    async def _taken(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        self._connections[task] = writer
        try:
            # Only `close` cancels: the connection is over, with nothing to report.
            with suppress(asyncio.CancelledError):
                await self._proxy.serve(reader, writer)
        finally:
            del self._connections[task]
