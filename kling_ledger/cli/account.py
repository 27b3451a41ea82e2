"""`kling-ledger account`: the accounts whose API keys run jobs, and their names in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli.connections import fingerprint, key_option
from kling_ledger.cli.output import database_option, format_option, print_many, print_one
from kling_pricing.gateways import GATEWAYS

if TYPE_CHECKING:
    from kling_ledger.ledger.accounts import Account

_COLUMNS = ("provider", "account", "keys", "since")


@click.group()
def account() -> None:
    """Show and name the accounts that jobs run on at the providers.

    API keys are never stored: the ledger recognises a key by its fingerprint.
    """


@account.command("list")
@database_option
@format_option
def list_(db: str | None, form: str) -> None:
    """List the accounts whose keys have been used."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        found = ledger.accounts.all()
    print_many([_row(one) for one in found], _COLUMNS, form, empty="no accounts yet")


@account.command()
@click.argument("name")
@click.option(
    "--provider", type=click.Choice(GATEWAYS), required=True, help="The provider of the account."
)
@click.option(
    "--key/--no-key", "takes_key", default=True, help="The current API key belongs to this account."
)
@click.option("--jobs-of", metavar="ACCOUNT", help="Merge in this account: it is the same one.")
@click.option("--unclaimed", is_flag=True, help="Include jobs from before accounts were recorded.")
@key_option
@database_option
@format_option
def adopt(
    name: str,
    provider: str,
    jobs_of: str | None,
    api_key: str | None,
    db: str | None,
    form: str,
    *,
    takes_key: bool,
    unclaimed: bool,
) -> None:
    """Assign the current API key, or the jobs of another account, to an account.

    \b
    kling-ledger account adopt studio --provider runapi                # after a key change
    kling-ledger account adopt studio --provider crun --unclaimed      # jobs from an older ledger
    kling-ledger account adopt studio --provider crun --jobs-of key-3f9a1c0d2e4b
    """
    from kling_ledger.ledger import Ledger

    if unclaimed and jobs_of is not None:
        raise click.UsageError("--unclaimed and --jobs-of name different jobs: use one")
    with Ledger(db, create=False) as ledger:
        moved = ledger.accounts.adopt(
            provider,
            name,
            fingerprint=fingerprint(provider, api_key) if takes_key else None,
            jobs_of="" if unclaimed else jobs_of,
        )
    print_one({"provider": provider, "account": name, "jobs": moved}, form)


def _row(one: Account) -> dict[str, Any]:
    return {
        "provider": one.provider,
        "account": one.name,
        "keys": one.keys,
        "since": one.since.isoformat(timespec="seconds"),
    }
