"""A server on loopback that charges for what it takes, and answers as it is told to in the job.

It is all that a block's tests believe: its own list of what it has charged. A job is one POST whose
body is `{"name": ..., "how": ...}`.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

ANSWERS = {
    "plainly": True,
    "late": True,
    "never": True,
    "cut before": True,
    "cut in the middle": True,
    "reset": True,
    "500": True,
    "502 page": True,
    "garbage": True,
    "no json": True,
    "422": False,
    "cut unread": False,
}
"""How a job can be answered, and whether it is charged for then."""

COST = "0.4"

_LATE_S = 0.3
_LONGEST_S = 10


@dataclass
class ChargingServer:
    """Takes jobs and charges for them; `charged` is the truth."""

    url: str
    charged: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)

    def listen(self, listener: socket.socket) -> None:
        """Serve one connection after another, each in a thread of its own."""
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def finish(self) -> set[str]:
        """Wait until everything that arrived is dealt with; return what was charged."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(_LONGEST_S)
        return set(self.charged)

    def _serve(self, peer: socket.socket) -> None:
        peer.settimeout(_LONGEST_S)
        with closing(peer), suppress(OSError, ValueError):
            head = b""
            while b"\r\n\r\n" not in head:
                got = peer.recv(1)
                if not got:
                    return
                head += got
            if b"x-how: cut unread" in head.lower():
                return
            job = json.loads(_rest(peer, head))
            if ANSWERS[job["how"]]:
                self.charged.append(job["name"])
            self._answer(peer, job["how"], job["name"])

    def _answer(self, peer: socket.socket, how: str, name: str) -> None:
        plainly = _reply(200, json.dumps({"task": f"task-{name}", "cost": COST}))
        if how == "late":
            self._is_over.wait(_LATE_S)
        if how == "never":
            # Until the other side has had enough.
            peer.recv(1)
        elif how == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            cut = {"cut before": 0, "cut in the middle": len(plainly) // 2}.get(how)
            peer.sendall(_ODD.get(how, plainly)[:cut])


def _rest(peer: socket.socket, head: bytes) -> bytes:
    """Read as much of a body as its head promises; ValueError where it never comes."""
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        got = peer.recv(length - len(body))
        if not got:
            raise ValueError("the body was cut")
        body += got
    return body


def _reply(status: int, body: str) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body.encode()


_ODD = {
    "500": _reply(500, '{"error": "something went wrong"}'),
    "502 page": _reply(502, "<html>Bad Gateway</html>"),
    "422": _reply(422, '{"error": "no such model"}'),
    "garbage": b"\x00\x01 what is this\r\n\r\n",
    "no json": _reply(200, "done!"),
}


@contextmanager
def charging_server() -> Iterator[ChargingServer]:
    """Listen on a free port for as long as a test runs."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listener:
        server = ChargingServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=server.listen, args=(listener,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(_LONGEST_S)
