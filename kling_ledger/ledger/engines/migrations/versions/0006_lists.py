"""Indexes by which a list of a few reservations among many reads only those few, and their labels.

An index of what is known of a job has the instant beside it: its end is what a list shows first,
and a new job is written there too.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

_STATEMENTS = """
CREATE INDEX reservation_by_state ON reservation (state, created_at)
    WHERE state IN ('in_doubt', 'committed', 'rolled_back', 'expired');
CREATE INDEX reservation_by_wallet ON reservation (wallet_id, created_at);
CREATE INDEX reservation_by_project ON reservation (project, created_at) WHERE project IS NOT NULL;
CREATE INDEX reservation_by_provider ON reservation (provider, created_at)
    WHERE provider IS NOT NULL;
CREATE INDEX reservation_by_account ON reservation (account, created_at) WHERE account IS NOT NULL;
CREATE INDEX reservation_by_model ON reservation (model, created_at) WHERE model IS NOT NULL;
CREATE TABLE reservation_label (
    label TEXT NOT NULL, created_at BIGINT NOT NULL, reservation_id TEXT NOT NULL,
    PRIMARY KEY (label, created_at, reservation_id)
) WITHOUT ROWID
"""

_TRIGGER = (
    "CREATE TRIGGER reservation_labels AFTER INSERT ON reservation WHEN (NEW.labels IS NOT NULL) "
    "BEGIN INSERT INTO reservation_label (label, created_at, reservation_id) "
    "SELECT value, NEW.created_at, NEW.id "
    """FROM json_each('["' || replace(trim(NEW.labels, ','), ',', '","') || '"]'); END"""
)
_LABELS = (
    "INSERT INTO reservation_label (label, created_at, reservation_id) "
    "SELECT value, created_at, reservation.id FROM reservation, "
    """json_each('["' || replace(trim(labels, ','), ',', '","') || '"]') """
    "WHERE labels IS NOT NULL"
)
_SQLITE = (_TRIGGER, _LABELS)
_FUNCTION_OF_A_SERVER = """
CREATE FUNCTION kling_ledger_label() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO reservation_label (label, created_at, reservation_id)
    SELECT label, NEW.created_at, NEW.id
    FROM unnest(string_to_array(trim(both ',' FROM NEW.labels), ',')) AS label;
    RETURN NULL;
END $$
"""
_TRIGGER_OF_A_SERVER = (
    "CREATE TRIGGER reservation_labels AFTER INSERT ON reservation FOR EACH ROW "
    "WHEN (NEW.labels IS NOT NULL) EXECUTE FUNCTION kling_ledger_label()"
)
_LABELS_OF_A_SERVER = (
    "INSERT INTO reservation_label (label, created_at, reservation_id) "
    "SELECT label, created_at, id FROM reservation, "
    "unnest(string_to_array(trim(both ',' FROM labels), ',')) AS label WHERE labels IS NOT NULL"
)
_POSTGRES = (_FUNCTION_OF_A_SERVER, _TRIGGER_OF_A_SERVER, _LABELS_OF_A_SERVER)


def upgrade() -> None:
    """Add what is new; what is there stays as it is."""
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    for statement in _STATEMENTS.strip().split(";\n"):
        connection.exec_driver_sql(statement if is_sqlite else _for_postgres(statement))
    # The trigger first: from then on nobody adds a reservation until this is done.
    for statement in _SQLITE if is_sqlite else _POSTGRES:
        connection.exec_driver_sql(statement)


def _for_postgres(statement: str) -> str:
    """Order text by its bytes, as SQLite does."""
    return statement.replace(" WITHOUT ROWID", "").replace(" TEXT", ' VARCHAR COLLATE "C"')
