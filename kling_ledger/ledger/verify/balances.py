"""Balances: every wallet and every budget window, recomputed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kling_ledger.ledger import budgets, standing
from kling_ledger.ledger.engines.transaction import Row, Transaction
from kling_ledger.ledger.slots import WALLETS, WINDOWS
from kling_ledger.ledger.states import OPEN_STATES
from kling_ledger.ledger.verify.findings import Finding

_OPEN: Final = ", ".join(f"'{state}'" for state in OPEN_STATES)
_SUMS: Final = f"""
SELECT wallet.name AS subject, wallet.funded_micro, wallet.adjusted_micro,
       wallet.posted_micro, wallet.reserved_micro,
       COALESCE(t.funded, 0) AS funded, COALESCE(t.adjusted, 0) AS adjusted,
       COALESCE(t.spent, 0) AS spent, COALESCE(t.held, 0) AS held,
       COALESCE(r.open_micro, 0) AS open_micro, COALESCE(r.committed, 0) AS committed
FROM {WALLETS}
LEFT JOIN (
    SELECT wallet_id,
           SUM(CASE WHEN debit_account = 'funding' THEN amount_micro ELSE 0 END) AS funded,
           SUM(CASE WHEN debit_account = 'adjustment' THEN amount_micro
                    WHEN credit_account = 'adjustment' THEN -amount_micro ELSE 0 END) AS adjusted,
           SUM(CASE WHEN credit_account LIKE 'provider/%' THEN amount_micro
                    WHEN debit_account LIKE 'provider/%' THEN -amount_micro ELSE 0 END) AS spent,
           SUM(CASE WHEN credit_account = 'wallet/' || wallet_id || '/reserved' THEN amount_micro
                    WHEN debit_account = 'wallet/' || wallet_id || '/reserved' THEN -amount_micro
                    ELSE 0 END) AS held
    FROM transfer GROUP BY wallet_id) AS t ON t.wallet_id = wallet.id
LEFT JOIN (
    SELECT wallet_id,
           SUM(CASE WHEN state IN ({_OPEN}) THEN held_micro ELSE 0 END) AS open_micro,
           SUM(COALESCE(committed_micro, 0) - refunded_micro) AS committed
    FROM reservation GROUP BY wallet_id) AS r ON r.wallet_id = wallet.id
ORDER BY wallet.name
"""


def balance_findings(transaction: Transaction) -> Iterator[Finding]:
    """Compare every wallet with its transfers, and with its reservations."""
    for row in transaction.rows(_SUMS):
        yield from _of_wallet(row)


def window_findings(transaction: Transaction) -> Iterator[Finding]:
    """Compare every window with the reservations that its budget covers in it."""
    law = "a budget's window counts the reservations that it admitted"
    for budget in budgets.every(transaction):
        rows = transaction.rows(
            "SELECT budget_id, starts_at, ends_at, held_micro, spent_micro"
            f" FROM {WINDOWS} WHERE budget_id = :id ORDER BY starts_at",
            id=budget.id,
        )
        for row in rows:
            stored = (row["held_micro"], row["spent_micro"])
            counted = standing.counted(transaction, budget, row["starts_at"], row["ends_at"])
            if stored != counted or budget.window_at(row["starts_at"]) != (
                row["starts_at"],
                row["ends_at"],
            ):
                problem = (
                    f"from {row['starts_at']} it holds {stored[0]} and spent {stored[1]},"
                    f" its reservations hold {counted[0]} and spent {counted[1]}"
                )
                yield Finding(law, budget.name, problem)


def _of_wallet(row: Row) -> Iterator[Finding]:
    given = int(row["funded"]) + int(row["adjusted"])
    expected = (
        ("funded_micro", "funded", row["funded"]),
        ("adjusted_micro", "adjusted", row["adjusted"]),
        ("posted_micro", "posted = funded + adjusted - spent", given - int(row["spent"])),
        ("reserved_micro", "reserved = set aside - freed", row["held"]),
        ("reserved_micro", "reserved = its open reservations", row["open_micro"]),
        ("spent", "spent = its committed reservations", row["committed"]),
    )
    for column, law, figure in expected:
        if row[column] != figure:
            problem = f"it says {row[column]} millionths, the journal says {figure}"
            yield Finding(f"a wallet's balance: {law}", str(row["subject"]), problem)
