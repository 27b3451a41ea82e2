"""Slots: shares of hot wallets and windows. What is new in the tables that are there is NULL."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

_STATEMENTS = """
ALTER TABLE wallet ADD COLUMN shared_micro BIGINT CONSTRAINT wallet_covers_its_slots
    CHECK (shared_micro IS NULL OR posted_micro >= reserved_micro);
ALTER TABLE budget_window ADD COLUMN shared_to_micro BIGINT
    CONSTRAINT budget_window_covers_its_slots
    CHECK (shared_to_micro IS NULL OR held_micro + spent_micro <= shared_to_micro);
CREATE TABLE slot (
    owner_id TEXT NOT NULL, starts_at BIGINT NOT NULL, number BIGINT NOT NULL,
    among BIGINT NOT NULL, given_micro BIGINT NOT NULL, share_micro BIGINT NOT NULL,
    most_micro BIGINT NOT NULL, held_micro BIGINT NOT NULL, spent_micro BIGINT NOT NULL,
    version BIGINT NOT NULL, since_at BIGINT NOT NULL,
    PRIMARY KEY (owner_id, starts_at, number),
    CONSTRAINT slot_is_within_its_bounds CHECK (share_micro BETWEEN 0 AND most_micro),
    CONSTRAINT slot_moves_what_it_was_given
        CHECK (share_micro + held_micro + spent_micro = given_micro)
) WITHOUT ROWID;
"""


def upgrade() -> None:
    """Add the table and the two columns."""
    connection = op.get_bind()
    dialect = connection.dialect.name
    for statement in _STATEMENTS.strip().rstrip(";").split(";\n"):
        connection.exec_driver_sql(_in(dialect, statement))


def _in(dialect: str, statement: str) -> str:
    """Write a statement as an engine wants it: on both, text is ordered by its bytes."""
    if dialect == "sqlite":
        return statement
    return statement.replace(" WITHOUT ROWID", "").replace(" TEXT", ' VARCHAR COLLATE "C"')
