"""Bounds: limits a call's time and its reply's size, whatever the other side does.

The time-outs of httpx bound each wait for bytes, not the whole call: headers that drip in, or
endless `100 Continue`, would keep it waiting. Here one deadline covers everything from the
connection to the last byte of the reply, and a compressed reply is limited by its unpacked size.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import httpcore
import httpx

LARGEST_REPLY: Final = 4 * 1024 * 1024
"""The most bytes of a reply that are read; a task with its links has a few thousand."""

_PIECE: Final = 16 * 1024
_MOST_ENCODINGS: Final = 2
_GZIP: Final = zlib.MAX_WBITS + 16
_FORMATS: Final = {
    "gzip": (_GZIP,),
    "x-gzip": (_GZIP,),
    # Both formats are sent under this name: with the zlib header, as it should be, and without.
    "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),
}
_DESCRIBE_BODY: Final = {"content-encoding", "content-length", "transfer-encoding"}


def bound(client: httpx.Client, timeout_s: float) -> httpx.Client:
    """Make every call of a client end within a time-out and read no endless reply.

    Only the wait for a free connection is unbounded: many threads may share a client, and each gets
    its turn because calls end.
    """
    client.headers["Accept-Encoding"] = "identity"
    client.timeout = httpx.Timeout(timeout_s, pool=None)
    # The client has no public way to wrap the transports it chose for proxies.
    client._transport = _bounded(client._transport)
    client._mounts = {
        pattern: None if transport is None else _bounded(transport)
        for pattern, transport in client._mounts.items()
    }
    return client


def _bounded(transport: httpx.BaseTransport) -> httpx.BaseTransport:
    clock = _Clock()
    if isinstance(transport, httpx.HTTPTransport):
        pool = transport._pool
        pool._network_backend = _Network(pool._network_backend, clock)
    return _Bounded(transport, clock)


class _Clock(threading.local):
    """The time that a thread's call has left, starting when it first uses the network."""

    def __init__(self) -> None:
        self._timeout_s: float | None = None
        self._end_at: float | None = None

    def begin(self, timeout_s: float | None) -> None:
        self._timeout_s, self._end_at = timeout_s, None

    def left_s(self, wanted_s: float | None, late: type[httpcore.TimeoutException]) -> float | None:
        """Return how long to wait for the network at most; raise `late` if no time is left."""
        if self._timeout_s is None:
            return wanted_s
        now = time.monotonic()
        if self._end_at is None:
            self._end_at = now + self._timeout_s
        left_s = self._end_at - now
        if left_s <= 0:
            raise late("the call took too long")
        return left_s if wanted_s is None else min(wanted_s, left_s)


@dataclass(frozen=True, slots=True)
class _Bounded(httpx.BaseTransport):
    """A transport that reads whole replies within the time-out that the request asks for."""

    inner: httpx.BaseTransport
    clock: _Clock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.clock.begin(request.extensions.get("timeout", {}).get("read"))
        try:
            reply = self.inner.handle_request(request)
            try:
                content = _whole(reply)
            finally:
                reply.close()
        finally:
            self.clock.begin(None)
        encodings = reply.headers.get("Content-Encoding", "")
        headers = [pair for pair in reply.headers.multi_items() if pair[0] not in _DESCRIBE_BODY]
        return httpx.Response(
            reply.status_code,
            headers=headers,
            content=unpacked(content, encodings),
            extensions=reply.extensions,
        )

    def close(self) -> None:
        self.inner.close()


def _whole(reply: httpx.Response) -> bytes:
    content = bytearray()
    for chunk in reply.iter_raw():
        content += chunk
        if len(content) > LARGEST_REPLY:
            raise _too_large()
    return bytes(content)


def unpacked(content: bytes, encodings: str) -> bytes:
    """Return the content of a compressed reply. Raises httpx.RemoteProtocolError."""
    names = [name for part in encodings.split(",") if (name := part.strip().lower())]
    names = [name for name in names if name != "identity"]
    if content and len(names) > _MOST_ENCODINGS:
        raise httpx.RemoteProtocolError("a reply with several layers of compression")
    for name in reversed(names):
        content = _inflated(content, name) if content else content
    return content


def _inflated(content: bytes, name: str) -> bytes:
    for format_ in _FORMATS.get(name, ()):
        inflater = zlib.decompressobj(format_)
        try:
            inflated = inflater.decompress(content, LARGEST_REPLY + 1)
        except zlib.error:
            continue
        if len(inflated) > LARGEST_REPLY:
            raise _too_large()
        if inflater.eof:
            return inflated
    raise httpx.RemoteProtocolError(f"a reply with invalid {name!r} compression")


def _too_large() -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(f"a reply of more than {LARGEST_REPLY} bytes")


@dataclass(frozen=True, slots=True)
class _Network(httpcore.NetworkBackend):
    """The network as httpcore uses it, limited to the time that a call has left."""

    inner: httpcore.NetworkBackend
    clock: _Clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = self.clock.left_s(timeout, httpcore.ConnectTimeout)
        stream = self.inner.connect_tcp(host, port, left_s, local_address, socket_options)
        return _Stream(stream, self.clock)

    def sleep(self, seconds: float) -> None:
        self.inner.sleep(seconds)


@dataclass(frozen=True, slots=True)
class _Stream(httpcore.NetworkStream):
    inner: httpcore.NetworkStream
    clock: _Clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, self.clock.left_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In pieces, each within the time then left: otherwise a peer that reads a byte now and then
        # would get the whole time for each byte.
        for start in range(0, len(buffer), _PIECE):
            left_s = self.clock.left_s(timeout, httpcore.WriteTimeout)
            self.inner.write(buffer[start : start + _PIECE], left_s)

    def start_tls(
        self,
        ssl_context: Any,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left_s = self.clock.left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self.inner.start_tls(ssl_context, server_hostname, left_s), self.clock)

    def close(self) -> None:
        self.inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)
