"""`kling-ledger verify`: recompute every balance, window, state and seal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli import EXIT_DIFFERENCES
from kling_ledger.cli.output import database_option, format_option, print_one

if TYPE_CHECKING:
    from kling_ledger.ledger.verify import KeptSeal


@click.command()
@click.option(
    "--seal",
    "seals",
    multiple=True,
    metavar="HEX",
    help="A seal that you kept elsewhere: one of the months must have it. May be repeated.",
)
@click.option(
    "--seals",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="A seal.json of a close pack: its month must have that seal. May be repeated.",
)
@database_option
@format_option
def verify(seals: tuple[str, ...], files: tuple[str, ...], db: str | None, form: str) -> int:
    """Check that balances, windows and states match the journal, and that seals hold.

    \b
    kling-ledger verify
    kling-ledger verify --seals packs/2026-10/seal.json
    kling-ledger close --list --format json > seals.json; kling-ledger verify --seals seals.json

    A seal reveals changes in a sealed month. Anyone who can write to the database can also reseal a
    month or remove its seal: only copies kept elsewhere reveal that. Give them with --seal or
    --seals.

    Exits with 0 if everything agrees, else with 6.
    """
    from kling_ledger.ledger import Ledger

    kept = [*map(_kept, seals), *(one for file in files for one in _kept_in(file))]
    with Ledger(db, create=False) as ledger:
        checked = ledger.verify(kept)
    findings = [
        {"law": finding.law, "subject": finding.subject, "problem": finding.problem}
        for finding in checked.findings
    ]
    answer = {
        "verdict": "clean" if checked.is_clean else "differences found",
        "wallets": checked.wallets,
        "reservations": checked.reservations,
        "open_reservations": checked.open_reservations,
        "transfers": checked.transfers,
        "windows": checked.windows,
        "sealed_periods": checked.sealed_periods,
        **({"kept_seals": len(kept)} if kept else {}),
        "findings": findings if form == "json" else [_sentence(entry) for entry in findings],
    }
    print_one(answer, form)
    return 0 if checked.is_clean else EXIT_DIFFERENCES


def _sentence(finding: dict[str, str]) -> str:
    return f"{finding['subject']}: {finding['law']}; {finding['problem']}"


def _kept(seal: str, period: str | None = None) -> KeptSeal:
    from kling_ledger.ledger.verify import KeptSeal

    written = seal.strip().lower()
    if not re.fullmatch("[0-9a-f]{64}", written):
        raise click.UsageError(f"{seal!r} is not a seal: it has 64 digits in 0-9 and a-f")
    return KeptSeal(written, period)


def _kept_in(file: str) -> Iterator[KeptSeal]:
    """Read the seals in a file: one month's, or the list of `close --list --format json`."""
    try:
        said: Any = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError:
        raise click.UsageError(f"{file} is not JSON: give a seal.json of a close pack") from None
    months = said if isinstance(said, list) else [said]
    sealed = [one for one in months if isinstance(one, dict) and one.get("seal")]
    if not sealed:
        raise click.UsageError(f"{file} holds no seal: give a seal.json of a close pack")
    for one in sealed:
        yield _kept(str(one["seal"]), str(one["period"]) if one.get("period") else None)
