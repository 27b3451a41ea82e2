"""What the gateway and agents need: tokens, approvals, and where a client wants its callback.

A token's secret is nowhere: only its SHA-256 is. Nothing of what was written before changes.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

_STATEMENTS = """
CREATE TABLE token (
    id TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, wallet_id TEXT NOT NULL,
    project TEXT, labels TEXT, models TEXT, ceiling_micro BIGINT, run_limit_micro BIGINT,
    approve_above_micro BIGINT, actor TEXT NOT NULL, created_at BIGINT NOT NULL,
    expires_at BIGINT, revoked_at BIGINT, revoked_by TEXT,
    PRIMARY KEY (id),
    UNIQUE (digest),
    FOREIGN KEY(wallet_id) REFERENCES wallet (id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX token_by_name ON token (name) WHERE revoked_at IS NULL;
CREATE TABLE approval (
    id TEXT NOT NULL, wallet_id TEXT NOT NULL, payload_hash TEXT NOT NULL, provider TEXT NOT NULL,
    model TEXT, action TEXT, project TEXT, said TEXT NOT NULL, asked_micro BIGINT NOT NULL,
    ceiling_micro BIGINT NOT NULL, asked_by TEXT NOT NULL, asked_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL, verdict TEXT, decided_by TEXT, decided_at BIGINT, reason TEXT,
    PRIMARY KEY (id),
    CONSTRAINT approval_verdict_is_known CHECK (verdict IN ('granted', 'denied')),
    CONSTRAINT approval_is_decided_by_somebody
        CHECK ((verdict IS NULL) = (decided_by IS NULL)
        AND (verdict IS NULL) = (decided_at IS NULL)),
    FOREIGN KEY(wallet_id) REFERENCES wallet (id)
) WITHOUT ROWID;
CREATE TABLE callback_relay (
    reservation_id TEXT NOT NULL, url TEXT NOT NULL, created_at BIGINT NOT NULL,
    PRIMARY KEY (reservation_id),
    FOREIGN KEY(reservation_id) REFERENCES reservation (id)
) WITHOUT ROWID
"""


def upgrade() -> None:
    """Add what is new; nothing is copied."""
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    for statement in _STATEMENTS.strip().split(";\n"):
        connection.exec_driver_sql(statement if is_sqlite else _for_postgres(statement))
    for table in ("token", "approval"):
        connection.exec_driver_sql(_guard(table) if is_sqlite else _guard_of_a_server(table))
        if not is_sqlite:
            connection.exec_driver_sql(_guard_of_a_server(table, "TRUNCATE", "STATEMENT"))


def _guard(table: str) -> str:
    return (
        f"CREATE TRIGGER {table}_never_delete BEFORE DELETE ON {table}  "
        f"BEGIN SELECT RAISE(ABORT, 'a {table} is never deleted'); END"
    )


def _guard_of_a_server(table: str, verb: str = "DELETE", each: str = "ROW") -> str:
    return (
        f"CREATE TRIGGER {table}_never_{verb.lower()} BEFORE {verb} ON {table} "
        f"FOR EACH {each} EXECUTE FUNCTION kling_ledger_refuse('a {table} is never deleted')"
    )


def _for_postgres(statement: str) -> str:
    """Order text by its bytes, as SQLite does."""
    return statement.replace(" WITHOUT ROWID", "").replace(" TEXT", ' VARCHAR COLLATE "C"')
