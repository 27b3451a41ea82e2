"""`kling-ledger db`: a ledger's database: its version, how it gets to ours, and copies of it."""

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
"""The version of the database since which a funding is an allowance or a purchase."""

_TENANT: Final = ("tenant", "version", "wallets", "open", "last_activity")


@click.group()
def db() -> None:
    """Back a ledger's database up, restore it, show its version and bring it up to date."""


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

    Stop the programs that use it, and keep a copy: there is no way back. `db backup` of this
    version copies a ledger of this version only.
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
    """Share hot wallets and budgets out among COUNT slots, so that they scale with clients.

    For PostgreSQL with many clients on one wallet: about four slots for each client, at most 256.
    What is admitted stays exact. 0 gathers every slot again, as it is without this command.
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
    """Copy the ledger, as it is at one instant, into FILE. Whoever uses it goes on.

    \b
    kling-ledger db backup ledger-2026-11-26.sqlite
    kling-ledger db backup ledger.sqlite --db postgresql://app@host/ledger

    FILE is an SQLite file on either engine. It is a ledger by itself: any command reads it with
    --db FILE. The copy is verified and compared with the ledger; exits with 6 if something does
    not agree.

    FILE is as confidential as the ledger: it holds what every job cost, and the secret by which
    API keys are recognised (not the keys). Only you can read it.
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
    """Put the copy in FILE into an empty database on either engine: all of it, or nothing.

    \b
    kling-ledger db restore ledger-2026-11-26.sqlite --db new.sqlite
    kling-ledger db restore ledger-2026-11-26.sqlite --db postgresql://app@host/new_ledger

    Refused where the database holds anything. What is restored is verified and compared with FILE;
    exits with 6 if something does not agree. Before anything is reserved again, run `resume` and
    `reconcile`: providers know of jobs that are younger than the copy.
    """
    from kling_ledger.ledger.backup import restore as put_back

    address = _address(db)
    return _print_copy(put_back(file, address), _shown(address), form)


@db.command()
@database_option
@format_option
def tenants(db: str | None, form: str) -> None:
    """List the schemas of a PostgreSQL database that hold a ledger which this role may read.

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
    """Say how many fundings are allowances now, and how to say that one was paid for."""
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
    """Print what a copy holds and whether it is good; return the exit code."""
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
