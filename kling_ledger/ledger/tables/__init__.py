"""The tables of the ledger, with the laws that the database itself enforces.

Amounts are integers of millionths of their unit; instants are integers of microseconds since 1970
in UTC. Both are exact on every engine and in every reader. Text is ordered by its bytes, so that
two engines sort ids and names alike.
"""

from __future__ import annotations

from kling_ledger.ledger.tables.evidence import (
    AccountKeyRow,
    BillEntryRow,
    BillProfileRow,
    CorrectionPlanRow,
    ProviderBalanceRow,
    ProviderRecordRow,
    SettingRow,
)
from kling_ledger.ledger.tables.guards import guards
from kling_ledger.ledger.tables.money import (
    IdempotencyRow,
    JobEventRow,
    PurchaseLotRow,
    ReservationLabelRow,
    ReservationRow,
    TransferRow,
    WalletRow,
)
from kling_ledger.ledger.tables.reach import ApprovalRow, CallbackRelayRow, TokenRow
from kling_ledger.ledger.tables.rules import (
    AccrualRow,
    BudgetEventRow,
    BudgetRaiseRow,
    BudgetRow,
    BudgetWindowRow,
    PeriodRow,
    RulesRow,
    SealedPartRow,
    SealedTransferRow,
    SlotRow,
)

__all__ = [
    "AccountKeyRow",
    "AccrualRow",
    "ApprovalRow",
    "BillEntryRow",
    "BillProfileRow",
    "BudgetEventRow",
    "BudgetRaiseRow",
    "BudgetRow",
    "BudgetWindowRow",
    "CallbackRelayRow",
    "CorrectionPlanRow",
    "IdempotencyRow",
    "JobEventRow",
    "PeriodRow",
    "ProviderBalanceRow",
    "ProviderRecordRow",
    "PurchaseLotRow",
    "ReservationLabelRow",
    "ReservationRow",
    "RulesRow",
    "SealedPartRow",
    "SealedTransferRow",
    "SettingRow",
    "SlotRow",
    "TokenRow",
    "TransferRow",
    "WalletRow",
    "guards",
]
