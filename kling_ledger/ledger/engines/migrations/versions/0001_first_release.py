"""The schema of the first release: wallets, reservations, and their journal.

Only SQLite databases of it were ever made, by that release itself. On PostgreSQL it is a step on
the way to the next.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE wallet (
    id VARCHAR NOT NULL, name VARCHAR NOT NULL, unit VARCHAR NOT NULL,
    funded_micro BIGINT NOT NULL, posted_micro BIGINT NOT NULL, reserved_micro BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT wallet_reserved_is_not_negative CHECK (reserved_micro >= 0),
    CONSTRAINT wallet_posted_is_exact CHECK (posted_micro BETWEEN -9007199254740991 AND
        9007199254740991),
    UNIQUE (name)
);
CREATE TABLE idempotency (
    "key" VARCHAR NOT NULL, content VARCHAR NOT NULL, result_id VARCHAR NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY ("key")
);
CREATE TABLE ledger_schema (
    version INTEGER NOT NULL,
    PRIMARY KEY (version)
);
CREATE TABLE reservation (
    id VARCHAR NOT NULL, wallet_id VARCHAR NOT NULL, state VARCHAR NOT NULL,
    unit VARCHAR NOT NULL, reserved_micro BIGINT NOT NULL, committed_micro BIGINT,
    settled_by VARCHAR, project VARCHAR, provider VARCHAR, model VARCHAR, action VARCHAR,
    seconds VARCHAR, billed_seconds INTEGER, resolution VARCHAR, sound BOOLEAN,
    usd_micro BIGINT, quote VARCHAR, request VARCHAR, payload_hash VARCHAR, address VARCHAR,
    task_id VARCHAR, videos VARCHAR, problem VARCHAR, created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT reservation_state_is_known CHECK (state IN ('reserved', 'submitting',
        'submitted', 'in_doubt', 'committed', 'rolled_back', 'expired')),
    CONSTRAINT reservation_is_of_something CHECK (reserved_micro > 0),
    CONSTRAINT reservation_commits_no_less_than_nothing CHECK (committed_micro >= 0),
    CONSTRAINT reservation_has_an_amount_once_committed CHECK ((state = 'committed') =
        (committed_micro IS NOT NULL)),
    FOREIGN KEY(wallet_id) REFERENCES wallet (id)
);
CREATE INDEX reservation_by_time ON reservation (created_at);
CREATE UNIQUE INDEX reservation_by_task ON reservation (provider, task_id);
CREATE TABLE transfer (
    id VARCHAR NOT NULL, kind VARCHAR NOT NULL, debit_account VARCHAR NOT NULL,
    credit_account VARCHAR NOT NULL, amount_micro BIGINT NOT NULL, unit VARCHAR NOT NULL,
    wallet_id VARCHAR NOT NULL, reservation_id VARCHAR, actor VARCHAR NOT NULL, reason VARCHAR,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT transfer_moves_something CHECK (amount_micro BETWEEN 1 AND 9007199254740991),
    CONSTRAINT transfer_has_two_sides CHECK (debit_account <> credit_account),
    FOREIGN KEY(wallet_id) REFERENCES wallet (id),
    FOREIGN KEY(reservation_id) REFERENCES reservation (id)
);
CREATE INDEX ix_transfer_reservation_id ON transfer (reservation_id);
CREATE INDEX ix_transfer_wallet_id ON transfer (wallet_id);
CREATE TABLE job_event (
    reservation_id VARCHAR NOT NULL, step INTEGER NOT NULL, from_state VARCHAR,
    to_state VARCHAR NOT NULL, actor VARCHAR NOT NULL, reason VARCHAR,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (reservation_id, step),
    FOREIGN KEY(reservation_id) REFERENCES reservation (id)
);
CREATE INDEX reservation_open ON reservation (created_at)
    WHERE state IN ('reserved', 'submitting', 'submitted', 'in_doubt');
INSERT INTO ledger_schema (version) VALUES (1);
"""


def upgrade() -> None:
    """Make the tables."""
    connection = op.get_bind()
    for statement in _TABLES.strip().rstrip(";").split(";\n"):
        connection.exec_driver_sql(statement)
    if connection.dialect.name == "sqlite":
        for table in ("transfer", "job_event"):
            for verb in ("UPDATE", "DELETE"):
                connection.exec_driver_sql(_guard(table, verb))


def _guard(table: str, verb: str) -> str:
    return (
        f"CREATE TRIGGER {table}_is_never_{verb.lower()}d BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: post a correction instead'); END"
    )
