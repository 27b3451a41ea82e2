"""Standard Webhooks: signed callbacks.

The signed text is `{id}.{timestamp}.{body}`, the key is the part after `whsec_`, and the header may
have several signatures: while a sender replaces a secret, both are valid.

Source: https://www.standardwebhooks.com and klingai.com/document-api/api/get-started/callbacks,
checked 2026-11-20.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from kling_ledger.errors import ConfigError, SignatureError

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

TOLERANCE: Final = timedelta(minutes=5)
"""The largest difference between a message's time and ours: an older one may be a replay."""

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_MOST_SIGNATURES: Final = 20


def sign(secret: str, *, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers that sign a message; the timestamp is in whole seconds.

    Raises ConfigError for an invalid secret.
    """
    timestamp = str(int(at.timestamp()))
    signature = _signature(_key(secret), message_id, timestamp, body)
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: f"{_VERSION},{signature}",
    }


def verify(
    secrets: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    tolerance: timedelta = TOLERANCE,
) -> str:
    """Return the id of a message recently signed with one of the secrets; `body` is the raw body.

    The same id may come again, because senders repeat what was not acknowledged. Raises
    SignatureError for any other message, ConfigError for an invalid secret.
    """
    keys = [_key(secret) for secret in secrets]
    given = {name.lower(): text for name, text in headers.items()}
    message_id, timestamp = given.get(ID_HEADER, ""), given.get(TIMESTAMP_HEADER, "")
    if not message_id or not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureError(f"{ID_HEADER} or {TIMESTAMP_HEADER} is missing or cannot be read")
    if abs(int(timestamp) - now.timestamp()) > tolerance.total_seconds():
        raise SignatureError(
            f"signed at {timestamp}, more than {tolerance.total_seconds():g} s from now",
            hint="check this machine's clock",
        )
    expected = [_signature(key, message_id, timestamp, body) for key in keys]
    if not _holds_one(_signatures(given.get(SIGNATURE_HEADER, "")), expected):
        raise SignatureError("no signature matches one of the secrets", hint="check the secret")
    return message_id


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ConfigError(
            "not a valid callback secret", hint=f"copy it again: {_PREFIX} and base64 after it"
        )
    return key


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _signatures(header: str) -> list[str]:
    """Return the signatures of the version that we support."""
    entries = [entry.partition(",") for entry in header.split(" ")[:_MOST_SIGNATURES]]
    return [signature for version, _, signature in entries if version == _VERSION]


def _holds_one(given: Iterable[str], expected: Iterable[str]) -> bool:
    """Compare all pairs, each in constant time, so that the time taken reveals nothing."""
    known = [signature.encode() for signature in expected]
    # A list, not a generator: `any` would stop at the first match.
    matches = [hmac.compare_digest(one.encode(), other) for one in given for other in known]
    return any(matches)
