"""Laws: what must hold between rows, one query per law, each naming the rows that break it.

A query gives a `subject`, the row that is wrong, and the `problem` in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.journal import KINDS
from kling_ledger.ledger.reservations import MAY_FOLLOW
from kling_ledger.ledger.states import ENDED_STATES, State
from kling_ledger.ledger.verify.findings import Finding

_ACCOUNTS: Final = {
    "funding": "'funding'",
    "adjustment": "'adjustment'",
    "available": "'wallet/' || wallet.id || '/available'",
    "reserved": "'wallet/' || wallet.id || '/reserved'",
    "provider": "'provider/' || COALESCE(reservation.provider, 'unnamed')",
}
_KINDS: Final = "CASE kind {} ELSE 1 = 0 END".format(
    " ".join(
        f"WHEN '{kind}' THEN debit_account = {_ACCOUNTS[debit]}"
        f" AND credit_account = {_ACCOUNTS[credit]}"
        for kind, debit, credit in KINDS
    )
)
_ENDED: Final = ", ".join(f"'{state}'" for state in ENDED_STATES)
_STEPS: Final = " OR ".join(
    (
        f"(from_state IS NULL AND step = 1 AND to_state = '{State.RESERVED}')",
        "(from_state = to_state)",
        # An undone correction: the reservation was open before, and is open again.
        f"(from_state IN ({_ENDED}) AND to_state = '{State.IN_DOUBT}')",
        *(
            f"(from_state = '{before}' AND to_state = '{after}')"
            for before, followers in MAY_FOLLOW.items()
            for after in sorted(followers)
        ),
    )
)
CARRIED: Final = "what a sealed period carried forward is what reservations held at its end"
STILL_HELD: Final = (
    "CASE WHEN kind IN ('reserve', 'reopen') THEN amount_micro"
    " WHEN kind IN ('commit', 'return', 'roll_back', 'expire') THEN -amount_micro ELSE 0 END"
)
"""What a transfer adds to the amount that its reservation still holds."""

_SET_ASIDE: Final = "a reservation's transfers set aside its amount, and free what it holds no more"
_SPENT: Final = (
    "what a reservation committed and refunded is what its transfers spent and gave back"
)
_BROKEN_RESERVATIONS: Final = """
SELECT reservation.id AS subject, state, held_micro, reserved_micro, refunded_micro,
       COALESCE(committed_micro, 0) AS committed, COALESCE(t.set_aside, 0) AS set_aside,
       COALESCE(t.freed, 0) AS freed, COALESCE(t.spent, 0) AS spent,
       COALESCE(t.refunded, 0) AS refunded
FROM reservation LEFT JOIN (
    SELECT reservation_id,
           SUM(CASE WHEN kind = 'reserve' THEN amount_micro ELSE 0 END) AS set_aside,
           SUM(CASE WHEN kind IN ('commit', 'return', 'roll_back', 'expire')
                    THEN amount_micro WHEN kind = 'reopen' THEN -amount_micro ELSE 0 END) AS freed,
           SUM(CASE WHEN credit_account LIKE 'provider/%' THEN amount_micro ELSE 0 END) AS spent,
           SUM(CASE WHEN debit_account LIKE 'provider/%' THEN amount_micro ELSE 0 END) AS refunded
    FROM transfer GROUP BY reservation_id) AS t ON t.reservation_id = reservation.id
WHERE COALESCE(t.set_aside, 0) <> reserved_micro
   OR COALESCE(t.freed, 0) <> reserved_micro - held_micro
   OR COALESCE(committed_micro, 0) <> COALESCE(t.spent, 0)
   OR refunded_micro <> COALESCE(t.refunded, 0)
ORDER BY reservation.id
"""
"""Two laws in one pass over transfers, the longest table."""

LAWS: Final[tuple[tuple[str, str], ...]] = (
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
        "a purchase is of a funding, and counts in its month",
        """
        SELECT lot.transfer_id AS subject, 'it counts in ' || lot.period || ' and is of a '
               || transfer.kind || ' of ' || transfer.period AS problem
        FROM purchase_lot AS lot JOIN transfer ON transfer.id = lot.transfer_id
        WHERE transfer.kind <> 'fund' OR transfer.period <> lot.period
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
        WHERE NOT EXISTS (SELECT 1 FROM reservation WHERE id = result_id)
          AND NOT EXISTS (SELECT 1 FROM wallet WHERE id = result_id)
          AND NOT EXISTS (SELECT 1 FROM budget_raise WHERE id = result_id)
        """,
    ),
    (
        "a slot is of a wallet or a window",
        """
        SELECT DISTINCT owner_id AS subject, 'its slots have no owner' AS problem FROM slot
        WHERE NOT EXISTS (SELECT 1 FROM wallet WHERE id = owner_id) AND NOT EXISTS (
            SELECT 1 FROM budget_window
            WHERE budget_id = slot.owner_id AND budget_window.starts_at = slot.starts_at)
        """,
    ),
    (
        "a slot moves what it was given, and stays within its bounds",
        """
        SELECT owner_id AS subject, 'slot ' || number || ' was given ' || given_micro
               || ', admits ' || share_micro || ' of at most ' || most_micro || ', holds '
               || held_micro || ' and spent ' || spent_micro AS problem
        FROM slot WHERE share_micro + held_micro + spent_micro <> given_micro
           OR share_micro < 0 OR share_micro > most_micro
        """,
    ),
    (
        "a wallet covers what its slots were given",
        """
        SELECT name AS subject, 'its slots were given ' || COALESCE(SUM(given_micro), 0)
               || ', it says ' || COALESCE(shared_micro, 0) || ', and has '
               || (posted_micro - reserved_micro) || ' left' AS problem
        FROM wallet LEFT JOIN slot ON owner_id = id
        GROUP BY id, name, shared_micro, posted_micro, reserved_micro
        HAVING COALESCE(SUM(given_micro), 0) <> COALESCE(shared_micro, 0)
            OR (shared_micro IS NOT NULL AND posted_micro < reserved_micro)
        """,
    ),
    (
        "a window covers what its slots were given",
        """
        SELECT budget_id AS subject, 'from ' || starts_at || ' it may be used up to '
               || shared_to_micro || ' and is up to ' || (held_micro + spent_micro) AS problem
        FROM budget_window WHERE held_micro + spent_micro > shared_to_micro
        """,
    ),
    (
        CARRIED,
        f"""
        SELECT reservation_id AS subject, 'out of ' || period.name || ' went ' || amount_micro
               || ' millionths of ' || unit AS problem
        FROM accrual JOIN period ON period.name = accrual.period AND period.state = 'hard'
        WHERE accrual.amount_micro <> (
            SELECT COALESCE(SUM({STILL_HELD}), 0) FROM transfer
            WHERE transfer.reservation_id = accrual.reservation_id
              AND transfer.unit = accrual.unit AND transfer.period <= accrual.period)
        """,
    ),
    (
        "what was sealed stays sealed",
        """
        SELECT period AS subject, COUNT(*) || ' transfers were sealed in it' AS problem
        FROM sealed_transfer WHERE NOT EXISTS (
            SELECT 1 FROM period WHERE name = sealed_transfer.period AND state = 'hard')
        GROUP BY period
        """,
    ),
)


def law_findings(transaction: Transaction) -> Iterator[Finding]:
    """Report every row that breaks a law."""
    for law, query in LAWS:
        for row in transaction.rows(query):
            yield Finding(law, row["subject"], row["problem"])
    yield from _transfer_findings(transaction)


def _transfer_findings(transaction: Transaction) -> Iterator[Finding]:
    """Compare every reservation with the sums of its transfers."""
    for row in transaction.rows(_BROKEN_RESERVATIONS):
        freed = row["reserved_micro"] - row["held_micro"]
        if (row["set_aside"], row["freed"]) != (row["reserved_micro"], freed):
            problem = (
                f"it is {row['state']} and holds {row['held_micro']} of {row['reserved_micro']};"
                f" its transfers set aside {row['set_aside']} and free {row['freed']}"
            )
            yield Finding(_SET_ASIDE, row["subject"], problem)
        if (row["spent"], row["refunded"]) != (row["committed"], row["refunded_micro"]):
            problem = (
                f"it committed {row['committed']} and refunded {row['refunded_micro']},"
                f" its transfers spent {row['spent']} and gave back {row['refunded']}"
            )
            yield Finding(_SPENT, row["subject"], problem)
