"""`kling-ledger db`: a ledger's database: its version, upgrades and copies."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli import EXIT_DIFFERENCES, EXIT_USAGE
from kling_ledger.cli.hints import hint_for
from kling_ledger.cli.output import (
    database_option,
    format_option,
    instant,
    print_many,
    print_one,
    say,
)

if TYPE_CHECKING:
    from kling_ledger.ledger.backup import Copied
    from kling_ledger.ledger.engines.database import Database


_PURCHASES_SINCE: Final = "0007"
"""The database version that introduced allowances and purchases."""

_TENANT: Final = ("tenant", "version", "wallets", "open", "last_activity")


@click.group()
def db() -> None:
    """Back up a ledger's database, restore it, show its version and upgrade it."""


@db.command()
@database_option
@format_option
def status(db: str | None, form: str) -> int:
    """Show where the database is, its version, and the version that this program needs.

    Exits with 0 if the versions agree, and with 2 and the remedy if not.
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
    """Upgrade the database to the current version: completely, or not at all if interrupted.

    Stop the programs that use it and keep a copy: there is no downgrade. `db backup` copies only
    ledgers of its own version.
    """
    from kling_ledger.ledger.engines.database import Database

    with closing(Database(_address(db), create=False, any_version=True)) as database:
        before = database.upgrade()
        told = status_dict(database)
    print_one(told, form)
    is_current = before == told["version"]
    say("nothing to do" if is_current else f"upgraded from {before} to {told['version']}")
    if before < _PURCHASES_SINCE:
        _say_what_fundings_are(db)


@db.command()
@click.argument("count", type=int)
@database_option
@format_option
def slots(count: int, db: str | None, form: str) -> None:
    """Split hot wallets and budgets into COUNT slots, so that they scale with clients.

    For PostgreSQL with many clients on one wallet: about four slots per client, at most 256. Limits
    stay exact. 0 merges all slots again, which is the default.
    """
    from kling_ledger.ledger import Ledger

    with Ledger(_address(db), create=False) as ledger:
        ledger.use_slots(count)
        print_one({"database": ledger.database.name, "slots": ledger.slots}, form)


@db.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@database_option
@format_option
def backup(file: Path, *, force: bool, db: str | None, form: str) -> int:
    """Copy the ledger, as of one instant, to FILE. Other programs can use it meanwhile.

    \b
    kling-ledger db backup ledger-2026-11-26.sqlite
    kling-ledger db backup ledger.sqlite --db postgresql://app@host/ledger

    FILE is an SQLite file, whatever the ledger's engine. It is a complete ledger: any command reads
    it with --db FILE. The copy is verified and compared with the ledger; exits with 6 if they
    differ.

    FILE is as confidential as the ledger: it holds the cost of every job, and the secret that
    fingerprints API keys (not the keys). Its permissions let only you read it.
    """
    from kling_ledger.ledger.backup import backup as copy

    return _print_copy(copy(_address(db), file, replace=force), str(file), form)


@db.command()
@click.argument(
    "file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@database_option
@format_option
def restore(file: Path, db: str | None, form: str) -> int:
    """Restore FILE into an empty database on either engine: completely, or not at all.

    \b
    kling-ledger db restore ledger-2026-11-26.sqlite --db new.sqlite
    kling-ledger db restore ledger-2026-11-26.sqlite --db postgresql://app@host/new_ledger

    Refused if the database holds anything. The result is verified and compared with FILE; exits
    with 6 if they differ. Before you reserve anything, run `resume` and `reconcile`: providers know
    jobs that are newer than the copy.
    """
    from kling_ledger.ledger.backup import restore as put_back

    address = _address(db)
    return _print_copy(put_back(file, address), _shown(address), form)


@db.command()
@database_option
@format_option
def tenants(db: str | None, form: str) -> None:
    """List the schemas of a PostgreSQL database with a ledger that this role may read.

    \b
    kling-ledger db tenants --db postgresql://app@host/ledgers
    kling-ledger report spend --tenants team_a,team_b --db postgresql://app@host/ledgers
    """
    from kling_ledger.ledger.tenants import tenants as listed

    rows = [
        {
            "tenant": one.name,
            "version": one.version,
            "wallets": one.wallets,
            "open": one.open_reservations,
            "last_activity": one.last_activity_at and instant(one.last_activity_at),
        }
        for one in listed(_address(db))
    ]
    print_many(rows, _TENANT, form, empty="no schema in this database holds a ledger")


def _say_what_fundings_are(db: str | None) -> None:
    """Print how many fundings became allowances, and how to record that one was paid for."""
    from kling_ledger.ledger import Ledger, purchases

    with Ledger(_address(db), create=False) as ledger, ledger.database.read() as transaction:
        count = purchases.allowances(transaction)
    if count:
        say(f"note: {count} fundings are now allowances, because no cash was recorded for them")
        say("note: `report purchases` lists them; to record cash for one, in a month not sealed:")
        say(
            '  kling-ledger wallet purchase WALLET --of txf_... --cash "33.75 USD" --seller NAME'
            " --date 2026-10-03"
        )


def _print_copy(copied: Copied, place: str, form: str) -> int:
    """Print the contents of a copy and whether it is good; return the exit code."""
    rows = copied.facts.rows
    findings = [f"{one.subject}: {one.law}; {one.problem}" for one in copied.findings]
    told = {
        "copy": place,
        "verdict": "differences found" if findings else "clean",
        "wallets": rows["wallet"],
        "reservations": rows["reservation"],
        "transfers": rows["transfer"],
        "last_transfer": copied.facts.last_transfer,
        "digest": copied.facts.digest,
        "findings": findings,
    }
    print_one({**told, "rows": dict(rows)} if form == "json" else told, form)
    return EXIT_DIFFERENCES if findings else 0


def _shown(address: str) -> str:
    """Return an address without its password."""
    from kling_ledger.ledger.engines.database import engine_of

    return engine_of(address).name


def status_dict(database: Database) -> dict[str, Any]:
    """Return the state of a database for printing; its address without the password."""
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
