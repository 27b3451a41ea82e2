"""`kling-ledger doctor`: check the installation, the ledger and the keys, and say what to fix."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from kling_ledger.cli import EXIT_DIFFERENCES
from kling_ledger.cli.output import database_option, format_option, print_csv, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kling_ledger.cli.checkup import Finding

_COLUMNS: Final = ("level", "check", "found", "then")


@click.command()
@click.option("--online", is_flag=True, help="Also check that every provider's address answers.")
@database_option
@format_option
def doctor(db: str | None, form: str, *, online: bool) -> int:
    """Check the program, the ledger, the prices and the keys; print what is wrong and what to do.

    \b
    kling-ledger doctor
    kling-ledger doctor --online --db postgresql://app@host/ledger

    Nothing is written, and no key is shown. Without --online the only network connection is to the
    database. Exit codes: 0 nothing fails, 6 something does.
    """
    from kling_ledger.cli.checkup import of_this_machine
    from kling_ledger.cli.checkup_ledger import looked_at, of_settings

    seen, of_ledger = looked_at(db)
    secret = "" if seen is None else seen.secret
    found = [*of_settings(), *of_ledger, *of_this_machine(secret, online=online)]
    if form == "json":
        print_json([asdict(one) for one in found])
    elif form == "csv":
        print_csv([asdict(one) for one in found], _COLUMNS)
    else:
        _print(found)
    return EXIT_DIFFERENCES if any(one.level == "fail" for one in found) else 0


def _print(found: Sequence[Finding]) -> None:
    """Print a line for each finding, and its remedy below."""
    for one in found:
        click.echo(f"{one.level:<5} {one.check}: {one.found}")
        if one.then:
            click.echo(f"      {one.then}")
    many = {level: sum(one.level == level for one in found) for level in ("fail", "warn")}
    click.echo(f"\n{many['fail']} fail, {many['warn']} to check")
