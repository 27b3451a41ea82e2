"""Identifiers: prefixed, so that a pasted id shows its kind, and sortable by time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import Final, Literal

from kling_ledger.errors import ConfigError

Prefix = Literal["wal", "res", "txf", "bud", "rse", "pln", "tok", "apr"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS: Final = tuple(range(100, -1, -10))

RANDOM_BITS: Final = 48
"""How much of an id is random; 16 more bits number what one operation makes."""


def numbers(at_us: int, chance: int) -> Iterator[int]:
    """Yield the numbers of what one operation makes: time, 48 random bits, then 0, 1, ..."""
    return count((at_us << 64) | (chance << 16))


def new_id(prefix: Prefix, number: int) -> str:
    """Write a number of 128 bits as an id: 26 digits in base 32, in the order of the numbers."""
    pairs = _PAIRS
    head = _head(number >> 20)
    return f"{prefix}_{head}{pairs[(number >> 10) & 1023]}{pairs[number & 1023]}"


def first_id(prefix: Prefix, at_us: int) -> str:
    """Return the lowest possible id at an instant, in microseconds."""
    return new_id(prefix, max(at_us, 0) << 64)


@lru_cache(maxsize=64)
def _head(number: int) -> str:
    """Write all digits but the last four: they are the same for all ids of one operation."""
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])


def to_us(at: datetime) -> int:
    """Return an aware instant as whole microseconds since 1970, exactly.

    Raises ConfigError for one without a zone, which would be a different instant in each country.
    """
    if at.tzinfo is None:
        raise ConfigError(
            f"{at.isoformat()} has no time zone", hint="use datetime.now(UTC), or tzinfo=UTC"
        )
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_us(us: int) -> datetime:
    """Return microseconds since 1970 as an aware UTC instant, exactly."""
    return _EPOCH + timedelta(microseconds=us)


def random_bits(bits: int) -> int:
    """Return a random integer of that many bits, from the system."""
    # Like `secrets.randbits`, without the hash functions that `secrets` loads.
    return int.from_bytes(os.urandom((bits + 7) // 8)) >> (-bits % 8)
