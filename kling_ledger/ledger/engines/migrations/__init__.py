"""Migrations: how a ledger's database gets from one schema to the next, on both engines.

Each script in `versions` holds its SQL as it was when it was written and imports nothing from the
ledger: the tables change later, a script never does. Only `kling-ledger db upgrade` loads Alembic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

_HERE: Final = Path(__file__).parent


def upgrade(connection: Connection, *, to: str, reached: str | None = None) -> None:
    """Upgrade a database, in the transaction that is open on its connection.

    `reached` is the version of a database of the first release, which does not record it.
    """
    config = Config()
    # In Alembic's options, `%` begins an escape.
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    if reached is not None:
        command.stamp(config, reached)
    command.upgrade(config, to)
