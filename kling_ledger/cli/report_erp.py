"""`kling-ledger report erp-journal`: a month of the journal for import into an ERP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kling_ledger.cli.output import database_option, say
from kling_ledger.cli.report_forms import write_bytes
from kling_ledger.cli.spans import Month

if TYPE_CHECKING:
    from kling_ledger.ledger import Ledger
    from kling_reports.erp.journal import ErpJournal


@click.command("erp-journal")
@click.option(
    "--period",
    type=Month(),
    metavar="MONTH",
    help="The month of the journal, such as 2026-10 or last-month.",
)
@click.option(
    "--mapping",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.toml",
    help="The file that maps ledger accounts to yours and sets the output format.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it to a file. [default: standard output]",
)
@click.option(
    "--example",
    is_flag=False,
    flag_value="quickbooks",
    metavar="[NAME]",
    help="Only print an example mapping: datev, netsuite, quickbooks, xero.",
)
@database_option
def erp_journal(
    period: str | None,
    *,
    mapping: Path | None,
    out: Path | None,
    example: str | None,
    db: str | None,
) -> None:
    """A month as double-entry lines for an ERP, with the accounts and columns of a mapping file.

    \b
    kling-ledger report erp-journal --example quickbooks > mapping.toml
    kling-ledger report erp-journal --period 2026-10 --mapping mapping.toml --out journal.csv

    Every document balances. A ledger account without a code in the mapping is an error that names
    it: nothing is booked to a default account. See docs/how-to/erp.md.
    """
    if example is not None:
        from kling_reports.erp.mapping_reader import example as text_of

        write_bytes(text_of(example).encode(), out)
        return
    if period is None or mapping is None:
        raise click.UsageError("give a --period and a --mapping, or see --example")
    from kling_ledger.ledger import Ledger
    from kling_reports.doors import journal
    from kling_reports.erp import journal as erp
    from kling_reports.erp import mapping_reader

    known = mapping_reader.read(mapping)
    with Ledger(db, create=False) as ledger:
        found = erp.erp_journal(journal.lines(ledger.database, period=period), known, period)
        is_sealed = _is_sealed(ledger, period)
    write_bytes(found.content, out)
    _say(found, period, is_sealed=is_sealed)


def _is_sealed(ledger: Ledger, period: str) -> bool:
    return any(one.name == period and one.state == "hard" for one in ledger.periods.all())


def _say(found: ErpJournal, period: str, *, is_sealed: bool) -> None:
    from kling_pricing.money import from_micro, plain

    sums = ", ".join(
        f"{plain(from_micro(micro))} {unit}" for unit, micro in sorted(found.totals().items())
    )
    say(f"{period}: {len(found.documents)} documents, debits and credits {sums or 'of nothing'}")
    if not is_sealed:
        say(f"note: {period} is not sealed: later entries are missing here")
