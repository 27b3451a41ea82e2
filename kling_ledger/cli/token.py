"""`kling-ledger token`: let callers spend through a gateway, from one wallet, within limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli.inputs import When, gathered, label_option, read_labels
from kling_ledger.cli.known_words import known_model, known_provider, unknown_option
from kling_ledger.cli.output import (
    database_option,
    format_option,
    instant,
    print_many,
    print_one,
    say,
)
from kling_pricing.money import Money, plain_or_none

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kling_ledger.ledger.tokens import Token
    from kling_pricing.library import Library

_COLUMNS = (
    *("name", "wallet", "project", "models", "ceiling", "run_limit", "approve_above", "unit"),
    *("state", "expires_at"),
)
_OPTIONAL = ("approve_above", "models", "expires_at", "ceiling", "run_limit")


@click.group()
def token() -> None:
    """Create, show and revoke tokens that let callers spend through a gateway, within limits.

    For a daily cap, set a budget over the label that every job of a token has:

    \b
    kling-ledger budget set bot-by-day --limit "20 USD" --label token=bot --window day
    """


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a token, as written."""

    max_cost: str | None
    run_limit: str | None
    approve_above: str | None

    def read(self, unit: str) -> dict[str, Money | None]:
        """Return them in the wallet's unit, unless they name another."""
        written = {
            "ceiling": self.max_cost,
            "run_limit": self.run_limit,
            "approve_above": self.approve_above,
        }
        return {
            name: None if text is None else Money.parse(text, default_unit=unit)
            for name, text in written.items()
        }


@token.command()
@click.argument("name")
@click.option("--wallet", required=True, help="The wallet that pays for its jobs.")
@click.option(
    "--project",
    help="The project of its jobs; if it ends with /, callers choose one below it with "
    "X-Kling-Project.",
)
@label_option
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    help="Allow only this model, such as kling-3.0, kling-* or runapi:kling-3.0; may be "
    "repeated. [default: every model]",
)
@click.option("--max-cost", metavar="AMOUNT", help="The most that one job may cost.")
@click.option(
    "--run-limit",
    metavar="AMOUNT",
    help="The most that all jobs of one run may cost; callers name the run with X-Kling-Run.",
)
@click.option(
    "--approve-above", metavar="AMOUNT", help="Above this a person has to approve each job."
)
@gathered(Limits, "limits")
@click.option(
    "--expires",
    "expires_at",
    type=When(),
    metavar="WHEN",
    help="When it ends: 12h, 30d, or an instant such as 2026-12-01. [default: never]",
)
@unknown_option
@database_option
@format_option
def create(
    name: str,
    wallet: str,
    project: str | None,
    labels: tuple[str, ...],
    models: tuple[str, ...],
    limits: Limits,
    expires_at: datetime | None,
    db: str | None,
    form: str,
    *,
    takes_unknown: bool,
) -> None:
    """Create a token and print its secret, which is never shown again.

    \b
    kling-ledger token create bot --wallet team --project film/ --max-cost "2 USD"
    kling-ledger token create ci --wallet team --run-limit "5 USD" --expires 30d

    Only the secret goes to standard output: callers use it as their API key. The ledger keeps only
    its SHA-256.
    """
    from kling_ledger.ledger import Ledger
    from kling_pricing.library import open_library

    with Ledger(db, create=False) as ledger:
        given = ledger.wallets.get(wallet)
        meant = models if takes_unknown else _known_models(models, open_library())
        made, secret = ledger.tokens.create(
            name,
            wallet=given.name,
            project=project,
            labels=read_labels(labels),
            models=meant,
            expires_at=expires_at,
            **limits.read(given.unit),
        )
    if form == "table":
        click.echo(secret)
        say(f"created token {made.name}. Its secret is shown only now: store it where it is used")
    else:
        print_one({**token_dict(made), "secret": secret}, form)


@token.command("list")
@click.option("--all", "has_all", is_flag=True, help="Include revoked and expired tokens.")
@database_option
@format_option
def list_tokens(db: str | None, form: str, *, has_all: bool) -> None:
    """List the tokens that are in force."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        found, now = ledger.tokens.all(), ledger.now()
    shown = [one for one in found if has_all or one.is_in_force_at(now)]
    rows = [token_dict(one) for one in shown]
    if form == "csv":
        rows = [_in_cells(row) for row in rows]
    empty = "no tokens in force: kling-ledger token create NAME --wallet WALLET"
    print_many(rows, _COLUMNS, form, empty=empty, optional=_OPTIONAL)


@token.command()
@click.argument("name")
@database_option
@format_option
def show(name: str, db: str | None, form: str) -> None:
    """Show one token, without its secret: that is not stored."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        found = ledger.tokens.get(name)
    print_one(token_dict(found), form)


@token.command()
@click.argument("name")
@click.option("--reason", help="The reason, for the log; the ledger records who and when.")
@database_option
@format_option
def revoke(name: str, reason: str | None, db: str | None, form: str) -> None:
    """Revoke a token. Its running jobs continue and are settled."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        revoked = ledger.tokens.revoke(name, reason=reason)
    print_one(token_dict(revoked), form)
    say(f"token {name} is revoked: every gateway of this ledger now refuses it")


def token_dict(found: Token) -> dict[str, Any]:
    """Return a token for printing, without its digest: amounts as plain decimals in its unit."""
    return {
        "id": found.id,
        "name": found.name,
        "wallet": found.wallet,
        "unit": found.unit,
        "project": found.project,
        "labels": dict(found.labels),
        "models": list(found.models),
        "ceiling": plain_or_none(found.ceiling),
        "run_limit": plain_or_none(found.run_limit),
        "approve_above": plain_or_none(found.approve_above),
        "state": _state(found),
        "actor": found.actor,
        "created_at": instant(found.created_at),
        "expires_at": found.expires_at and instant(found.expires_at),
        "revoked_at": found.revoked_at and instant(found.revoked_at),
        "revoked_by": found.revoked_by,
    }


def _state(found: Token) -> str:
    if found.revoked_at is not None:
        return "revoked"
    return "in force" if found.is_in_force_at(datetime.now(UTC)) else "expired"


def _in_cells(row: dict[str, Any]) -> dict[str, Any]:
    """Write lists as one cell."""
    return {**row, "models": " ".join(row["models"])}


def _known_models(models: Sequence[str], library: Library) -> list[str]:
    """Return models as price books write them. UsageError if no provider makes one of them."""
    return [_known_model(entry, library) for entry in models]


def _known_model(entry: str, library: Library) -> str:
    before, colon, after = entry.partition(":")
    provider, name = (known_provider(before, library), after) if colon else (None, before)
    prefix = f"{provider}:" if colon else ""
    if not name.endswith("*"):
        return prefix + known_model(name, provider, library)
    sellers = library.providers if provider is None else (provider,)
    models = {model for seller in sellers for model in library.book(seller).models}
    if not any(model.startswith(name[:-1]) for model in models):
        raise click.UsageError(
            f"no known model begins with {name[:-1]}: use --unknown to accept it"
        )
    return prefix + name
