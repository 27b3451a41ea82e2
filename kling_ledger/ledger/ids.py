"""Identifiers: prefixed, so that a pasted id tells its kind, and sortable by time."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

Prefix = Literal["wal", "res", "txf"]

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def new_id(prefix: Prefix, at: datetime) -> str:
    """Return a new id: 64 bits of microseconds since 1970, then 64 random bits, in base 32."""
    number = (to_us(at) << 64) | secrets.randbits(64)
    digits = []
    for _ in range(26):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return f"{prefix}_{''.join(reversed(digits))}"


def to_us(at: datetime) -> int:
    """Return an aware instant as whole microseconds since 1970, exactly."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_us(us: int) -> datetime:
    """Return microseconds since 1970 as an aware UTC instant, exactly."""
    return _EPOCH + timedelta(microseconds=us)
