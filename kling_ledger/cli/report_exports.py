"""`kling-ledger report focus|beancount|hledger|close-pack`: exports for other programs."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from kling_ledger.cli.output import database_option, say
from kling_ledger.cli.report_forms import write_bytes
from kling_ledger.cli.spans import Month
from kling_ledger.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_reports.exports.focus_columns import Dataset, Version

_RATE: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,31})=([0-9]{1,12}(?:\.[0-9]{1,15})?)")


_out: Final = click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it to a file. [default: standard output]",
)
_through: Final = click.option(
    "--through", type=Month(), metavar="MONTH", help="The last month to include."
)
_rates: Final = click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="UNIT=USD",
    help="The value of one unit in USD, for jobs without their own rate: evolink-credit=0.0139.",
)


@click.command()
@click.option("--period", type=Month(), metavar="MONTH", help="Only this month of the journal.")
@click.option(
    "--focus-version",
    "version",
    type=click.Choice(["1.2", "1.4"]),
    default="1.2",
    show_default=True,
    help="The version of FOCUS.",
)
@click.option(
    "--dataset",
    type=click.Choice(["cost-and-usage", "billing-period", "invoice-detail"]),
    default="cost-and-usage",
    show_default=True,
    help="The dataset of FOCUS 1.4: charges, the billing months of each issuer, or invoices.",
)
@_rates
@_out
@database_option
def focus(
    period: str | None,
    *,
    version: Version,
    dataset: Dataset,
    rates: tuple[str, ...],
    out: Path | None,
    db: str | None,
) -> None:
    """Every charge as a FOCUS file (CSV), with credits as a virtual currency.

    \b
    kling-ledger report focus --period 2026-10 --out focus.csv
    kling-ledger report focus --focus-version 1.4 --dataset invoice-detail --out invoices.csv

    Buying credits is a purchase, and each use carries its share of that cost. Usage of an allowance
    is billed when used. A refund is negative usage.
    """
    from kling_ledger.ledger import Ledger
    from kling_reports.exports import of_ledger

    if version == "1.2" and dataset != "cost-and-usage":
        raise click.UsageError(f"FOCUS 1.2 has no {dataset}: use --focus-version 1.4")
    given = _read_rates(rates)
    with Ledger(db, create=False) as ledger:
        said = of_ledger.focus(
            ledger.database, period, rates=given, version=version, dataset=dataset
        )
    write_bytes(said, out)


@click.command()
@_through
@_out
@database_option
def beancount(through: str | None, out: Path | None, db: str | None) -> None:
    """The journal for beancount, with the balance of each account at the end of each month."""
    _export("beancount", through, out, db)


@click.command()
@_through
@_out
@database_option
def hledger(through: str | None, out: Path | None, db: str | None) -> None:
    """The journal for hledger, with the balance of each account at the end of each month."""
    _export("hledger", through, out, db)


@click.command("close-pack")
@click.argument("month", type=Month())
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    required=True,
    help="The folder to create.",
)
@_rates
@database_option
def close_pack(month: str, *, out: Path, rates: tuple[str, ...], db: str | None) -> None:
    """Everything that finance keeps of a sealed MONTH, in a new folder.

    \b
    kling-ledger close 2026-10 --hard
    kling-ledger report close-pack 2026-10 --out packs/2026-10

    Statement, spend, variance, reconciliation, accruals, seal and FOCUS file, with the SHA-256 of
    each in manifest.json. A second run gives identical files, byte for byte, at any time on any
    machine.
    """
    from kling_ledger.ledger import Ledger
    from kling_reports import close_pack as pack

    with Ledger(db, create=False) as ledger:
        names = pack.write(ledger.database, month, out, rates=_read_rates(rates))
    say(f"{out} holds the close pack of {month}: {', '.join(sorted(names))}")


EXPORTS: Final = (focus, beancount, hledger, close_pack)
"""The commands that export the ledger for other programs."""


def register(report: click.Group) -> None:
    """Add these commands to `kling-ledger report`."""
    for command in EXPORTS:
        report.add_command(command)


def _export(program: str, through: str | None, out: Path | None, db: str | None) -> None:
    from importlib import import_module

    from kling_ledger.ledger import Ledger
    from kling_reports.doors import journal, purchases

    with Ledger(db, create=False) as ledger:
        lines = journal.lines(ledger.database, through=through)
        lots = purchases.lots(ledger.database, through=through)
    write_bytes(import_module(f"kling_reports.exports.{program}").export(lines, lots), out)


def _read_rates(written: tuple[str, ...]) -> Mapping[str, Decimal]:
    rates: dict[str, Decimal] = {}
    for one in written:
        match = _RATE.fullmatch(one)
        if match is None or not Decimal(match[2]):
            raise ConfigError(f"not a rate: {one!r}", hint="write it as --rate crun-credit=0.005")
        rates[match[1]] = Decimal(match[2])
    return rates
