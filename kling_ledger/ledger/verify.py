"""verify: work every balance and state out again from the journal, and name what does not agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kling_ledger.ledger.database import Transaction
from kling_ledger.ledger.journal import KINDS
from kling_ledger.ledger.tables import OPEN_STATES


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: which law, where, and the figures that disagree."""

    law: str
    subject: str
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked, how much of it there was, and what was found."""

    wallets: int
    reservations: int
    transfers: int
    open_reservations: int
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether everything agrees."""
        return not self.findings


_OPEN: Final = ", ".join(f"'{state}'" for state in OPEN_STATES)

_SUMS: Final = f"""
SELECT wallet.name AS subject,
       wallet.funded_micro, wallet.posted_micro, wallet.reserved_micro,
       COALESCE(t.funded, 0) AS funded, COALESCE(t.spent, 0) AS spent,
       COALESCE(t.set_aside, 0) AS set_aside, COALESCE(t.freed, 0) AS freed,
       COALESCE(r.open_micro, 0) AS open_micro, COALESCE(r.committed, 0) AS committed
FROM wallet
LEFT JOIN (
    SELECT wallet_id,
           SUM(CASE WHEN debit_account = 'funding' THEN amount_micro ELSE 0 END) AS funded,
           SUM(CASE WHEN credit_account LIKE 'provider/%' THEN amount_micro ELSE 0 END) AS spent,
           SUM(CASE WHEN credit_account = 'wallet/' || wallet_id || '/reserved'
                    THEN amount_micro ELSE 0 END) AS set_aside,
           SUM(CASE WHEN debit_account = 'wallet/' || wallet_id || '/reserved'
                    THEN amount_micro ELSE 0 END) AS freed
    FROM transfer GROUP BY wallet_id) AS t ON t.wallet_id = wallet.id
LEFT JOIN (
    SELECT wallet_id,
           SUM(CASE WHEN state IN ({_OPEN}) THEN reserved_micro ELSE 0 END) AS open_micro,
           SUM(COALESCE(committed_micro, 0)) AS committed
    FROM reservation GROUP BY wallet_id) AS r ON r.wallet_id = wallet.id
ORDER BY wallet.name
"""

_ACCOUNTS: Final = {
    "funding": "'funding'",
    "available": "'wallet/' || wallet.id || '/available'",
    "reserved": "'wallet/' || wallet.id || '/reserved'",
    "provider": "'provider/' || COALESCE(reservation.provider, 'unnamed')",
}
_KINDS: Final = " OR ".join(
    f"(kind = '{kind}' AND debit_account = {_ACCOUNTS[debit]}"
    f" AND credit_account = {_ACCOUNTS[credit]})"
    for kind, debit, credit in KINDS
)

_LAWS: Final[tuple[tuple[str, str], ...]] = (
    (
        "a transfer moves credits of its wallet's unit between the two accounts of its kind",
        f"""
        SELECT transfer.id AS subject, 'as ' || kind || ' it moves ' || amount_micro
               || ' millionths of ' || transfer.unit || ' from ' || debit_account
               || ' to ' || credit_account AS problem
        FROM transfer JOIN wallet ON wallet.id = transfer.wallet_id
        LEFT JOIN reservation ON reservation.id = transfer.reservation_id
        WHERE amount_micro < 1 OR transfer.unit <> wallet.unit OR NOT ({_KINDS})
        """,
    ),
    (
        "a reservation is in its wallet's unit",
        """
        SELECT reservation.id AS subject,
               'it is in ' || reservation.unit || ', its wallet in ' || wallet.unit AS problem
        FROM reservation JOIN wallet ON wallet.id = reservation.wallet_id
        WHERE reservation.unit <> wallet.unit
        """,
    ),
    (
        "each event of a reservation takes up where the one before it ended",
        """
        SELECT event.reservation_id AS subject,
               'step ' || event.step || ' goes on from ' || COALESCE(event.from_state, 'nothing')
               || ', the step before ended in ' || COALESCE(before.to_state, 'nothing') AS problem
        FROM job_event AS event LEFT JOIN job_event AS before
            ON before.reservation_id = event.reservation_id AND before.step = event.step - 1
        WHERE COALESCE(event.from_state, '') <> COALESCE(before.to_state, '')
           OR (event.step > 1 AND before.step IS NULL)
        """,
    ),
    (
        "a reservation's transfers set aside its amount, and free all of it when it ends",
        f"""
        SELECT reservation.id AS subject, 'it is ' || state || ' with ' || reserved_micro
               || ' set aside; its transfers set aside ' || COALESCE(t.set_aside, 0)
               || ' and free ' || COALESCE(t.freed, 0) AS problem
        FROM reservation LEFT JOIN (
            SELECT reservation_id,
                   SUM(CASE WHEN kind = 'reserve' THEN amount_micro ELSE 0 END) AS set_aside,
                   SUM(CASE WHEN kind IN ('commit', 'return', 'roll_back')
                            THEN amount_micro ELSE 0 END) AS freed
            FROM transfer GROUP BY reservation_id) AS t ON t.reservation_id = reservation.id
        WHERE COALESCE(t.set_aside, 0) <> reserved_micro
           OR COALESCE(t.freed, 0) <> CASE WHEN state IN ({_OPEN}) THEN 0 ELSE reserved_micro END
        """,
    ),
    (
        "what a reservation committed is what its transfers spent",
        """
        SELECT reservation.id AS subject, 'it committed ' || COALESCE(committed_micro, 0)
               || ', its transfers spent ' || COALESCE(t.spent, 0) AS problem
        FROM reservation LEFT JOIN (
            SELECT reservation_id, SUM(amount_micro) AS spent FROM transfer
            WHERE credit_account LIKE 'provider/%' GROUP BY reservation_id) AS t
            ON t.reservation_id = reservation.id
        WHERE COALESCE(committed_micro, 0) <> COALESCE(t.spent, 0)
        """,
    ),
    (
        "a reservation is in the state that its last event left it in",
        """
        SELECT reservation.id AS subject,
               'it is ' || state || ', its last event says ' || COALESCE(last.to_state, 'nothing')
               AS problem
        FROM reservation LEFT JOIN job_event AS last
            ON last.reservation_id = reservation.id AND last.step = (
                SELECT MAX(step) FROM job_event WHERE reservation_id = reservation.id)
        WHERE last.to_state IS NULL OR last.to_state <> state
        """,
    ),
)


def verify(transaction: Transaction) -> Verification:
    """Check every law of the ledger on one consistent state of the database."""
    return Verification(
        wallets=_count(transaction, "wallet"),
        reservations=_count(transaction, "reservation"),
        transfers=_count(transaction, "transfer"),
        open_reservations=_count(transaction, f"reservation WHERE state IN ({_OPEN})"),
        findings=tuple(_findings(transaction)),
    )


def _findings(transaction: Transaction) -> Iterator[Finding]:
    for row in transaction.rows("PRAGMA integrity_check"):
        if row["integrity_check"] != "ok":
            yield Finding("the file is sound", "database", row["integrity_check"])
    for row in transaction.rows("PRAGMA foreign_key_check"):
        yield Finding("every row belongs to something", row["table"], f"row {row['rowid']}")
    for row in transaction.rows(_SUMS):
        yield from _balance_findings(row)
    for law, query in _LAWS:
        for row in transaction.rows(query):
            yield Finding(law, row["subject"], row["problem"])


def _balance_findings(row: dict[str, int | str]) -> Iterator[Finding]:
    expected = (
        ("funded_micro", "funded", row["funded"]),
        ("posted_micro", "posted = funded - spent", int(row["funded"]) - int(row["spent"])),
        (
            "reserved_micro",
            "reserved = set aside - freed",
            int(row["set_aside"]) - int(row["freed"]),
        ),
        ("reserved_micro", "reserved = its open reservations", row["open_micro"]),
        ("spent", "spent = its committed reservations", row["committed"]),
    )
    for column, law, figure in expected:
        if row[column] != figure:
            problem = f"it says {row[column]} millionths, the journal says {figure}"
            yield Finding(f"a wallet's balance: {law}", str(row["subject"]), problem)


def _count(transaction: Transaction, what: str) -> int:
    found = transaction.row(f"SELECT COUNT(*) AS n FROM {what}")
    return int(found["n"]) if found else 0
