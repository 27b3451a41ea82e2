"""Running: which checks run side by side when a ledger is verified."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.verify import (
    Finding,
    KeptSeal,
    Verification,
    file_findings,
    verify,
)


def run(database: Database, kept: Sequence[KeptSeal]) -> Verification:
    """Verify a ledger; SQLite checks its file in parallel, which takes half as long as the rest."""
    if database.engine.dialect != "sqlite":
        with database.read() as transaction:
            return verify(transaction, dialect=database.engine.dialect, kept=kept)
    with ThreadPoolExecutor(1) as beside, database.read() as transaction:
        of_file = beside.submit(_of_file, database)
        return verify(transaction, dialect="sqlite", kept=kept, of_file=of_file.result)


def _of_file(database: Database) -> list[Finding]:
    with database.read() as transaction:
        return list(file_findings(transaction))
