"""A caller's keys: the same content again gives the same result, other content an error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from kling_ledger.errors import ConfigError, ConflictError
from kling_ledger.ledger.engines.transaction import Row, Transaction
from kling_ledger.ledger.schema import IDEMPOTENCY

MAX_KEY_LENGTH: Final = 200

_ENCODER: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False)

Content = Mapping[str, str | None]
"""What was asked under a key, field by field, so that an error can name the difference."""


Known = Mapping[str, Row]
"""The rows of keys that were used before."""


def known_keys(transaction: Transaction, keys: Iterable[str | None]) -> Known:
    """Look up many keys at once; return the rows of those that were used before.

    While others write, every key counts as new: storing it fails if it is not.
    """
    asked = [key for key in keys if key is not None and _is_usable(key)]
    if not transaction.is_exclusive or not asked:
        return {}
    rows = transaction.rows_for(
        "SELECT key, content, result_id FROM idempotency WHERE key IN (:given)", asked
    )
    return {row["key"]: row for row in rows}


def result_in(known: Known, key: str | None, content: Content) -> str | None:
    """Return the id that a key gave before, None if it is new; ConflictError on other content."""
    if key is None:
        return None
    if not _is_usable(key):
        raise ConfigError(f"a key has 1 to {MAX_KEY_LENGTH} characters, got {len(key)}")
    row = known.get(key)
    if row is None:
        return None
    check_same(key, json.loads(row["content"]), content)
    return str(row["result_id"])


def earlier_result(transaction: Transaction, key: str | None, content: Content) -> str | None:
    """Return the id that one key gave before, as `result_in` does."""
    return result_in(known_keys(transaction, [key]), key, content)


def _is_usable(key: str) -> bool:
    return bool(key.strip()) and len(key) <= MAX_KEY_LENGTH and "\0" not in key


def check_same(key: str, stored: Content, given: Content) -> None:
    """Raise ConflictError, which names the first difference, unless both say the same."""
    # The payload's hash differs whenever anything does, so it is compared last.
    for field in sorted({*stored, *given}, key=lambda name: (name == "payload", name)):
        if stored.get(field) != given.get(field):
            raise ConflictError(
                f"key {key}", field=field, stored=stored.get(field), given=given.get(field)
            )


def key_row(
    key: str, content: Content, *, result_id: str, at_us: int, period: str | None = None
) -> Row:
    """Return the row that stores a key's result; `period` is given for payments."""
    said = {name: text for name, text in content.items() if text is not None}
    return {
        "key": key,
        "content": _ENCODER.encode(said),
        "result_id": result_id,
        "created_at": at_us,
        "period": period,
    }


def remember(
    transaction: Transaction,
    key: str | None,
    content: Content,
    *,
    result_id: str,
    at_us: int,
    period: str,
) -> None:
    """Store the result of a key, in the transaction that did it; it is sealed with that month."""
    if key is not None:
        row = key_row(key, content, result_id=result_id, at_us=at_us, period=period)
        transaction.insert(IDEMPOTENCY, [row])
