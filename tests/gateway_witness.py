"""A gateway and a sandbox as programs of their own, and callers that know nothing but sockets.

What a test learns here comes from replies as bytes, from the sandbox's own truth and from plain
SQL: nothing of the gateway's code is in it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from kling_ledger import Ledger
from kling_pricing import Money
from tests.ledgers import plain_url
from tests.sandbox_rig import UNITS

ROOT: Final = Path(__file__).resolve().parent.parent
PATIENCE_S: Final = 60.0
"""How long a program may take to begin or to end, and a reply to come."""

KEYS: Final = {
    "runapi": "sandbox-key",
    "crun": "ak_sandbox-keysandbox-keysandbox-ke",
    "evolink": "sandbox-key",
    "uniall": "sk-sandbox-key",
}
"""The sandbox's keys, as its own start says them."""

_PROGRAM: Final = (sys.executable, "-c", "from kling_ledger.cli import main; main()")


def command(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `kling-ledger` to its end."""
    return subprocess.run(
        [*_PROGRAM, *words],
        capture_output=True,
        text=True,
        check=False,
        env=_environ(environ),
        timeout=5 * PATIENCE_S,
    )


def _environ(more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **more}


@dataclass
class Program:
    """A server in a process of its own: where it listens, and what it wrote besides."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 80)

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def kill(self) -> None:
        """End it as a power cut would: nothing is tidied up."""
        self.process.kill()
        self._wait()

    def stop(self) -> int:
        """End it as Ctrl-C would."""
        if self.is_alive:
            self.process.send_signal(signal.SIGINT)
        return self._wait()

    def _wait(self) -> int:
        code = self.process.wait(PATIENCE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


def start(log: Path, *words: str, **environ: str) -> Program:
    """Start a server of `kling-ledger` and return it once it listens."""
    with log.open("ab") as told:
        process = subprocess.Popen(
            [*_PROGRAM, *words], stdout=subprocess.PIPE, stderr=told, env=_environ(environ)
        )
    assert process.stdout is not None
    is_told, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
    line = process.stdout.readline().decode().strip() if is_told else ""
    if not line.startswith("http"):
        process.kill()
        process.wait()
        process.stdout.close()
        raise AssertionError(f"it did not start: {log.read_text()}")
    return Program(process, line, log)


@contextmanager
def running(log: Path, *words: str, **environ: str) -> Iterator[Program]:
    """Run a server for a while."""
    program = start(log, *words, **environ)
    try:
        yield program
    finally:
        with suppress(subprocess.TimeoutExpired):
            program.stop()
        if program.is_alive:
            program.kill()


def gateway_environ(url: str) -> dict[str, str]:
    """What a gateway finds in its surroundings: its ledger and the providers' keys."""
    keys = {f"{name.upper()}_API_KEY": key for name, key in KEYS.items()}
    return {"KLING_LEDGER_DB": url, **keys}


def make_ledger(url: str, amount: str = "100000") -> dict[str, str]:
    """Make a ledger with a wallet and a token of each provider, and a wallet in USD: team.

    Wallets and tokens are named after their provider; the tokens' secrets are returned.
    """
    secrets = {}
    with Ledger(url) as ledger:
        for name, unit in {**UNITS, "team": "USD"}.items():
            ledger.wallets.create(name, unit)
            ledger.wallets.fund(name, Money.parse(f"{amount} {unit}"))
        for name in UNITS:
            _, secrets[name] = ledger.tokens.create(name, wallet=name)
    return secrets


# --- plain HTTP --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reply:
    """One reply as it came; `status` 0 where the connection was closed without one."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    is_whole: bool = True

    def header(self, name: str) -> str | None:
        found = [value for said, value in self.headers if said.lower() == name.lower()]
        return found[0] if found else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


NO_REPLY: Final = Reply(0, is_whole=False)


def written(
    method: str,
    path: str,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    host: str = "127.0.0.1",
) -> bytes:
    """Write a request as a careful client would; headers that are given come on top."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def exchange(
    address: tuple[str, int], content: bytes, *, timeout_s: float = PATIENCE_S
) -> list[Reply]:
    """Send bytes on a connection of their own and return every reply until it is closed."""
    with socket.create_connection(address, timeout_s) as connection:
        with suppress(ConnectionError):
            connection.sendall(content)
        return read_replies(connection)


def read_replies(connection: socket.socket) -> list[Reply]:
    """Read until the other side closes, or says nothing for as long as the socket's time-out."""
    received = b""
    with suppress(ConnectionError, TimeoutError):
        while piece := connection.recv(65536):
            received += piece
    replies = []
    while received:
        reply, received = _first_reply(received)
        if reply.status != 100:
            replies.append(reply)
    return replies


def _first_reply(received: bytes) -> tuple[Reply, bytes]:
    head, is_ended, rest = received.partition(b"\r\n\r\n")
    if not is_ended:
        return NO_REPLY, b""
    first, *lines = head.decode("latin-1").split("\r\n")
    status = int(first.split(" ")[1])
    pairs = [line.partition(":") for line in lines]
    headers = tuple((name.lower(), value.strip()) for name, _, value in pairs)
    if ("transfer-encoding", "chunked") in headers:
        body, rest, is_whole = _unchunked(rest)
        return Reply(status, headers, body, is_whole), rest
    length = next((int(value) for name, value in headers if name == "content-length"), None)
    if status in {204, 304} or status < 200:
        length = 0
    if length is None:
        return Reply(status, headers, rest), b""
    return Reply(status, headers, rest[:length], len(rest) >= length), rest[length:]


def _unchunked(rest: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while True:
        size, found, rest = rest.partition(b"\r\n")
        if not found:
            return body, b"", False
        length = int(size.split(b";")[0], 16)
        body, rest = body + rest[:length], rest[length + 2 :]
        if length == 0:
            return body, rest, True


def ask(
    address: tuple[str, int],
    method: str,
    path: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    timeout_s: float = PATIENCE_S,
) -> Reply:
    """Send one request and return the one reply to it."""
    content = written(method, path, headers, body, f"{address[0]}:{address[1]}")
    replies = exchange(address, content, timeout_s=timeout_s)
    assert len(replies) <= 1, replies
    reply = replies[0] if replies else NO_REPLY
    # The reply to a HEAD says how long a body would be, and has none.
    return replace(reply, is_whole=True) if method == "HEAD" and not reply.body else reply


def authorised(provider: str, key: str | None = None) -> list[tuple[str, str]]:
    """How a client of a provider says its key."""
    said = KEYS[provider] if key is None else key
    if provider == "crun":
        return [("x-api-key", said)]
    return [("Authorization", f"Bearer {said}")]


# --- an upstream that takes everything ----------------------------------------------------------


@dataclass
class Recorder:
    """A provider that accepts whatever arrives and remembers it, request by request."""

    url: str
    heads: list[str] = field(default_factory=list, repr=False)
    raw: list[bytes] = field(default_factory=list, repr=False)
    """What came over each connection, to the byte."""


_TAKEN: Final = json.dumps(
    {
        "code": 200,
        "message": "success",
        "data": {"task_id": "task_1"},
        "id": "task_1",
        "task_id": "task_1",
        "status": "pending",
    }
).encode()


@contextmanager
def recording() -> Iterator[Recorder]:
    """Run an upstream that takes every request as a job and writes down what it was sent."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=256)) as server:
        recorder = Recorder(f"http://127.0.0.1:{server.getsockname()[1]}")
        stopped = threading.Event()
        thread = threading.Thread(target=_record, args=(server, recorder, stopped), daemon=True)
        thread.start()
        try:
            yield recorder
        finally:
            stopped.set()
            with suppress(OSError):
                socket.create_connection(server.getsockname()[:2], 1).close()
            thread.join()


def _record(server: socket.socket, recorder: Recorder, stopped: threading.Event) -> None:
    while not stopped.is_set():
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.settimeout(2)
            _record_one(connection, recorder)


def _record_one(connection: socket.socket, recorder: Recorder) -> None:
    received = b""
    while b"\r\n\r\n" not in received:
        if not (piece := connection.recv(65536)):
            if received:
                recorder.raw.append(received)
                recorder.heads.append(f"? {received[:80]!r}")
            return
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    recorder.heads.append(head.split(b"\r\n")[0].decode("latin-1"))
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(rest) < int(line.partition(b":")[2]):
                rest += connection.recv(65536) or b"\0" * 10**6
        if line.startswith(b"transfer-encoding:"):
            while not rest.endswith(b"0\r\n\r\n"):
                rest += connection.recv(65536) or b"0\r\n\r\n"
    recorder.raw.append(head + b"\r\n\r\n" + rest)
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
    connection.sendall(answer + b"Content-Length: %d\r\n\r\n" % len(_TAKEN) + _TAKEN)


# --- plain SQL ----------------------------------------------------------------------------------


def rows(url: str, query: str) -> list[dict[str, Any]]:
    """Return what a query finds in a ledger, by the drivers alone."""
    if url.startswith("postgresql"):
        with psycopg.connect(plain_url(url)) as server:
            found = server.execute(sql.SQL(query))
            names = [column.name for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found]
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=PATIENCE_S)) as file:
        file.row_factory = sqlite3.Row
        return [dict(row) for row in file.execute(query)]


WRITTEN: Final = ("reservation", "transfer", "idempotency", "job_event", "budget", "approval")


def counts(url: str) -> dict[str, int]:
    """How many rows a ledger has of each kind that a job could leave."""
    query = " UNION ALL ".join(
        f"SELECT '{one}' AS name, COUNT(*) AS n FROM {one}" for one in WRITTEN
    )
    return {row["name"]: row["n"] for row in rows(url, query)}


def truth(sandbox: Program, provider: str | None = None) -> dict[str, Any]:
    """What the sandbox itself says it took and charged."""
    query = f"?provider={provider}" if provider else ""
    reply = ask(sandbox.address, "GET", f"/sandbox/truth{query}")
    assert reply.status == 200
    return cast("dict[str, Any]", reply.json)


def finish(sandbox: Program) -> None:
    """End every open job of the sandbox, and every misbehaviour."""
    assert ask(sandbox.address, "POST", "/sandbox/finish").status == 200


def until(is_so: Any, what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.02)
