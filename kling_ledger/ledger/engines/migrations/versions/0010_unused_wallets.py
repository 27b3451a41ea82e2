"""A wallet that was never used may be removed. Nothing of what was written before changes."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

_REFUSAL = "a wallet is never deleted once it was used"
_USED = "OLD.funded_micro <> 0 OR OLD.adjusted_micro <> 0 OR OLD.reserved_micro <> 0"
_SQLITE = (
    "DROP TRIGGER wallet_never_delete",
    (
        f"CREATE TRIGGER wallet_never_delete BEFORE DELETE ON wallet WHEN ({_USED}) "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    ),
)
_REFUSE = f"EXECUTE FUNCTION kling_ledger_refuse('{_REFUSAL}')"
_POSTGRES = (
    "DROP TRIGGER wallet_never_delete ON wallet",
    "DROP TRIGGER wallet_never_truncate ON wallet",
    (
        "CREATE TRIGGER wallet_never_delete BEFORE DELETE ON wallet FOR EACH ROW "
        f"WHEN ({_USED}) {_REFUSE}"
    ),
    (
        "CREATE TRIGGER wallet_never_truncate BEFORE TRUNCATE ON wallet "
        f"FOR EACH STATEMENT {_REFUSE}"
    ),
)


def upgrade() -> None:
    """Replace the guard of wallets."""
    connection = op.get_bind()
    for statement in _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES:
        connection.exec_driver_sql(statement)
