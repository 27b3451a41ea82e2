"""A call ends in time and in size, and a compressed reply is read: real sockets on loopback."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest

from kling_ledger.errors import JobInDoubtError, PollError
from kling_ledger.providers.base import Pacing, TaskState
from kling_ledger.providers.http import LARGEST_REPLY
from kling_ledger.providers.registry import connect
from tests.providers import BODIES, KEY, NAMES, TASK_ID, created, speaking, task

Conduct = Callable[[socket.socket], None]

TIMEOUT_S = 0.5
A_MOMENT_S = 10
"""What a busy machine may add to a time-out: half of what the slowest conduct takes."""


def zipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def bare(content: bytes) -> bytes:
    """Deflate without zlib's frame, as some send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def twice(content: bytes) -> bytes:
    return gzip.compress(zlib.compress(content))


ENCODINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", zipped),
    ("x-gzip", zipped),
    ("GZIP", zipped),
    ("deflate", zlib.compress),
    ("deflate", bare),
    ("deflate, gzip", twice),
    ("identity", bytes),
    ("", bytes),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("encoding", "pack"), ENCODINGS)
def test_a_compressed_reply_is_read(name: str, encoding: str, pack: Callable[[bytes], bytes]):
    headers = {"Content-Encoding": encoding}
    told = [json.dumps(one).encode() for one in (created(name), task(name, "pending"))]
    with speaking(name, *((200, pack(one), headers) for one in told)) as rig:
        assert rig.submit().task_id == TASK_ID
        assert rig.poll().state is TaskState.RUNNING


@pytest.mark.parametrize("name", NAMES)
def test_a_compressed_error_may_name_a_task_too(name: str):
    content = gzip.compress(json.dumps({"task_id": TASK_ID, "code": 500}).encode(), mtime=0)
    with speaking(name, (500, content, {"Content-Encoding": "gzip"})) as rig:
        assert rig.submit().task_id == TASK_ID


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("gzip", b"\x1f\x8b"),
        ("gzip", b'{"id": "plain"}'),
        ("gzip", gzip.compress(b'{"id": "cut"}' * 9, mtime=0)[:-4]),
        ("br", b"\x0b\x02\x80{}\x03"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        (
            "gzip, gzip, gzip",
            gzip.compress(gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), mtime=0),
        ),
    ],
)
def test_what_cannot_be_unpacked_is_doubt_with_the_reason(name: str, encoding: str, content: bytes):
    with (
        speaking(name, (200, content, {"Content-Encoding": encoding})) as rig,
        pytest.raises(JobInDoubtError, match="compression"),
    ):
        rig.submit()


@pytest.mark.parametrize("name", NAMES)
def test_a_reply_of_a_few_bytes_that_stands_for_gigabytes_is_not_unpacked(name: str):
    bomb = gzip.compress(b" " * (20 * LARGEST_REPLY))
    with speaking(name, (200, bomb, {"Content-Encoding": "gzip"})) as rig:
        with pytest.raises(JobInDoubtError, match="more than"):
            rig.submit()
        with pytest.raises(PollError, match="more than"):
            rig.poll()


# --- time -------------------------------------------------------------------------------------


@contextmanager
def conducting(conduct: Conduct) -> Iterator[str]:
    """Accept connections and do with each what a test says, beside each other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def meet(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.recv(65536)
                conduct(connection)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=meet, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def bit_by_bit(content: bytes) -> Conduct:
    def drip(connection: socket.socket) -> None:
        for byte in content:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    return drip


def for_ever(piece: bytes, *, pause_s: float) -> Conduct:
    def repeat(connection: socket.socket) -> None:
        end_at = time.monotonic() + 20
        while time.monotonic() < end_at:
            connection.sendall(piece)
            time.sleep(pause_s)

    return repeat


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Long: " + b"x" * 400
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CONDUCTS: dict[str, Conduct] = {
    "dripped headers": bit_by_bit(HEAD),
    "a header after the other": for_ever(b"HTTP/1.1 200 OK\r\n", pause_s=0.1),
    "continue, now and then": for_ever(CONTINUE, pause_s=0.1),
    "continue, all the time": for_ever(CONTINUE * 50, pause_s=0.001),
    "dripped body": bit_by_bit(CHUNKED + b"1\r\n \r\n" * 80),
    "silence": lambda connection: time.sleep(20),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("conduct", CONDUCTS)
def test_a_call_ends_within_its_time_out_however_its_reply_comes(name: str, conduct: str):
    with conducting(CONDUCTS[conduct]) as url:
        # The first pause that is longer than none ends the call: one request is what is measured.
        pacing = Pacing(sleep=lambda _: True)
        opened = connect(name, api_key=KEY, base_url=url, timeout_s=TIMEOUT_S, pacing=pacing)
        with closing(opened) as provider:
            for call in (provider_submits, provider_polls):
                began = time.monotonic()
                with pytest.raises((JobInDoubtError, PollError), match="no answer in time"):
                    call(provider, name)
                assert time.monotonic() - began < TIMEOUT_S + A_MOMENT_S


def provider_submits(provider: Any, name: str) -> None:
    provider.submit("text_to_video", BODIES[name], key="res_1")


def provider_polls(provider: Any, name: str) -> None:
    provider.poll("text_to_video", TASK_ID, is_patient=False)


@pytest.mark.parametrize("name", NAMES)
def test_each_call_on_a_connection_that_is_kept_has_the_whole_time(name: str):
    with speaking(name, (200, task(name, "pending")), timeout_s=1) as rig:
        for _ in range(4):
            assert rig.poll().state is TaskState.RUNNING
            time.sleep(0.35)
