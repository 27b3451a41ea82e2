"""Guarded children for tests: a stand-in gateway, other servers on loopback, small programs."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import Receive, Scope, Send

from kling_ledger.agents.child.environment import Keys
from kling_ledger.agents.child.guard import Gateways, guarded
from kling_ledger.agents.child.opened import Directory

PYTHON: Final = sys.executable
TOKEN: Final = "klr_token-of-the-run"
NOW: Final = datetime.now(UTC)


class Stranger:
    """A server over TLS that is nobody's provider, with an authority of its own.

    It answers each connection with the head that it was sent.
    """

    def __init__(self, folder: Path, name: str = "localhost") -> None:
        self.authority, certificate, key = _own_certificate(name)
        (folder / "stranger.pem").write_bytes(certificate + key)
        self.certificate = ssl.PEM_cert_to_DER_cert(certificate.decode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "stranger.pem")
        self._context = context

    async def answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one HTTP request with its own head, then close."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n")
            writer.write(b"content-length: %d\r\n\r\n" % len(head) + head)
            await writer.drain()
        writer.close()

    @contextmanager
    def listening(self, *, is_tls: bool = True) -> Iterator[int]:
        """Serve on a free port of this machine while the block lasts."""
        with listening(self.answered, tls=self._context if is_tls else None) as port:
            yield port


def _own_certificate(name: str) -> tuple[bytes, bytes, bytes]:
    """Make an authority and a certificate of it, independently of what is tested."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an authority of the test")])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start, end = NOW - timedelta(days=1), NOW + timedelta(days=1)

    def built(subject: x509.Name, public: Any, *, ca: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )

    authority = built(issuer, ca_key.public_key(), ca=True).sign(ca_key, hashes.SHA256())
    certificate = (
        built(subject, key.public_key(), ca=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return (
        authority.public_bytes(pem),
        certificate.public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


async def _left(server: asyncio.Server) -> None:
    """Wait until every connection is closed: `wait_closed` does so from Python 3.12 on only."""
    for _ in range(500):
        await asyncio.sleep(0.01)
        if not getattr(server, "_active_count", 0):
            return


@contextmanager
def listening(answered: Any, *, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve connections on a free port of this machine, on a thread, while the block lasts."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    bound: list[int] = []
    started = threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(answered, "127.0.0.1", 0, ssl=tls)
        bound.append(server.sockets[0].getsockname()[1])
        started.set()
        await stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await _left(server)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    try:
        yield bound[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@dataclass
class Seen:
    """A stand-in for the gateway: it tells what reached it, and whose keys were to be used."""

    requests: list[dict[str, Any]] = field(default_factory=list)

    def app(self, keys: str) -> Any:
        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            told = {
                "keys": keys,
                "path": scope["path"],
                "raw_path": scope["raw_path"].decode(),
                "method": scope["method"],
                "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
            }
            self.requests.append(told)
            body = json.dumps(told).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        return answered


async def nothing() -> None:
    """Have nothing to stop."""


@dataclass(frozen=True)
class Guarded:
    """What a child is given, and what its requests come to."""

    environ: dict[str, str]
    seen: Seen

    @property
    def proxy(self) -> tuple[str, int, str]:
        """The proxy's host, port and credentials."""
        credentials, _, address = self.environ["HTTPS_PROXY"].removeprefix("http://").partition("@")
        host, _, port = address.partition(":")
        return host, int(port), credentials

    def connect(self) -> socket.socket:
        """Connect to the proxy, as any program may."""
        host, port, _ = self.proxy
        return socket.create_connection((host, port), timeout=20)


@contextmanager
def guard(
    *, upstreams: dict[str, str] | None = None, environ: dict[str, str] | None = None
) -> Iterator[Guarded]:
    """Stand before a stand-in gateway."""
    seen = Seen()
    gateways = Gateways(seen.app("ours"), seen.app("own"), nothing)
    keys = Keys({"runapi": "the-real-key-of-runapi"}, TOKEN)
    directory = Directory(upstreams or {})
    with guarded(directory, gateways, keys=keys, environ=environ or {}, now=NOW) as given:
        yield Guarded(given, seen)
