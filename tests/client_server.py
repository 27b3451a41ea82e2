"""A client's own server for callbacks, plain or with TLS, and a network that leads to it alone.

What it was sent, and how often anybody connected to it, is kept.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpcore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Post:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    content: bytes


@dataclass
class ClientServer:
    """Where it listens, the statuses that it still answers, the last one for ever, what it got.

    `hangs` keeps answers back until it is set free.
    """

    url: str
    statuses: list[int]
    posts: list[Post] = field(default_factory=list)
    connections: list[Any] = field(default_factory=list)
    hangs: bool = False
    answer_headers: dict[str, str] = field(default_factory=dict)
    free: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


@contextmanager
def client_server(
    *statuses: int, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[ClientServer]:
    """Serve a client's endpoint on loopback until the block ends."""
    server = _Server((host, 0), _handler())
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "http" if tls is None else "https"
    posted = ClientServer(f"{scheme}://{host}:{server.server_address[1]}", [*(statuses or (200,))])
    server.made = posted
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield posted
    finally:
        posted.free.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    made: ClientServer | None = None

    def get_request(self) -> Any:
        found = super().get_request()
        if self.made is not None:
            self.made.connections.append(found[1])
        return found

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of callers that left, or whose TLS did not come about."""


def _handler() -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made: ClientServer = self.server.made  # type: ignore[attr-defined]
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            made.posts.append(Post(self.path, dict(self.headers), content))
            if made.hangs:
                made.free.wait(30)
            status = made.statuses.pop(0) if len(made.statuses) > 1 else made.statuses[0]
            with suppress(ConnectionError):
                self.send_response(status)
                for name, value in made.answer_headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler


@dataclass
class Network(httpcore.NetworkBackend):
    """Connects to a port of loopback whatever address is asked for, and keeps what was asked."""

    port: int
    asked: list[tuple[str, int]] = field(default_factory=list)
    refused: Sequence[str] = ()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        self.asked.append((host, port))
        if host in self.refused:
            raise httpcore.ConnectError("refused")
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self.port, timeout)


@dataclass
class Names:
    """Where names lead: one answer after the other, the last one for ever; each is kept."""

    answers: list[list[str]]
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def certified(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server of that name shows, and what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    written = folder / f"{name}.pem"
    written.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(written)
    trusting = ssl.create_default_context(
        cadata=certificate.public_bytes(serialization.Encoding.PEM).decode()
    )
    return shown, trusting
