"""Migrations: how a ledger's database comes from one schema to the next, on both engines.

Each script in `versions` holds its SQL as it was when it was written and imports nothing of the
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
    """Bring a database to a version, in the transaction that is open on its connection.

    `reached` is where a database stands that does not say so itself: one of the first release.
    """
    config = Config()
    # The folder's name is a text with `%` escapes to Alembic.
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    if reached is not None:
        command.stamp(config, reached)
    command.upgrade(config, to)
