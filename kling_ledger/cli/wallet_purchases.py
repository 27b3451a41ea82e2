"""`kling-ledger wallet purchase` and `wallet lots`: purchases, and what is left of them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli.dry_run import dry_run_option, print_transfers
from kling_ledger.cli.keys import keyed
from kling_ledger.cli.output import database_option, format_option, print_many, print_one
from kling_ledger.cli.wallet_rows import wallet_dict
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.ledger import Ledger, Wallet

_LOTS: Final = (
    *("bought_on", "seller", "invoice", "units", "left", "unit", "cash", "cost_left", "currency"),
    *("expires_on", "state", "transfer_id"),
)


class _Day(click.ParamType[date]):
    """A day, as in 2026-10-03."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day; a usage error for anything else."""
        try:
            return datetime.strptime(str(value), "%Y-%m-%d").replace(tzinfo=UTC).date()
        except ValueError:
            self.fail(f"not a day: {value!r}; write it as 2026-10-03", param, ctx)


def _paid(ctx: click.Context, param: click.Parameter, value: str | None) -> Money | None:  # noqa: ARG001
    return None if value is None else Money.parse(value)


@click.command()
@click.argument("name")
@click.argument("amount", required=False)
@click.option("--cash", callback=_paid, required=True, help="The price without tax: 33.75 USD.")
@click.option("--seller", required=True, help="The seller.")
@click.option("--date", "bought_on", type=_Day(), required=True, help="The day of the purchase.")
@click.option("--invoice", help="The number of the seller's invoice.")
@click.option("--tax", callback=_paid, help="The tax, in the same currency.")
@click.option(
    "--expires", "expires_on", type=_Day(), help="The last day on which the credits can be used."
)
@click.option(
    "--of",
    metavar="TRANSFER",
    help="Instead of AMOUNT: the earlier funding that was paid for, txf_..., in a month not "
    "sealed.",
)
@click.option(
    "--key", help="Your own id for this purchase: with the same key it is recorded only once."
)
@click.option("--reason", help="The reason, kept in the journal.")
@dry_run_option
@database_option
@format_option
def purchase(
    name: str,
    amount: str | None,
    of: str | None,
    key: str | None,
    reason: str | None,
    db: str | None,
    form: str,
    *,
    dry_run: bool,
    **paid: Any,
) -> None:
    """Add credits that were paid for to a wallet: a purchase lot.

    \b
    kling-ledger wallet purchase team "2700 evolink-credit" --cash "33.75 USD" \\
        --seller EvoLink --invoice INV-7 --date 2026-10-03 --expires 2027-10-03

    --of records the cost of an earlier funding; report purchases lists fundings.
    """
    from kling_ledger.ledger import Ledger

    if (amount is None) == (of is None):
        raise click.UsageError(
            "give either AMOUNT, the credits bought, or --of, an earlier funding"
        )
    if of is not None and reason is not None:
        raise click.UsageError("the funding already has a reason: omit --reason")
    with Ledger(db, create=False, dry_run=dry_run) as ledger, keyed(key) as own:
        if of is not None:
            made = ledger.wallets.record_purchase(name, of, key=own, **paid)
        else:
            made = _bought(ledger, name, str(amount), key=own, reason=reason, **paid)
    if dry_run:
        print_transfers(ledger, form)
        return
    print_one(wallet_dict(made), form)


def _bought(ledger: Ledger, name: str, amount: str, **given: Any) -> Wallet:
    unit = ledger.wallets.get(name).unit
    return ledger.wallets.purchase(name, Money.parse(amount, default_unit=unit), **given)


@click.command()
@click.argument("name")
@database_option
@format_option
def lots(name: str, db: str | None, form: str) -> None:
    """List what is left of a wallet's purchases, what it cost and when it expires.

    Those that expire first come first. Allowances are not listed: they cost nothing until used.
    """
    from kling_ledger.ledger import Ledger
    from kling_reports.purchases import lots_left

    with Ledger(db, create=False) as ledger:
        found = ledger.wallets.get(name).name
        rows = lots_left(ledger.database, found, today=datetime.now(UTC).date())
    empty = "nothing is left of any purchase: the balance, if any, comes from allowances"
    print_many(rows, _LOTS, form, empty=empty, optional=("transfer_id", "invoice", "cash"))


def register(wallet: click.Group) -> None:
    """Add these commands to `kling-ledger wallet`."""
    for command in (purchase, lots):
        wallet.add_command(command)
