"""`--dry-run`: the transfers that a command would make; nothing changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from kling_ledger.cli.output import Command, print_many, say
from kling_pricing.money import plain

if TYPE_CHECKING:
    from kling_ledger.ledger import Ledger

_COLUMNS: Final = (
    *("kind", "debit_account", "credit_account", "amount", "unit"),
    *("wallet", "reservation", "period"),
)
_OPTIONAL: Final = ("period", "wallet", "kind", "reservation")


def dry_run_option(command: Command) -> Command:
    """Add `--dry-run` to a command; its value reaches the command as `dry_run`."""
    return click.option(
        "--dry-run",
        is_flag=True,
        help="Print the transfers it would make, and change nothing.",
    )(command)


def print_transfers(ledger: Ledger, form: str) -> None:
    """Print the transfers of a dry run as the journal would have them."""
    rows = [
        {
            "kind": one.kind,
            "debit_account": one.debit_account,
            "credit_account": one.credit_account,
            "amount": plain(one.amount.amount),
            "unit": one.amount.unit,
            "wallet": one.wallet,
            "reservation": one.reservation_id,
            "period": one.period,
        }
        for one in ledger.would_move
    ]
    print_many(rows, _COLUMNS, form, empty="nothing would move", optional=_OPTIONAL)
    say("note: a dry run: nothing was changed")
