"""Signing: the headers of a callback, as Standard Webhooks has them.

The signature is HMAC-SHA256 over `id.timestamp.body`, keyed with the base64-decoded secret. Kling
signs its own callbacks this way; that gateways do too is our assumption, because none documents it.
Source: https://github.com/standard-webhooks/standard-webhooks and
https://klingai.com/document-api/api/get-started/callbacks, checked 2026-11-20.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from typing import Final

from kling_ledger.errors import ConfigError

_PREFIX: Final = "whsec_"


def webhook_headers(
    secret: str | None, *, message_id: str, at: datetime, body: bytes
) -> dict[str, str]:
    """Return the headers of a message, without a signature if there is no secret."""
    stamp = str(int(at.timestamp()))
    headers = {"webhook-id": message_id, "webhook-timestamp": stamp}
    if secret is None:
        return headers
    signed = f"{message_id}.{stamp}.".encode() + body
    digest = hmac.new(signing_key(secret), signed, hashlib.sha256).digest()
    return headers | {"webhook-signature": f"v1,{base64.b64encode(digest).decode()}"}


def signing_key(secret: str) -> bytes:
    """Return the key that a secret encodes; ConfigError, without the secret, for an invalid one."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ConfigError(
            "the sandbox cannot sign with this webhook secret",
            hint=f"use {_PREFIX} and base64, such as {_PREFIX}c2FuZGJveA==",
        )
    return key
