"""What finance asks for: what was paid for credits, what a job was quoted, who prepared a close.

Every new column is NULL in what was written before, and old fundings have no purchase: they are
allowances.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

_STATEMENTS = """
ALTER TABLE wallet ADD COLUMN costing TEXT;
ALTER TABLE reservation ADD COLUMN quoted_micro BIGINT;
ALTER TABLE reservation ADD COLUMN low_micro BIGINT;
ALTER TABLE reservation ADD COLUMN estimated_micro BIGINT;
ALTER TABLE period ADD COLUMN prepared_by TEXT;
ALTER TABLE period ADD COLUMN prepared_at BIGINT;
CREATE TABLE purchase_lot (
    transfer_id TEXT NOT NULL, seller TEXT NOT NULL, cash_micro BIGINT NOT NULL,
    currency TEXT NOT NULL, tax_micro BIGINT, invoice TEXT, bought_on TEXT NOT NULL,
    expires_on TEXT, actor TEXT NOT NULL, created_at BIGINT NOT NULL, period TEXT NOT NULL,
    PRIMARY KEY (transfer_id),
    CONSTRAINT purchase_lot_costs_no_less_than_nothing CHECK (cash_micro >= 0),
    CONSTRAINT purchase_lot_tax_is_no_less_than_nothing CHECK (tax_micro >= 0),
    FOREIGN KEY(transfer_id) REFERENCES transfer (id)
) WITHOUT ROWID
"""

_REFUSAL = "purchase_lot is append-only: no {verb}, post a correction instead"


def upgrade() -> None:
    """Add what is new; nothing is copied."""
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    for statement in _STATEMENTS.strip().split(";\n"):
        connection.exec_driver_sql(statement if is_sqlite else _for_postgres(statement))
    for guard in map(_guard, ("UPDATE", "DELETE")) if is_sqlite else map(_guard_of_a_server, _ROWS):
        connection.exec_driver_sql(guard)


_ROWS = (("UPDATE", "ROW"), ("DELETE", "ROW"), ("TRUNCATE", "STATEMENT"))


def _guard(verb: str) -> str:
    return (
        f"CREATE TRIGGER purchase_lot_never_{verb.lower()} BEFORE {verb} ON purchase_lot  "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL.format(verb=verb)}'); END"
    )


def _guard_of_a_server(of: tuple[str, str]) -> str:
    verb, each = of
    return (
        f"CREATE TRIGGER purchase_lot_never_{verb.lower()} BEFORE {verb} ON purchase_lot "
        f"FOR EACH {each} EXECUTE FUNCTION kling_ledger_refuse('{_REFUSAL.format(verb=verb)}')"
    )


def _for_postgres(statement: str) -> str:
    """Order text by its bytes, as SQLite does."""
    return statement.replace(" WITHOUT ROWID", "").replace(" TEXT", ' VARCHAR COLLATE "C"')
