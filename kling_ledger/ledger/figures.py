"""Figures: the state of budget windows and wallets, for decisions and explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kling_ledger.errors import NotFoundError
from kling_ledger.ledger import expiry
from kling_ledger.ledger.demands import Demand, WalletDemand
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.slots import WALLETS, Owner
from kling_ledger.ledger.standing import window_figures


class Figures(Protocol):
    """What windows hold and have spent, and what wallets have available; all in millionths."""

    def window(self, demand: Demand) -> tuple[int, int]:
        """Return what the window of a demand holds, and what it has spent."""

    def available(self, wallet_id: str) -> int:
        """Return what a wallet has available."""


@dataclass(frozen=True, slots=True)
class Read:
    """The figures as read now, including what the transaction itself has taken so far."""

    transaction: Transaction

    def window(self, demand: Demand) -> tuple[int, int]:
        """Return what the window of a demand holds, and what it has spent."""
        return window_figures(self.transaction, demand.budget, demand.starts_us, demand.ends_us)

    def available(self, wallet_id: str) -> int:
        """Return what a wallet has available."""
        row = self.transaction.row(
            f"SELECT posted_micro - reserved_micro AS available FROM {WALLETS} WHERE id = :id",
            id=wallet_id,
        )
        if row is None:
            raise NotFoundError("wallet", wallet_id)
        return int(row["available"])


@dataclass(frozen=True, slots=True)
class WithoutDue:
    """The figures as they will be once expired reservations have returned their credits."""

    transaction: Transaction
    at_us: int

    def window(self, demand: Demand) -> tuple[int, int]:
        """Return what the window of a demand holds, and what it has spent."""
        held, spent = Read(self.transaction).window(demand)
        window = demand.budget, demand.starts_us, demand.ends_us
        return held - expiry.due_in_window(self.transaction, *window, at_us=self.at_us), spent

    def available(self, wallet_id: str) -> int:
        """Return what a wallet has available."""
        due = expiry.due_of_wallet(self.transaction, wallet_id, at_us=self.at_us)
        return Read(self.transaction).available(wallet_id) + due


@dataclass(frozen=True, slots=True)
class Kept:
    """Figures that are read once, plus what was taken since and is not written yet.

    Only for exclusive transactions: in others they could change.
    """

    figures: Figures
    _windows: dict[Owner, tuple[int, int]] = field(default_factory=dict)
    _wallets: dict[str, int] = field(default_factory=dict)

    def window(self, demand: Demand) -> tuple[int, int]:
        """Return what the window of a demand holds, and what it has spent."""
        owner = Owner(demand.budget.id, demand.starts_us)
        if owner not in self._windows:
            self._windows[owner] = self.figures.window(demand)
        return self._windows[owner]

    def available(self, wallet_id: str) -> int:
        """Return what a wallet has available."""
        if wallet_id not in self._wallets:
            self._wallets[wallet_id] = self.figures.available(wallet_id)
        return self._wallets[wallet_id]

    def take(self, demands: Sequence[Demand], wallets: Mapping[str, WalletDemand]) -> None:
        """Add what one call takes from windows and wallets."""
        for demand in demands:
            held, spent = self.window(demand)
            owner = Owner(demand.budget.id, demand.starts_us)
            self._windows[owner] = held + demand.amount_micro, spent
        for wallet_id, (_, _, amount_micro) in wallets.items():
            self._wallets[wallet_id] = self.available(wallet_id) - amount_micro
