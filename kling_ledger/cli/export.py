"""`kling-ledger export`: the ledger's views as files for other programs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from kling_ledger.cli.output import database_option, format_option, print_many, say
from kling_ledger.cli.spans import read_period


@click.command()
@click.option(
    "--parquet",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    required=True,
    help="The folder to create for the files.",
)
@click.option(
    "--period",
    metavar="WHEN",
    help="Only the jobs, spending and transfers of this time, in UTC: last-month, 2026-11, ...",
)
@database_option
@format_option
def export(folder: Path, *, period: str | None, db: str | None, form: str) -> None:
    """Write the views v1_jobs, v1_spend, v1_transfers, v1_budgets and v1_wallets as Parquet.

    \b
    kling-ledger export --parquet ledger-files
    kling-ledger export --parquet october --period 2026-10

    One file per view, with the columns documented in docs/reference/sql.md; amounts are exact
    decimals. All files show the same state of the ledger, and the folder appears only when it is
    complete.

    With --period, budgets and wallets are still as they stand now.
    """
    from kling_ledger.ledger import Ledger
    from kling_reports import view_files

    found = None if period is None else read_period(period, datetime.now(UTC).date())
    days = None if found is None else (found.first, found.end)
    with Ledger(db, create=False) as ledger:
        counts = view_files.write(ledger.database, folder, days=days)
    rows = [{"file": f"{name}.parquet", "rows": count} for name, count in counts.items()]
    print_many(rows, ("file", "rows"), form, empty="there is no view")
    say(f"wrote {folder}")
