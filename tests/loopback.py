"""A server on loopback that answers what a test tells it to, or hangs up: real HTTP gone wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANG_UP = None
"""An answer that is none: the connection is closed after the request was read."""

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]] | None


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    content: bytes = b""


@dataclass
class Loopback:
    """The server's address, the answers that it still has to give, and what it was sent."""

    url: str
    answers: list[Answer]
    seen: list[Seen] = field(default_factory=list)


@contextmanager
def answering(*answers: Answer) -> Iterator[Loopback]:
    """Serve the answers in turn, the last one for ever: (status, body[, headers]), or HANG_UP."""
    server = _Server(("127.0.0.1", 0), _handler(lambda: loopback))
    loopback = Loopback(f"http://127.0.0.1:{server.server_address[1]}", list(answers))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield loopback
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    """Many threads may call at once: a shorter queue would reset their connections."""


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content)


def _handler(of: Callable[[], Loopback]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            loopback = of()
            received = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(received) if received else None
            loopback.seen.append(Seen(self.command, self.path, dict(self.headers), body, received))
            answer = loopback.answers.pop(0) if len(loopback.answers) > 1 else loopback.answers[0]
            if answer is HANG_UP:
                self.close_connection = True
                return
            status, content, headers = (*answer, {})[:3]
            sent = content if isinstance(content, bytes) else _text(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": len(sent)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            # Whoever reads no further than he wants to may have left by now.
            with suppress(ConnectionError):
                self.wfile.write(sent)

        do_GET = do_POST = do_PATCH = do_CONNECT = _answer  # noqa: N815 - the names that the base class calls

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler
