"""Guard: sets up everything around one child, from certificates to environment, and removes it."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from kling_ledger.agents.child.bridges import Bridges
from kling_ledger.agents.child.certificates import Issued, issue
from kling_ledger.agents.child.door import Door
from kling_ledger.agents.child.environment import Authorities, Keys, child_environment
from kling_ledger.agents.child.onward import Onward
from kling_ledger.agents.child.opened import Directory
from kling_ledger.agents.child.proxy import Inside, Listening, Proxy
from kling_ledger.serving import Served, bind

_STOP_S: Final = 5
_KEEPS_S: Final = 120


@dataclass(frozen=True, slots=True)
class Gateways:
    """The applications below `/PROVIDER`: with our keys, and with callers' own keys.

    `stopping` is awaited before connections are closed.
    """

    with_our_keys: ASGIApp
    with_own_keys: ASGIApp
    stopping: Callable[[], Awaitable[None]]


@contextmanager
def guarded(
    directory: Directory,
    gateways: Gateways,
    *,
    keys: Keys,
    environ: Mapping[str, str],
    now: datetime,
) -> Iterator[dict[str, str]]:
    """Guard a program; yield the environment to start it with.

    The private key is on disk only while it is read, encrypted, in a private folder that is removed
    afterwards.
    """
    onward = Onward.of(environ)
    bridges = Bridges()
    door = Door(
        directory,
        bridges,
        token=keys.token,
        with_our_keys=gateways.with_our_keys,
        with_own_keys=gateways.with_own_keys,
    )
    passphrase = secrets.token_hex(32)
    with TemporaryDirectory(prefix="kling-ledger-exec-") as name:
        folder = Path(name)
        issued = issue(directory.hosts, now=now, passphrase=passphrase.encode())
        served = _served(door, folder, issued, passphrase, gateways.stopping)
        try:
            proxy = Proxy(directory, _inside(served, directory, issued), bridges, onward)
            with closing(Listening(proxy)) as listening:
                yield child_environment(
                    environ,
                    proxy=listening.url,
                    keys=keys,
                    authorities=Authorities(folder, issued.authority),
                    has_loopback=directory.has_loopback,
                )
        finally:
            served.close(_STOP_S)


def _served(
    door: ASGIApp,
    folder: Path,
    issued: Issued,
    passphrase: str,
    stopping: Callable[[], Awaitable[None]],
) -> Served:
    """Serve the door over TLS on loopback; its key is read, then deleted, before this returns."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(issued.certificate)
    key.write_bytes(issued.key)
    try:
        return Served(
            door,
            bind("127.0.0.1", 0, problem="the inner proxy cannot listen"),
            name="guarded run",
            stopping=stopping,
            http="h11",
            # Otherwise a client could fake its address with X-Forwarded-For.
            proxy_headers=False,
            server_header=False,
            # As long as other servers: a program may send its next job on an existing connection.
            timeout_keep_alive=_KEEPS_S,
            log_level="error",
            timeout_graceful_shutdown=_STOP_S,
            ssl_certfile=str(certificate),
            ssl_keyfile=str(key),
            ssl_keyfile_password=passphrase,
        )
    finally:
        key.unlink()


def _inside(served: Served, directory: Directory, issued: Issued) -> Inside:
    parts = urlsplit(served.url)
    trust = ssl.create_default_context(cadata=issued.authority.decode())
    return Inside(parts.hostname or "", parts.port or 0, trust, directory.hosts[0])
