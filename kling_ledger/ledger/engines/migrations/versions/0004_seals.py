"""Seals that cover what reports rest on: what is needed for them is kept with each row from now on.

Every new column is NULL in what was written before: seals of the first format stay as they are.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_STATEMENTS = """
ALTER TABLE job_event ADD COLUMN period TEXT;
ALTER TABLE job_event ADD COLUMN task_id TEXT;
ALTER TABLE job_event ADD COLUMN settled_by TEXT;
ALTER TABLE job_event ADD COLUMN usd_micro BIGINT;
ALTER TABLE budget_event ADD COLUMN period TEXT;
ALTER TABLE idempotency ADD COLUMN period TEXT;
ALTER TABLE period ADD COLUMN format BIGINT;
ALTER TABLE period ADD COLUMN version BIGINT;
CREATE TABLE sealed_part (
    period TEXT NOT NULL, section TEXT NOT NULL, number BIGINT NOT NULL, digests TEXT NOT NULL,
    PRIMARY KEY (period, section, number)
) WITHOUT ROWID;
"""


def upgrade() -> None:
    """Add what is new; nothing is copied."""
    connection = op.get_bind()
    for statement in _STATEMENTS.strip().rstrip(";").split(";\n"):
        connection.exec_driver_sql(_in(connection.dialect.name, statement))


def _in(dialect: str, statement: str) -> str:
    """Write a statement as an engine wants it: on both, text is ordered by its bytes."""
    if dialect == "sqlite":
        return statement
    return statement.replace(" WITHOUT ROWID", "").replace(" TEXT", ' VARCHAR COLLATE "C"')
