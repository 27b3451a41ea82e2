"""verify: recompute every balance, window and state from the journal; name what disagrees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.states import OPEN_STATES
from kling_ledger.ledger.verify.balances import balance_findings, window_findings
from kling_ledger.ledger.verify.findings import Finding
from kling_ledger.ledger.verify.history import history_findings
from kling_ledger.ledger.verify.kept_seals import KeptSeal, kept_findings
from kling_ledger.ledger.verify.laws import law_findings
from kling_ledger.ledger.verify.limits import limit_findings
from kling_ledger.ledger.verify.quotes import quote_findings
from kling_ledger.ledger.verify.seals import accrual_findings, seal_findings

__all__ = ["Finding", "KeptSeal", "Verification", "file_findings", "verify"]


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked, how much of it, and the findings."""

    wallets: int
    reservations: int
    transfers: int
    open_reservations: int
    windows: int
    sealed_periods: int
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether everything agrees."""
        return not self.findings


_OPEN: Final = ", ".join(f"'{state}'" for state in OPEN_STATES)


def verify(
    transaction: Transaction,
    *,
    dialect: str,
    kept: Sequence[KeptSeal] = (),
    of_file: Callable[[], Sequence[Finding]] | None = None,
) -> Verification:
    """Check every law of the ledger on one consistent state of the database, and kept seals.

    `of_file` returns the findings about the file itself, if another thread checks it meanwhile.
    """
    return Verification(
        wallets=_count(transaction, "wallet"),
        reservations=_count(transaction, "reservation"),
        transfers=_count(transaction, "transfer"),
        open_reservations=_count(transaction, f"reservation WHERE state IN ({_OPEN})"),
        windows=_count(transaction, "budget_window"),
        sealed_periods=_count(transaction, "period WHERE state = 'hard'"),
        findings=_all_findings(transaction, dialect, kept, of_file),
    )


def _all_findings(
    transaction: Transaction,
    dialect: str,
    kept: Sequence[KeptSeal],
    of_file: Callable[[], Sequence[Finding]] | None,
) -> tuple[Finding, ...]:
    found = [*_findings(transaction), *kept_findings(transaction, kept)]
    if of_file is not None:
        return (*of_file(), *found)
    return (*(file_findings(transaction) if dialect == "sqlite" else ()), *found)


def _findings(transaction: Transaction) -> Iterator[Finding]:
    yield from balance_findings(transaction)
    yield from law_findings(transaction)
    yield from window_findings(transaction)
    yield from limit_findings(transaction)
    yield from history_findings(transaction)
    yield from quote_findings(transaction)
    yield from accrual_findings(transaction)
    yield from seal_findings(transaction)


def file_findings(transaction: Transaction) -> Iterator[Finding]:
    """Let SQLite check its file: every page, and that each row belongs to something."""
    for row in transaction.rows("PRAGMA integrity_check"):
        if row["integrity_check"] != "ok":
            yield Finding("the file is sound", "database", row["integrity_check"])
    for row in transaction.rows("PRAGMA foreign_key_check"):
        yield Finding("every row belongs to something", row["table"], f"to {row['parent']}")


def _count(transaction: Transaction, what: str) -> int:
    found = transaction.row(f"SELECT COUNT(*) AS n FROM {what}")
    return int(found["n"]) if found else 0
