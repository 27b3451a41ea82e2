"""A caller's keys: the same content again gives the same result, other content an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from kling_ledger.errors import ConfigError, ConflictError
from kling_ledger.ledger.database import Transaction
from kling_ledger.ledger.ids import to_us

MAX_KEY_LENGTH: Final = 200

Content = Mapping[str, str | None]
"""What was asked under a key: field by field, so that a difference can be named."""


def earlier_result(transaction: Transaction, key: str | None, content: Content) -> str | None:
    """Return the id that the key gave before, None if it is new; ConflictError on other content."""
    if key is None:
        return None
    if not key.strip() or len(key) > MAX_KEY_LENGTH:
        raise ConfigError(f"a key has 1 to {MAX_KEY_LENGTH} characters, got {len(key)}")
    row = transaction.row("SELECT content, result_id FROM idempotency WHERE key = :key", key=key)
    if row is None:
        return None
    stored = json.loads(row["content"])
    # The hash of a payload differs whenever anything does: it is named only if nothing else is.
    for field in sorted({*stored, *content}, key=lambda name: (name == "payload", name)):
        if stored.get(field) != content.get(field):
            raise ConflictError(
                f"key {key}", field=field, stored=stored.get(field), given=content.get(field)
            )
    return str(row["result_id"])


def remember(
    transaction: Transaction, key: str | None, content: Content, *, result_id: str, at: datetime
) -> None:
    """Store what came of a key, in the transaction that did it."""
    if key is None:
        return
    transaction.run(
        "INSERT INTO idempotency (key, content, result_id, created_at)"
        " VALUES (:key, :content, :result_id, :created_at)",
        key=key,
        content=json.dumps(dict(content), sort_keys=True),
        result_id=result_id,
        created_at=to_us(at),
    )
