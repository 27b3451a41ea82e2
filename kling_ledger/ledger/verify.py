"""verify: work every balance, window and state out again from the journal; name what disagrees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kling_ledger.ledger import budgets, periods, standing
from kling_ledger.ledger.engines.transaction import Row, Transaction
from kling_ledger.ledger.journal import KINDS
from kling_ledger.ledger.reservations import MAY_FOLLOW
from kling_ledger.ledger.states import OPEN_STATES, State


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
    windows: int
    sealed_periods: int
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether everything agrees."""
        return not self.findings


_OPEN: Final = ", ".join(f"'{state}'" for state in OPEN_STATES)

_SUMS: Final = f"""
SELECT wallet.name AS subject, wallet.funded_micro, wallet.adjusted_micro,
       wallet.posted_micro, wallet.reserved_micro,
       COALESCE(t.funded, 0) AS funded, COALESCE(t.adjusted, 0) AS adjusted,
       COALESCE(t.spent, 0) AS spent, COALESCE(t.held, 0) AS held,
       COALESCE(r.open_micro, 0) AS open_micro, COALESCE(r.committed, 0) AS committed
FROM wallet
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

_ACCOUNTS: Final = {
    "funding": "'funding'",
    "adjustment": "'adjustment'",
    "available": "'wallet/' || wallet.id || '/available'",
    "reserved": "'wallet/' || wallet.id || '/reserved'",
    "provider": "'provider/' || COALESCE(reservation.provider, 'unnamed')",
}
_KINDS: Final = " OR ".join(
    f"(kind = '{kind}' AND debit_account = {_ACCOUNTS[debit]}"
    f" AND credit_account = {_ACCOUNTS[credit]})"
    for kind, debit, credit in KINDS
)
_STEPS: Final = " OR ".join(
    (
        f"(from_state IS NULL AND step = 1 AND to_state = '{State.RESERVED}')",
        "(from_state = to_state)",
        *(
            f"(from_state = '{before}' AND to_state = '{after}')"
            for before, followers in MAY_FOLLOW.items()
            for after in sorted(followers)
        ),
    )
)

_CARRIED: Final = "what a sealed period carried forward is what reservations held at its end"
_STILL_HELD: Final = (
    "CASE WHEN kind = 'reserve' THEN amount_micro"
    " WHEN kind IN ('commit', 'return', 'roll_back', 'expire') THEN -amount_micro ELSE 0 END"
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
               || ', the step before ended in ' || COALESCE(earlier.to_state, 'nothing') AS problem
        FROM job_event AS event LEFT JOIN job_event AS earlier
            ON earlier.reservation_id = event.reservation_id AND earlier.step = event.step - 1
        WHERE COALESCE(event.from_state, '') <> COALESCE(earlier.to_state, '')
           OR (event.step > 1 AND earlier.step IS NULL)
        """,
    ),
    (
        "each event is a step that the life of a reservation allows",
        f"""
        SELECT reservation_id AS subject, 'step ' || step || ' leads from '
               || COALESCE(from_state, 'nothing') || ' to ' || to_state AS problem
        FROM job_event WHERE NOT COALESCE(({_STEPS}), 1 = 0)
        """,
    ),
    (
        "a reservation's transfers set aside its amount, and free what it holds no more",
        """
        SELECT reservation.id AS subject, 'it is ' || state || ' and holds ' || held_micro
               || ' of ' || reserved_micro || '; its transfers set aside '
               || COALESCE(t.set_aside, 0) || ' and free ' || COALESCE(t.freed, 0) AS problem
        FROM reservation LEFT JOIN (
            SELECT reservation_id,
                   SUM(CASE WHEN kind = 'reserve' THEN amount_micro ELSE 0 END) AS set_aside,
                   SUM(CASE WHEN kind IN ('commit', 'return', 'roll_back', 'expire')
                            THEN amount_micro ELSE 0 END) AS freed
            FROM transfer GROUP BY reservation_id) AS t ON t.reservation_id = reservation.id
        WHERE COALESCE(t.set_aside, 0) <> reserved_micro
           OR COALESCE(t.freed, 0) <> reserved_micro - held_micro
        """,
    ),
    (
        "what a reservation committed and refunded is what its transfers spent and gave back",
        """
        SELECT reservation.id AS subject, 'it committed ' || COALESCE(committed_micro, 0)
               || ' and refunded ' || refunded_micro || ', its transfers spent '
               || COALESCE(t.spent, 0) || ' and gave back ' || COALESCE(t.refunded, 0) AS problem
        FROM reservation LEFT JOIN (
            SELECT reservation_id,
                   SUM(CASE WHEN credit_account LIKE 'provider/%' THEN amount_micro ELSE 0 END)
                       AS spent,
                   SUM(CASE WHEN debit_account LIKE 'provider/%' THEN amount_micro ELSE 0 END)
                       AS refunded
            FROM transfer GROUP BY reservation_id) AS t
            ON t.reservation_id = reservation.id
        WHERE COALESCE(committed_micro, 0) <> COALESCE(t.spent, 0)
           OR refunded_micro <> COALESCE(t.refunded, 0)
        """,
    ),
    (
        "a reservation is in the state, and at the step, of its last event",
        """
        SELECT reservation.id AS subject,
               'it is ' || state || ' at step ' || reservation.step || ', its events say '
               || COALESCE(last.to_state, 'nothing') || ' at step ' || COALESCE(t.step, 0)
               AS problem
        FROM reservation
        LEFT JOIN (SELECT reservation_id, MAX(step) AS step FROM job_event GROUP BY reservation_id)
            AS t ON t.reservation_id = reservation.id
        LEFT JOIN job_event AS last
            ON last.reservation_id = reservation.id AND last.step = t.step
        WHERE last.to_state IS NULL OR last.to_state <> state OR t.step <> reservation.step
        """,
    ),
    (
        "a reservation in US dollars counts in US dollars as it is",
        """
        SELECT id AS subject, 'it holds ' || held_micro || ' and counts '
               || COALESCE(usd_held_micro, 0) || ', it spent '
               || (COALESCE(committed_micro, 0) - refunded_micro) || ' and counts '
               || COALESCE(usd_spent_micro, 0) AS problem
        FROM reservation
        WHERE unit = 'USD' AND (COALESCE(usd_held_micro, -1) <> held_micro
           OR COALESCE(usd_spent_micro, -1) <> COALESCE(committed_micro, 0) - refunded_micro)
        """,
    ),
    (
        "a key stands for something that is there",
        """
        SELECT key AS subject, 'it stands for ' || result_id AS problem FROM idempotency
        WHERE result_id NOT IN (SELECT id FROM reservation)
          AND result_id NOT IN (SELECT id FROM wallet)
          AND result_id NOT IN (SELECT id FROM budget_raise)
        """,
    ),
    (
        _CARRIED,
        f"""
        SELECT reservation_id AS subject, 'out of ' || period.name || ' went ' || amount_micro
               || ' millionths of ' || unit AS problem
        FROM accrual JOIN period ON period.name = accrual.period AND period.state = 'hard'
        WHERE accrual.amount_micro <> (
            SELECT COALESCE(SUM({_STILL_HELD}), 0) FROM transfer
            WHERE transfer.reservation_id = accrual.reservation_id
              AND transfer.unit = accrual.unit AND transfer.period <= accrual.period)
        """,
    ),
    (
        "what was sealed stays sealed",
        """
        SELECT period AS subject, COUNT(*) || ' transfers were sealed in it' AS problem
        FROM sealed_transfer WHERE period NOT IN (SELECT name FROM period WHERE state = 'hard')
        GROUP BY period
        """,
    ),
)


def verify(transaction: Transaction, *, dialect: str) -> Verification:
    """Check every law of the ledger on one consistent state of the database."""
    return Verification(
        wallets=_count(transaction, "wallet"),
        reservations=_count(transaction, "reservation"),
        transfers=_count(transaction, "transfer"),
        open_reservations=_count(transaction, f"reservation WHERE state IN ({_OPEN})"),
        windows=_count(transaction, "budget_window"),
        sealed_periods=_count(transaction, "period WHERE state = 'hard'"),
        findings=tuple(_findings(transaction, dialect)),
    )


def _findings(transaction: Transaction, dialect: str) -> Iterator[Finding]:
    if dialect == "sqlite":
        yield from _file_findings(transaction)
    for row in transaction.rows(_SUMS):
        yield from _balance_findings(row)
    for law, query in _LAWS:
        for row in transaction.rows(query):
            yield Finding(law, row["subject"], row["problem"])
    yield from _window_findings(transaction)
    yield from _accrual_findings(transaction)
    yield from _seal_findings(transaction)


def _file_findings(transaction: Transaction) -> Iterator[Finding]:
    for row in transaction.rows("PRAGMA integrity_check"):
        if row["integrity_check"] != "ok":
            yield Finding("the file is sound", "database", row["integrity_check"])
    for row in transaction.rows("PRAGMA foreign_key_check"):
        yield Finding("every row belongs to something", row["table"], f"to {row['parent']}")


def _balance_findings(row: Row) -> Iterator[Finding]:
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


def _window_findings(transaction: Transaction) -> Iterator[Finding]:
    law = "a budget's window counts the reservations that it admitted"
    for budget in budgets.every(transaction):
        rows = transaction.rows(
            "SELECT * FROM budget_window WHERE budget_id = :id ORDER BY starts_at", id=budget.id
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


def _accrual_findings(transaction: Transaction) -> Iterator[Finding]:
    """Add up what each sealed month carried forward: nothing that was held may be missing."""
    carried = _sums(transaction, "accrual", "amount_micro")
    moved = _sums(transaction, "transfer", _STILL_HELD)
    for row in transaction.rows("SELECT name FROM period WHERE state = 'hard' ORDER BY name"):
        name = row["name"]
        for unit in sorted({unit for _, unit in moved}):
            held = sum(moved[month, its] for month, its in moved if its == unit and month <= name)
            if carried.get((name, unit), 0) != held:
                went = f"{carried.get((name, unit), 0)} millionths of {unit} went out of it"
                yield Finding(_CARRIED, name, f"{went}, its transfers left {held}")


def _sums(transaction: Transaction, table: str, amount: str) -> dict[tuple[str, str], int]:
    """Add up a table's amounts by period and unit."""
    query = f"SELECT period, unit, SUM({amount}) AS total FROM {table} GROUP BY period, unit"
    return {(row["period"], row["unit"]): int(row["total"]) for row in transaction.rows(query)}


def _seal_findings(transaction: Transaction) -> Iterator[Finding]:
    """Seal every sealed month again, and name the transfers that break a seal."""
    previous: str | None = None
    rows = transaction.rows("SELECT * FROM period WHERE state = 'hard' ORDER BY name")
    for row in rows:
        name = row["name"]
        if row["previous_seal"] != previous:
            yield Finding("a seal goes on from the seal before it", name, "the chain is broken")
        known = _known_digests(transaction, name)
        seal = periods.Seal(row["previous_seal"])
        for line in periods.lines(transaction, name):
            yield from _line_findings(line.id, seal.add(line), known)
        for transfer_id in known:
            yield Finding(_SEALED, transfer_id, f"it was in {name} and is missing")
        if (seal.value, seal.transfers) != (row["seal"], row["transfers"]):
            problem = f"sealed as {row['seal'][:16]}, its transfers give {seal.value[:16]}"
            yield Finding("a sealed period is as it was sealed", name, problem)
        previous = row["seal"]


_SEALED: Final = "a transfer of a sealed period is as it was sealed"


def _known_digests(transaction: Transaction, period: str) -> dict[str, str]:
    rows = transaction.rows(
        "SELECT transfer_id, digest FROM sealed_transfer WHERE period = :period"
        " ORDER BY transfer_id",
        period=period,
    )
    return {row["transfer_id"]: row["digest"] for row in rows}


def _line_findings(transfer_id: str, digest: str, known: dict[str, str]) -> Iterator[Finding]:
    sealed = known.pop(transfer_id, None)
    if sealed is None:
        yield Finding(_SEALED, transfer_id, "it was put in afterwards")
    elif sealed != digest:
        yield Finding(_SEALED, transfer_id, "it was changed")


def _count(transaction: Transaction, what: str) -> int:
    found = transaction.row(f"SELECT COUNT(*) AS n FROM {what}")
    return int(found["n"]) if found else 0
