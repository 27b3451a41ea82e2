"""The ledger: what was promised, spent and returned. It knows money and no HTTP."""

from __future__ import annotations

from kling_ledger.ledger.accruals import Accrual
from kling_ledger.ledger.admissible import Admissible
from kling_ledger.ledger.asking import Asked
from kling_ledger.ledger.budgets import Budget
from kling_ledger.ledger.changes import Change
from kling_ledger.ledger.evidence import ProviderBalance, ProviderRecord
from kling_ledger.ledger.ledger import Ledger
from kling_ledger.ledger.periods import Period
from kling_ledger.ledger.reservations import Job, Reservation, SettledBy
from kling_ledger.ledger.reserving import Reserving
from kling_ledger.ledger.scopes import Scope
from kling_ledger.ledger.standing import BudgetStatus
from kling_ledger.ledger.states import OPEN_STATES, State
from kling_ledger.ledger.thresholds import BudgetWarning
from kling_ledger.ledger.wallets import Wallet

__all__ = [
    "OPEN_STATES",
    "Accrual",
    "Admissible",
    "Asked",
    "Budget",
    "BudgetStatus",
    "BudgetWarning",
    "Change",
    "Job",
    "Ledger",
    "Period",
    "ProviderBalance",
    "ProviderRecord",
    "Reservation",
    "Reserving",
    "Scope",
    "SettledBy",
    "State",
    "Wallet",
]
