"""`kling-ledger db`: which version a ledger's database has, and how it gets to ours."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli import EXIT_USAGE
from kling_ledger.cli.hints import hint_for
from kling_ledger.cli.output import database_option, format_option, print_one, say

if TYPE_CHECKING:
    from kling_ledger.ledger.engines.database import Database


@click.group()
def db() -> None:
    """Show the version of a ledger's database and bring it up to date."""


@db.command()
@database_option
@format_option
def status(db: str | None, form: str) -> int:
    """Show where the database is, its version, and the version that this program needs.

    Exits with 0 if they agree and 2, with the remedy, if they do not.
    """
    from kling_ledger.errors import NewerSchemaError, OlderSchemaError
    from kling_ledger.ledger.engines.database import Database, check_version

    with closing(Database(_address(db), create=False, any_version=True)) as database:
        told = status_dict(database)
    print_one(told, form)
    try:
        check_version(told["version"], told["database"])
    except (OlderSchemaError, NewerSchemaError) as error:
        say(f"hint: {hint_for(error)}")
        return EXIT_USAGE
    return 0


@db.command()
@database_option
@format_option
def upgrade(db: str | None, form: str) -> None:
    """Bring the database up to date: all of it, or nothing where it is interrupted.

    Stop the programs that use it, and keep a copy: there is no way back.
    """
    from kling_ledger.ledger.engines.database import Database

    with closing(Database(_address(db), create=False, any_version=True)) as database:
        before = database.upgrade()
        told = status_dict(database)
    print_one(told, form)
    is_current = before == told["version"]
    say("nothing to do" if is_current else f"upgraded from {before} to {told['version']}")


@db.command()
@click.argument("count", type=int)
@database_option
@format_option
def slots(count: int, db: str | None, form: str) -> None:
    """Share hot wallets and budgets out among COUNT slots, so that they scale with clients.

    For PostgreSQL with many clients on one wallet: about four slots for each client, at most 256.
    What is admitted stays exact. 0 gathers every slot again, as it is without this command.
    """
    from kling_ledger.ledger import Ledger

    with Ledger(_address(db), create=False) as ledger:
        ledger.use_slots(count)
        print_one({"database": ledger.database.name, "slots": ledger.slots}, form)


def status_dict(database: Database) -> dict[str, Any]:
    """Return where a database stands, for printing; its address is without its password."""
    from kling_ledger.ledger.schema import SCHEMA_VERSION

    version = database.version() or ""
    verdicts = {True: "older", False: "newer"}
    return {
        "database": database.name,
        "engine": database.engine.dialect,
        "version": version,
        "needed": SCHEMA_VERSION,
        "verdict": "current" if version == SCHEMA_VERSION else verdicts[version < SCHEMA_VERSION],
    }


def _address(given: str | None) -> str:
    from kling_ledger import config

    return config.database_url(given)
