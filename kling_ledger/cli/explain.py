"""`kling-ledger explain`: what an error code means, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import click

from kling_ledger.cli.output import format_option, print_many, print_one

_COLUMNS: Final = ("code", "exit_code", "http_status", "retryable", "meaning", "next_step")
_SHOWN: Final = ("code", "exit_code", "meaning")


@click.command()
@click.argument("code", required=False)
@format_option
def explain(code: str | None, form: str) -> None:
    """Explain an error CODE and what to do about it; without a code, list them all.

    \b
    kling-ledger explain job_in_doubt
    kling-ledger explain --format json

    Errors printed with --format json contain the code, and so do the gateway's errors.
    """
    from kling_ledger.cli.error_codes import error_codes
    from kling_ledger.cli.known_words import chosen

    found = error_codes()
    if code is None:
        columns = _SHOWN if form == "table" else _COLUMNS
        print_many([asdict(one) for one in found], columns, form, empty="")
        return
    name = chosen("error code", code, [one.code for one in found])
    row = asdict(next(one for one in found if one.code == name))
    print_one(row, form, table=lambda: _print(row))


def _print(row: dict[str, Any]) -> None:
    click.echo(f"{row['code']}: {row['meaning']}")
    click.echo(f"\nWhat to do: {row['next_step']}")
    again = {True: "yes", False: "no", None: "it depends on the error"}[row["retryable"]]
    told = [f"exit code {row['exit_code']}", f"safe to retry unchanged: {again}"]
    if row["http_status"] is not None:
        told.insert(1, f"HTTP {row['http_status']} at the gateway")
    click.echo(f"\n{', '.join(told)}")
