"""Real HTTP on loopback: one gateway behind the standard library's own server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived: the path is decoded and bare, header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The body, read as JSON; None where it is none."""
        try:
            return json.loads(self.content)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back: JSON, or bytes as they are.

    `keeps` is how much of the content is sent before the connection is cut: all by default, and
    with 0 not even a status line.
    """

    status: int
    content: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    keeps: float = 1.0

    @property
    def encoded(self) -> bytes:
        """The content as bytes."""
        if isinstance(self.content, bytes):
            return self.content
        return json.dumps(self.content).encode()


class Gateway(Protocol):
    """What answers requests."""

    def answer(self, request: Request) -> Reply:
        """Answer one request."""


HANGS_UP = Reply(0, b"", keeps=0)


def proxy_page(status: int, title: str) -> Reply:
    """What a proxy in front of a gateway says: a page for people, in no dialect."""
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Reply(status, page.encode(), {"Content-Type": "text/html"})


@contextmanager
def serve(gateway: Gateway) -> Iterator[str]:
    """Serve a gateway on a free port; give its address."""
    server = _Server(("127.0.0.1", 0), _handler_of(gateway))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler_of(gateway: Gateway) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        def reply(self, request: Request) -> Reply:
            return gateway.answer(request)

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave in one piece: in two, the client's delayed acknowledgement costs 40 ms.
    wbufsize = -1
    # An idle connection must not keep a thread for longer than a test lives.
    timeout = 20

    def reply(self, request: Request) -> Reply:
        raise NotImplementedError

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        reply = self.reply(self._request())
        if not reply.keeps:
            self._cut()
            return
        content = reply.encoded
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", **reply.headers}
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        # Whoever does not read to the end may have left.
        with suppress(ConnectionError):
            self.end_headers()
            self.wfile.write(content[: int(len(content) * reply.keeps)])
            self.wfile.flush()
        if reply.keeps < 1:
            self._cut()

    def _request(self) -> Request:
        address = urlsplit(self.path)
        return Request(
            method=self.command,
            path=unquote(address.path),
            query={name: values[-1] for name, values in parse_qs(address.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            content=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass
