"""What Alembic runs around the scripts: on the connection that it is given, in its transaction."""

from __future__ import annotations

from alembic import context

from kling_ledger.ledger.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
