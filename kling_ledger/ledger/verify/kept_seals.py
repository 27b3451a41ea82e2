"""Kept seals: a seal written down outside the ledger must be found in it again.

Anyone who can write to the database can recreate every seal in it: only a copy elsewhere shows
that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kling_ledger.ledger import periods
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.verify.findings import Finding

_LAW = "a seal that was kept outside is in the ledger"


@dataclass(frozen=True, slots=True)
class KeptSeal:
    """A seal that was kept outside the ledger, and its month, if that was kept too."""

    seal: str
    period: str | None = None


def kept_findings(transaction: Transaction, kept: Sequence[KeptSeal]) -> Iterator[Finding]:
    """Look for each kept seal: in its month, or in any month if none was kept."""
    sealed = {row["name"]: row["seal"] for row in periods.sealed(transaction)} if kept else {}
    for one in kept:
        if one.period is None and one.seal not in sealed.values():
            yield Finding(_LAW, one.seal[:16], "no month is sealed with it")
        elif one.period is not None and sealed.get(one.period) != one.seal:
            there = sealed.get(one.period)
            now = "the month is not sealed" if there is None else f"it is sealed as {there[:16]}"
            yield Finding(_LAW, one.period, f"{one.seal[:16]} was kept, {now}")
