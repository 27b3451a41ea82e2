"""Quotes: a reservation's quoted figures must be those of the quote that it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.verify.findings import Finding

_LAW: Final = "what a reservation says that it was quoted is what its quote says"


def _plain(column: str) -> str:
    """Return SQL that writes millionths as a plain decimal, like a quote: divides only integers."""
    parts = f"substr(CAST(1000000 + {column} % 1000000 AS text), 2)"
    written = f"CAST({column} / 1000000 AS text) || '.' || {parts}"
    return f"rtrim(rtrim({written}, '0'), '.')"


# In every stored quote the two figures are next to each other, so no parsing is needed.
_DIFFERENT: Final = f"""
SELECT id AS subject, {_plain("quoted_micro")} AS quoted, {_plain("low_micro")} AS low
FROM reservation
WHERE quoted_micro IS NOT NULL AND low_micro IS NOT NULL
  AND quote LIKE '%"amount": "%", "low": "%'
  AND quote NOT LIKE '%"amount": "' || {_plain("quoted_micro")} || '", "low": "'
      || {_plain("low_micro")} || '"%'
"""


def quote_findings(transaction: Transaction) -> Iterator[Finding]:
    """Compare the two figures of every stored quote with its text."""
    for row in transaction.rows(_DIFFERENT):
        problem = f"it says {row['quoted']} at most and {row['low']} at least; its quote does not"
        yield Finding(_LAW, row["subject"], problem)
