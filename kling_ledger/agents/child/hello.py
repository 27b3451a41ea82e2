"""Hello: reads the host that a TLS client asks for from the first bytes it sends."""

from __future__ import annotations

from typing import Final

LONGEST_HELLO: Final = 16 * 1024 + 5
"""The most bytes of a TLS record, its header included."""

_HANDSHAKE: Final = 0x16
_CLIENT_HELLO: Final = 0x01
_SERVER_NAME: Final = 0x0000
_HEADER: Final = 5
_BEFORE_SESSION: Final = 4 + 2 + 32
"""The handshake's header, the version and the random bytes."""


def is_whole(sent: bytes) -> bool:
    """Whether enough was read to know the host: it is not TLS, or the first record is complete."""
    if not sent or sent[0] != _HANDSHAKE:
        return True
    if len(sent) < _HEADER:
        return False
    length = _HEADER + int.from_bytes(sent[3:5], "big")
    return len(sent) >= min(length, LONGEST_HELLO)


def server_name(sent: bytes) -> str | None:
    """Return the host in a client's hello; None if it has none or is not a hello."""
    if len(sent) <= _HEADER or sent[0] != _HANDSHAKE or sent[_HEADER] != _CLIENT_HELLO:
        return None
    try:
        return _named(_Bytes(sent[_HEADER:]))
    except (IndexError, UnicodeDecodeError):
        return None


class _Bytes:
    """Bytes that are taken field by field; IndexError if they end too early."""

    def __init__(self, held: bytes) -> None:
        self._held = held
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._held)

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._held):
            raise IndexError
        self._at += count
        return self._held[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def field(self, size: int) -> bytes:
        """Take a field that begins with its own length, stored in a number of bytes."""
        return self.take(self.number(size))


def _named(hello: _Bytes) -> str | None:
    hello.take(_BEFORE_SESSION)
    for size in (1, 2, 1):  # the session, the ciphers, the compressions
        hello.field(size)
    extensions = _Bytes(hello.field(2))
    while extensions:
        kind, content = extensions.number(2), extensions.field(2)
        if kind == _SERVER_NAME:
            names = _Bytes(_Bytes(content).field(2))
            names.take(1)
            return names.field(2).decode("ascii")
    return None
