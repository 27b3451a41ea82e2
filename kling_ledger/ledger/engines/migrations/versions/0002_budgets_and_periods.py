"""Budgets, closed periods, corrections, refunds, parts and expiry; the tables on PostgreSQL too.

Everything that the first release wrote is kept: it is copied aside, the tables are made anew, and
it is copied back with what the new columns say of it.
"""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import Connection

revision = "0002"
down_revision = "0001"

_BEFORE = ("wallet", "reservation", "transfer", "job_event", "idempotency")

# Children before their parents.
_DROP = ("idempotency", "job_event", "transfer", "reservation", "wallet", "ledger_schema")

_TABLES = """
CREATE TABLE idempotency (
    "key" TEXT NOT NULL, content TEXT NOT NULL, result_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY ("key")
) WITHOUT ROWID;
CREATE TABLE period (
    name TEXT NOT NULL, state TEXT NOT NULL, transfers BIGINT, previous_seal TEXT, seal TEXT,
    actor TEXT NOT NULL, reason TEXT, closed_at BIGINT NOT NULL,
    PRIMARY KEY (name),
    CONSTRAINT period_state_is_known CHECK (state IN ('open', 'soft', 'hard')),
    CONSTRAINT period_is_sealed_when_closed_hard CHECK ((state = 'hard') = (seal IS NOT NULL))
) WITHOUT ROWID;
CREATE TABLE rules (
    id INTEGER NOT NULL, version BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE sealed_transfer (
    transfer_id TEXT NOT NULL, period TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (transfer_id)
) WITHOUT ROWID;
CREATE TABLE wallet (
    id TEXT NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL, funded_micro BIGINT NOT NULL,
    adjusted_micro BIGINT NOT NULL, posted_micro BIGINT NOT NULL,
    reserved_micro BIGINT NOT NULL, actor TEXT NOT NULL, created_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT wallet_reserved_is_not_negative CHECK (reserved_micro >= 0),
    CONSTRAINT wallet_posted_is_exact CHECK (posted_micro BETWEEN -9007199254740991 AND
        9007199254740991),
    UNIQUE (name)
);
CREATE TABLE budget (
    id TEXT NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL, limit_micro BIGINT NOT NULL,
    ceiling_micro BIGINT, mode TEXT NOT NULL, thresholds TEXT NOT NULL, wallet_id TEXT,
    project TEXT, provider TEXT, model TEXT, label TEXT, repeats TEXT NOT NULL,
    timezone TEXT NOT NULL, created_at BIGINT NOT NULL, removed_at BIGINT,
    PRIMARY KEY (id),
    CONSTRAINT budget_limit_is_not_negative CHECK (limit_micro >= 0),
    CONSTRAINT budget_mode_is_known CHECK (mode IN ('hard', 'warn')),
    FOREIGN KEY(wallet_id) REFERENCES wallet (id)
);
CREATE UNIQUE INDEX budget_by_name ON budget (name) WHERE removed_at IS NULL;
CREATE TABLE reservation (
    id TEXT NOT NULL, wallet_id TEXT NOT NULL, state TEXT NOT NULL, step BIGINT NOT NULL,
    unit TEXT NOT NULL, reserved_micro BIGINT NOT NULL, held_micro BIGINT NOT NULL,
    committed_micro BIGINT, refunded_micro BIGINT NOT NULL, usd_micro BIGINT,
    usd_held_micro BIGINT, usd_spent_micro BIGINT, settled_by TEXT, project TEXT, labels TEXT,
    provider TEXT, model TEXT, action TEXT, seconds TEXT, billed_seconds BIGINT,
    resolution TEXT, sound BOOLEAN, quote TEXT, request TEXT, payload_hash TEXT, address TEXT,
    task_id TEXT, videos TEXT, videos_expire_at BIGINT, problem TEXT, actor TEXT NOT NULL,
    expires_at BIGINT, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT reservation_state_is_known CHECK (state IN ('reserved', 'submitting',
        'submitted', 'in_doubt', 'committed', 'rolled_back', 'expired')),
    CONSTRAINT reservation_is_of_something CHECK (reserved_micro > 0),
    CONSTRAINT reservation_holds_what_it_set_aside CHECK (held_micro BETWEEN 0 AND
        reserved_micro),
    CONSTRAINT reservation_holds_nothing_once_ended CHECK (held_micro = 0 OR state IN
        ('reserved', 'submitting', 'submitted', 'in_doubt')),
    CONSTRAINT reservation_refunds_what_was_committed CHECK (refunded_micro BETWEEN 0 AND
        COALESCE(committed_micro, 0)),
    CONSTRAINT reservation_has_an_amount_once_committed CHECK (state <> 'committed' OR
        committed_micro IS NOT NULL),
    FOREIGN KEY(wallet_id) REFERENCES wallet (id)
);
CREATE UNIQUE INDEX reservation_by_task ON reservation (provider, task_id)
    WHERE task_id IS NOT NULL;
CREATE INDEX reservation_by_time ON reservation (created_at);
CREATE INDEX reservation_expiring ON reservation (expires_at)
    WHERE state = 'reserved' AND expires_at IS NOT NULL;
CREATE INDEX reservation_open ON reservation (created_at)
    WHERE state IN ('reserved', 'submitting', 'submitted', 'in_doubt');
CREATE TABLE accrual (
    period TEXT NOT NULL, reservation_id TEXT NOT NULL, amount_micro BIGINT NOT NULL,
    unit TEXT NOT NULL,
    PRIMARY KEY (period, reservation_id),
    FOREIGN KEY(reservation_id) REFERENCES reservation (id)
) WITHOUT ROWID;
CREATE TABLE budget_event (
    budget_id TEXT NOT NULL, step BIGINT NOT NULL, change TEXT NOT NULL, actor TEXT NOT NULL,
    reason TEXT, created_at BIGINT NOT NULL,
    PRIMARY KEY (budget_id, step),
    FOREIGN KEY(budget_id) REFERENCES budget (id)
) WITHOUT ROWID;
CREATE TABLE budget_raise (
    id TEXT NOT NULL, budget_id TEXT NOT NULL, amount_micro BIGINT NOT NULL,
    until_at BIGINT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT budget_raise_is_of_something CHECK (amount_micro > 0),
    FOREIGN KEY(budget_id) REFERENCES budget (id)
) WITHOUT ROWID;
CREATE TABLE budget_window (
    budget_id TEXT NOT NULL, starts_at BIGINT NOT NULL, ends_at BIGINT NOT NULL,
    held_micro BIGINT NOT NULL, spent_micro BIGINT NOT NULL,
    PRIMARY KEY (budget_id, starts_at),
    CONSTRAINT budget_window_held_is_not_negative CHECK (held_micro >= 0),
    FOREIGN KEY(budget_id) REFERENCES budget (id)
) WITHOUT ROWID;
CREATE TABLE job_event (
    reservation_id TEXT NOT NULL, step BIGINT NOT NULL, from_state TEXT, to_state TEXT NOT NULL,
    actor TEXT NOT NULL, reason TEXT, created_at BIGINT NOT NULL,
    PRIMARY KEY (reservation_id, step),
    FOREIGN KEY(reservation_id) REFERENCES reservation (id)
) WITHOUT ROWID;
CREATE TABLE transfer (
    id TEXT NOT NULL, kind TEXT NOT NULL, debit_account TEXT NOT NULL,
    credit_account TEXT NOT NULL, amount_micro BIGINT NOT NULL, unit TEXT NOT NULL,
    wallet_id TEXT NOT NULL, reservation_id TEXT, period TEXT NOT NULL, corrects TEXT,
    actor TEXT NOT NULL, reason TEXT, created_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT transfer_moves_something CHECK (amount_micro BETWEEN 1 AND 9007199254740991),
    CONSTRAINT transfer_has_two_sides CHECK (debit_account <> credit_account),
    FOREIGN KEY(wallet_id) REFERENCES wallet (id),
    FOREIGN KEY(reservation_id) REFERENCES reservation (id)
) WITHOUT ROWID;
CREATE INDEX transfer_by_reservation ON transfer (reservation_id) WHERE reservation_id IS NOT NULL;
INSERT INTO rules (id, version) VALUES (1, 1);
CREATE TABLE provider_record (
    provider TEXT NOT NULL, task_id TEXT NOT NULL, reservation_id TEXT, verdict TEXT NOT NULL,
    state TEXT, billed_micro BIGINT, unit TEXT, source TEXT NOT NULL, actor TEXT NOT NULL,
    checked_at BIGINT NOT NULL,
    PRIMARY KEY (provider, task_id),
    FOREIGN KEY(reservation_id) REFERENCES reservation (id)
) WITHOUT ROWID;
CREATE TABLE provider_balance (
    provider TEXT NOT NULL, address TEXT NOT NULL, checked_at BIGINT NOT NULL,
    available_micro BIGINT NOT NULL, unit TEXT NOT NULL, actor TEXT NOT NULL,
    PRIMARY KEY (provider, address, checked_at)
) WITHOUT ROWID;
"""

_APPEND_ONLY = (
    "transfer",
    "job_event",
    "budget_event",
    "budget_raise",
    "sealed_transfer",
    "provider_balance",
)
_KEPT = ("wallet", "reservation", "idempotency", "budget", "budget_window")

_GUARDS = (
    *(
        (table, verb, "", f"{table} is append-only: no {verb}, post a correction instead")
        for table in _APPEND_ONLY
        for verb in ("UPDATE", "DELETE")
    ),
    *((table, "DELETE", "", f"a {table} is never deleted") for table in _KEPT),
    *(
        (
            "period",
            verb,
            "WHEN (OLD.state = 'hard')",
            "a period that is closed hard stays as it is",
        )
        for verb in ("UPDATE", "DELETE")
    ),
)

_FUNCTIONS = (
    """
    CREATE FUNCTION kling_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'restrict_violation'; END $$
    """,
    """
    CREATE FUNCTION kling_ledger_expect(changed bigint, expected bigint) RETURNS boolean
    LANGUAGE plpgsql AS $$
    BEGIN
        IF changed <> expected THEN
            RAISE EXCEPTION USING ERRCODE = 'KL001',
                MESSAGE = 'changed ' || changed || ' rows, expected ' || expected;
        END IF;
        RETURN true;
    END $$
    """,
)

_MONTH = {
    "sqlite": "strftime('%Y-%m', created_at / 1000000, 'unixepoch')",
    "postgresql": "to_char(to_timestamp(created_at / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM')",
}

_COPY_WALLETS = """
INSERT INTO wallet (id, name, unit, funded_micro, adjusted_micro, posted_micro, reserved_micro,
                    actor, created_at)
SELECT id, name, unit, funded_micro, 0, posted_micro, reserved_micro,
       COALESCE((SELECT actor FROM before_transfer AS moved WHERE moved.wallet_id = old.id
                 ORDER BY moved.created_at, moved.id LIMIT 1), 'unknown'),
       created_at
FROM before_wallet AS old ORDER BY id
"""

# Nothing was held, committed or refunded in part; US dollars of a cost that is neither nothing nor
# the quote are worked out row by row afterwards.
_COPY_RESERVATIONS = """
INSERT INTO reservation (
    id, wallet_id, state, step, unit, reserved_micro, held_micro, committed_micro, refunded_micro,
    usd_micro, usd_held_micro, usd_spent_micro,
    settled_by, project, provider, model, action, seconds, billed_seconds, resolution, sound,
    quote, request, payload_hash, address, task_id, videos, problem,
    actor, created_at, updated_at)
SELECT
    id, wallet_id, state, step, unit, reserved_micro,
    CASE WHEN is_open = 1 THEN reserved_micro ELSE 0 END, committed_micro, 0,
    usd, CASE WHEN usd IS NULL THEN NULL WHEN is_open = 1 THEN usd ELSE 0 END,
    CASE WHEN usd IS NULL THEN NULL
         WHEN unit = 'USD' THEN COALESCE(committed_micro, 0)
         WHEN committed_micro IS NULL THEN 0 ELSE usd END,
    settled_by, project, provider, model, action, seconds, billed_seconds, resolution, sound,
    quote, request, payload_hash, address, task_id, videos, problem,
    actor, created_at, updated_at
FROM (
    SELECT old.*, first.actor, last.step,
           CASE WHEN unit = 'USD' THEN reserved_micro ELSE usd_micro END AS usd,
           CASE WHEN state IN ('reserved', 'submitting', 'submitted', 'in_doubt')
                THEN 1 ELSE 0 END AS is_open
    FROM before_reservation AS old
    JOIN before_job_event AS first ON first.reservation_id = old.id AND first.step = 1
    JOIN (SELECT reservation_id, MAX(step) AS step FROM before_job_event GROUP BY reservation_id)
        AS last ON last.reservation_id = old.id
) AS known
ORDER BY id
"""
_COPY_TRANSFERS = """
INSERT INTO transfer (id, kind, debit_account, credit_account, amount_micro, unit, wallet_id,
                      reservation_id, period, actor, reason, created_at)
SELECT id, kind, debit_account, credit_account, amount_micro, unit, wallet_id,
       reservation_id, {month}, actor, reason, created_at
FROM before_transfer ORDER BY id
"""
_COPY_EVENTS = """
INSERT INTO job_event (reservation_id, step, from_state, to_state, actor, reason, created_at)
SELECT reservation_id, step, from_state, to_state, actor, reason, created_at
FROM before_job_event ORDER BY reservation_id, step
"""
_COPY_KEYS = """
INSERT INTO idempotency ("key", content, result_id, created_at)
SELECT "key", content, result_id, created_at FROM before_idempotency ORDER BY "key"
"""
_AT_ANOTHER_COST = """
SELECT id, usd_micro, reserved_micro, committed_micro FROM reservation
WHERE unit <> 'USD' AND usd_micro IS NOT NULL AND committed_micro <> reserved_micro
"""


def upgrade() -> None:
    """Copy everything aside, make the tables anew, and copy it back."""
    connection = op.get_bind()
    dialect = connection.dialect.name
    for table in _BEFORE:
        _run(connection, f"CREATE TEMPORARY TABLE before_{table} AS SELECT * FROM {table}")
    _run(connection, "CREATE INDEX before_events ON before_job_event (reservation_id, step)")
    _run(connection, "CREATE INDEX before_transfers ON before_transfer (wallet_id, created_at)")
    for table in _DROP:
        _run(connection, f"DROP TABLE {table}")
    for statement in _TABLES.strip().rstrip(";").split(";\n"):
        _run(connection, _in(dialect, statement))
    for statement in (_COPY_WALLETS, _COPY_RESERVATIONS, _COPY_TRANSFERS, _COPY_EVENTS, _COPY_KEYS):
        _run(connection, statement.replace("{month}", _MONTH[dialect]))
    for row in _run(connection, _AT_ANOTHER_COST).fetchall():
        _set_usd_spent(connection, *row)
    for statement in _guards(dialect):
        _run(connection, statement)
    for table in _BEFORE:
        _run(connection, f"DROP TABLE before_{table}")


def _set_usd_spent(
    connection: Connection, reservation_id: str, usd: int, reserved: int, committed: int
) -> None:
    """Write a cost at the rate of its quote, to the nearest millionth of a dollar."""
    spent = (2 * usd * committed + reserved) // (2 * reserved)
    _run(
        connection,
        f"UPDATE reservation SET usd_spent_micro = {spent} WHERE id = '{reservation_id}'",
    )


def _in(dialect: str, statement: str) -> str:
    """Write a statement as an engine wants it: on both, text is ordered by its bytes."""
    if dialect == "sqlite":
        return statement
    return (
        statement.replace(" WITHOUT ROWID", "")
        .replace(" TEXT", ' VARCHAR COLLATE "C"')
        .replace("id INTEGER", "id SERIAL")
    )


def _guards(dialect: str) -> list[str]:
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_never_{verb.lower()} BEFORE {verb} ON {table} {condition} "
            f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
            for table, verb, condition, refusal in _GUARDS
        ]
    triggers = (
        f"CREATE TRIGGER {table}_never_{verb.lower()} BEFORE {verb} ON {table} FOR EACH ROW "
        f"{condition} EXECUTE FUNCTION kling_ledger_refuse('{refusal}')"
        for table, verb, condition, refusal in _GUARDS
    )
    refusals = {table: refusal for table, _, _, refusal in _GUARDS}
    against_emptying = (
        f"CREATE TRIGGER {table}_never_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT "
        f"EXECUTE FUNCTION kling_ledger_refuse('{refusal.replace('DELETE', 'TRUNCATE')}')"
        for table, refusal in refusals.items()
    )
    return [*_FUNCTIONS, *triggers, *against_emptying]


def _run(connection: Connection, statement: str) -> Any:
    return connection.exec_driver_sql(statement)
