"""The tables of the ledger, with the laws that the database itself enforces.

Amounts are integers of millionths of their unit; instants are integers of microseconds since 1970
in UTC. Both are exact on every engine and in every reader. Text is ordered by its bytes, so that
two engines sort ids and names alike.
"""

from __future__ import annotations

from typing import Final

from kling_ledger.ledger.states import OPEN_STATES, State
from kling_ledger.ledger.tables.evidence import ProviderBalanceRow, ProviderRecordRow
from kling_ledger.ledger.tables.guards import EXPECTATION_FAILED, guards
from kling_ledger.ledger.tables.money import (
    IdempotencyRow,
    JobEventRow,
    ReservationRow,
    TransferRow,
    WalletRow,
)
from kling_ledger.ledger.tables.rules import (
    AccrualRow,
    BudgetEventRow,
    BudgetRaiseRow,
    BudgetRow,
    BudgetWindowRow,
    PeriodRow,
    RulesRow,
    SealedTransferRow,
)

SCHEMA_VERSION: Final = "0002"
"""The migration that leads to these tables."""

VERSION_TABLE: Final = "kling_ledger_version"
"""Where the database says which migration it has reached."""

__all__ = [
    "EXPECTATION_FAILED",
    "OPEN_STATES",
    "SCHEMA_VERSION",
    "VERSION_TABLE",
    "AccrualRow",
    "BudgetEventRow",
    "BudgetRaiseRow",
    "BudgetRow",
    "BudgetWindowRow",
    "IdempotencyRow",
    "JobEventRow",
    "PeriodRow",
    "ProviderBalanceRow",
    "ProviderRecordRow",
    "ReservationRow",
    "RulesRow",
    "SealedTransferRow",
    "State",
    "TransferRow",
    "WalletRow",
    "guards",
]
