"""Accounts, what providers said that they hold, entries of bills, and corrections to be undone.

The big tables are not copied: what is new in them is NULL until somebody says it.
"""

from __future__ import annotations

import os
from typing import Any

from alembic import op
from sqlalchemy import Connection

revision = "0003"
down_revision = "0002"

_STATEMENTS = """
ALTER TABLE reservation ADD COLUMN account TEXT;
ALTER TABLE reservation ADD COLUMN provider_held_micro BIGINT;
DROP INDEX reservation_by_task;
CREATE UNIQUE INDEX reservation_by_task ON reservation
    (provider, task_id, COALESCE(address, ''), COALESCE(account, '')) WHERE task_id IS NOT NULL;
CREATE TEMPORARY TABLE before_record AS SELECT * FROM provider_record;
CREATE TEMPORARY TABLE before_balance AS SELECT * FROM provider_balance;
DROP TABLE provider_record;
DROP TABLE provider_balance;
CREATE TABLE provider_record (
    provider TEXT NOT NULL, account TEXT NOT NULL, task_id TEXT NOT NULL, reservation_id TEXT,
    verdict TEXT NOT NULL, state TEXT, billed_micro BIGINT, unit TEXT, source TEXT NOT NULL,
    actor TEXT NOT NULL, checked_at BIGINT NOT NULL,
    PRIMARY KEY (provider, account, task_id),
    FOREIGN KEY(reservation_id) REFERENCES reservation (id)
) WITHOUT ROWID;
CREATE TABLE provider_balance (
    provider TEXT NOT NULL, address TEXT NOT NULL, account TEXT NOT NULL,
    checked_at BIGINT NOT NULL, available_micro BIGINT NOT NULL, unit TEXT NOT NULL,
    actor TEXT NOT NULL,
    PRIMARY KEY (provider, address, account, checked_at)
) WITHOUT ROWID;
INSERT INTO provider_record (provider, account, task_id, reservation_id, verdict, state,
                             billed_micro, unit, source, actor, checked_at)
SELECT provider, '', task_id, reservation_id, verdict, state, billed_micro, unit, source, actor,
       checked_at FROM before_record;
INSERT INTO provider_balance (provider, address, account, checked_at, available_micro, unit, actor)
SELECT provider, address, '', checked_at, available_micro, unit, actor FROM before_balance;
DROP TABLE before_record;
DROP TABLE before_balance;
CREATE TABLE account_key (
    provider TEXT NOT NULL, fingerprint TEXT NOT NULL, account TEXT NOT NULL, actor TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (provider, fingerprint)
) WITHOUT ROWID;
CREATE TABLE setting (
    name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (name)
) WITHOUT ROWID;
CREATE TABLE bill_entry (
    provider TEXT NOT NULL, account TEXT NOT NULL, digest TEXT NOT NULL, task_id TEXT,
    kind TEXT NOT NULL, amount_micro BIGINT, unit TEXT NOT NULL, state TEXT, entry_at BIGINT,
    place TEXT NOT NULL, raw TEXT NOT NULL, source TEXT NOT NULL, plan_id TEXT,
    actor TEXT NOT NULL, imported_at BIGINT NOT NULL,
    PRIMARY KEY (provider, account, digest)
) WITHOUT ROWID;
CREATE TABLE bill_profile (
    name TEXT NOT NULL, answers TEXT NOT NULL, actor TEXT NOT NULL, saved_at BIGINT NOT NULL,
    PRIMARY KEY (name)
) WITHOUT ROWID;
CREATE TABLE correction_plan (
    id TEXT NOT NULL, provider TEXT NOT NULL, account TEXT NOT NULL, source TEXT NOT NULL,
    changes TEXT NOT NULL, actor TEXT NOT NULL, applied_at BIGINT NOT NULL, undone_at BIGINT,
    undone_by TEXT,
    PRIMARY KEY (id)
) WITHOUT ROWID;
"""

_REFUSAL = "provider_balance is append-only: no {verb}, post a correction instead"


def upgrade() -> None:
    """Add what is new, and make the two small tables of evidence anew."""
    connection = op.get_bind()
    dialect = connection.dialect.name
    for statement in _STATEMENTS.strip().rstrip(";").split(";\n"):
        _run(connection, _in(dialect, statement))
    secret = os.urandom(32).hex()
    _run(connection, f"INSERT INTO setting (name, value) VALUES ('account_secret', '{secret}')")
    for statement in _guards(dialect):
        _run(connection, statement)


def _in(dialect: str, statement: str) -> str:
    """Write a statement as an engine wants it: on both, text is ordered by its bytes."""
    if dialect == "sqlite":
        return statement
    return statement.replace(" WITHOUT ROWID", "").replace(" TEXT", ' VARCHAR COLLATE "C"')


def _guards(dialect: str) -> list[str]:
    """Return the triggers that went with the table of balances."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER provider_balance_never_{verb.lower()} BEFORE {verb}"
            f" ON provider_balance  BEGIN SELECT RAISE(ABORT, '{_REFUSAL.format(verb=verb)}'); END"
            for verb in ("UPDATE", "DELETE")
        ]
    levels = (("UPDATE", "ROW"), ("DELETE", "ROW"), ("TRUNCATE", "STATEMENT"))
    return [
        f"CREATE TRIGGER provider_balance_never_{verb.lower()} BEFORE {verb} ON provider_balance"
        f" FOR EACH {level} EXECUTE FUNCTION kling_ledger_refuse('{_REFUSAL.format(verb=verb)}')"
        for verb, level in levels
    ]


def _run(connection: Connection, statement: str) -> Any:
    return connection.exec_driver_sql(statement)
