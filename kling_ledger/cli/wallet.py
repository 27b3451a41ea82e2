"""`kling-ledger wallet`: create, fund, adjust, show and remove wallets.

Purchases are in `wallet_purchases`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from kling_ledger.cli.dry_run import dry_run_option, print_transfers
from kling_ledger.cli.keys import keyed
from kling_ledger.cli.known_words import known_unit, unknown_option
from kling_ledger.cli.output import (
    database_option,
    format_option,
    print_many,
    print_one,
    say,
)
from kling_ledger.cli.wallet_purchases import register
from kling_ledger.cli.wallet_rows import wallet_dict
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.ledger.wallets import Costing

_COLUMNS = ("name", "unit", "available", "reserved", "posted", "funded", "spent")


class _Amount(click.Command):
    """A command with negative amounts: `-3 halo-credit` is not an option, nor its `h` -h."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Treat -h as help only if it is a word of its own."""
        return super().parse_args(ctx, ["--help" if word == "-h" else word for word in args])


_BELOW_ZERO: Final = {"ignore_unknown_options": True, "help_option_names": ["--help"]}


@click.group()
def wallet() -> None:
    """Create, fund, adjust, show and remove wallets: an owner's account in one unit."""


@wallet.command()
@click.argument("name")
@click.option("--unit", default="USD", show_default=True, help="USD, evolink-credit, ...")
@click.option(
    "--costing",
    type=click.Choice(["fifo", "average"]),
    help="How purchases are used up: first in, first out, or at their moving average. Cannot "
    "be changed later. [default: fifo]",
)
@unknown_option
@database_option
@format_option
def create(
    name: str,
    unit: str,
    costing: Costing | None,
    db: str | None,
    form: str,
    *,
    takes_unknown: bool,
) -> None:
    """Create an empty wallet. Creating it twice is harmless."""
    from kling_ledger.ledger import Ledger
    from kling_pricing.library import open_library

    with Ledger(db) as ledger:
        named = unit if takes_unknown else known_unit(unit, ledger, open_library())
        print_one(wallet_dict(ledger.wallets.create(name, named, costing=costing)), form)


@wallet.command(cls=_Amount, context_settings=_BELOW_ZERO)
@click.argument("name")
@click.argument("amount")
@click.option(
    "--key", help="Your own id for this funding: with the same key it is added only once."
)
@click.option("--reason", help="The reason, kept in the journal.")
@dry_run_option
@database_option
@format_option
def fund(
    name: str,
    amount: str,
    key: str | None,
    reason: str | None,
    db: str | None,
    form: str,
    *,
    dry_run: bool,
) -> None:
    """Add an allowance to a wallet, for example: wallet fund team "10 USD".

    An allowance is a permission to spend. For credits that were paid for, use wallet purchase.
    """
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False, dry_run=dry_run) as ledger:
        unit = ledger.wallets.get(name).unit
        added = Money.parse(amount, default_unit=unit)
        with keyed(key) as own:
            funded = ledger.wallets.fund(name, added, key=own, reason=reason)
    if dry_run:
        print_transfers(ledger, form)
        return
    print_one(wallet_dict(funded), form)
    say(
        "note: this is an allowance, without cash; for credits that were paid for, use wallet "
        "purchase"
    )


@wallet.command(cls=_Amount, context_settings=_BELOW_ZERO)
@click.argument("name")
@click.argument("amount")
@click.option("--reason", required=True, help="The reason, kept in the journal.")
@click.option(
    "--key", help="Your own id for this correction: with the same key it is made only once."
)
@click.option(
    "--corrects",
    metavar="MONTH",
    help="The month to correct, such as 2026-10. The correction counts in that month until it "
    "is sealed, else now.",
)
@dry_run_option
@database_option
@format_option
def adjust(
    name: str,
    amount: str,
    reason: str,
    key: str | None,
    corrects: str | None,
    db: str | None,
    form: str,
    *,
    dry_run: bool,
) -> None:
    """Correct a wallet up or down, for example: wallet adjust team "-3 USD" --reason "chargeback".

    A wallet may be adjusted below zero; it then admits nothing until it is funded.
    """
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False, dry_run=dry_run) as ledger:
        unit = ledger.wallets.get(name).unit
        added = Money.parse(amount, default_unit=unit)
        with keyed(key) as own:
            adjusted = ledger.wallets.adjust(name, added, reason=reason, key=own, corrects=corrects)
    if dry_run:
        print_transfers(ledger, form)
        return
    print_one(wallet_dict(adjusted), form)


@wallet.command("list")
@database_option
@format_option
def list_wallets(db: str | None, form: str) -> None:
    """List all wallets."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        rows = [wallet_dict(found) for found in ledger.wallets.all()]
    empty = "no wallets yet: kling-ledger wallet create NAME"
    print_many(rows, _COLUMNS, form, empty=empty, optional=("posted", "funded"))


@wallet.command()
@click.argument("name")
@database_option
@format_option
def show(name: str, db: str | None, form: str) -> None:
    """Show one wallet."""
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        found = ledger.wallets.get(name)
    print_one(wallet_dict(found), form)
    if found.available.amount < 0 and form == "table":
        say("note: the wallet is below zero and admits nothing until it is funded")


@wallet.command()
@click.argument("name")
@database_option
@format_option
def remove(name: str, db: str | None, form: str) -> None:
    """Remove a wallet that was never used, such as one in the wrong unit.

    A wallet that ever had a payment, a job, a budget, a token or an approval stays, because history
    is about it. Let it run out instead: with nothing left it admits nothing.
    """
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        print_one(wallet_dict(ledger.wallets.remove(name)), form)
    say("removed")


@wallet.command()
@click.argument("name")
@click.argument("new_name")
@database_option
@format_option
def rename(name: str, new_name: str, db: str | None, form: str) -> None:
    """Rename a wallet that was never used.

    A wallet that was used keeps its name for good: sealed months, keys, exports and your other
    books know it by that name, and what you handed in would no longer agree with the ledger. Create
    another wallet, put new credits there, and let the old one run out.
    """
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        print_one(wallet_dict(ledger.wallets.rename(name, new_name)), form)


register(wallet)
