"""Half-open connections to the receiver: they are cut off, and keep nobody out."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from kling_ledger import Ledger
from kling_ledger.callbacks.listener import Listener
from kling_ledger.callbacks.receiver import Receiver
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.recovery import Meters
from tests.sandbox_rig import plain_client

HEAD = b"POST /callbacks/runapi HTTP/1.1\r\nHost: here\r\n"
CALLBACK = b'{"id": "nobodys", "status": "completed"}'


def nobody(provider: str, address: str | None) -> Meter:
    raise AssertionError(f"{provider} at {address} is not to be asked")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(str(tmp_path / "ledger.sqlite")) as made:
        yield made


@pytest.fixture
def listener(ledger: Ledger) -> Iterator[Listener]:
    with Listener(Receiver(ledger, Meters(nobody)), head_s=1.0) as made:
        yield made


def connected(listener: Listener, stack: ExitStack, said: bytes) -> socket.socket:
    port = httpx.URL(listener.url).port
    opened = socket.create_connection(("127.0.0.1", port or 0), timeout=10)
    stack.callback(opened.close)
    opened.sendall(said)
    return opened


def posted(listener: Listener) -> int:
    with plain_client(timeout=10) as http:
        return http.post(listener.address("runapi"), content=CALLBACK).status_code


@pytest.mark.parametrize(
    "said",
    [b"", b"P", HEAD, HEAD + b"Content-Length: 100\r\n\r\n{"],
    ids=["nothing", "a letter", "half a head", "half a body"],
)
def test_three_hundred_unfinished_requests_keep_nobody_out(listener: Listener, said: bytes):
    with ExitStack() as stack:
        for _ in range(300):
            connected(listener, stack, said)
        assert posted(listener) == 404


def closed_after_s(opened: socket.socket) -> float:
    began_at = time.monotonic()
    while opened.recv(100):
        pass
    return time.monotonic() - began_at


@pytest.mark.parametrize("said", [b"", HEAD])
def test_a_head_that_does_not_come_is_not_waited_for(listener: Listener, said: bytes):
    with ExitStack() as stack:
        assert closed_after_s(connected(listener, stack, said)) < 30


def test_a_head_that_drips_is_not_waited_for(listener: Listener):
    with ExitStack() as stack:
        opened = connected(listener, stack, b"POST /callbacks/runapi HTTP/1.1\r\n")
        began_at = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - began_at < 60:
                opened.sendall(b"x: y\r\n")
                time.sleep(0.1)
        assert time.monotonic() - began_at < 30


def test_a_connection_that_is_kept_waits_no_longer_for_its_second_head(listener: Listener):
    with ExitStack() as stack:
        whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(CALLBACK) + CALLBACK
        opened = connected(listener, stack, whole)
        assert b" 404 " in opened.recv(1000)
        opened.sendall(HEAD)
        assert closed_after_s(opened) < 30


def test_a_kept_connection_may_be_used_again_and_again(listener: Listener):
    with plain_client(timeout=10) as http:
        for _ in range(4):
            answer = http.post(listener.address("runapi"), content=CALLBACK)
            assert answer.status_code == 404
            time.sleep(0.4)
