"""`kling-ledger verify`: work every balance, window, state and seal out again."""

from __future__ import annotations

import click

from kling_ledger.cli import EXIT_DIFFERENCES
from kling_ledger.cli.output import database_option, format_option, print_one


@click.command()
@database_option
@format_option
def verify(db: str | None, form: str) -> int:
    """Check that balances, windows and states follow from the journal, and that seals hold.

    Exits with 0 if everything agrees and 6 if something does not.
    """
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        checked = ledger.verify()
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
        "findings": findings if form == "json" else [_sentence(entry) for entry in findings],
    }
    print_one(answer, form)
    return 0 if checked.is_clean else EXIT_DIFFERENCES


def _sentence(finding: dict[str, str]) -> str:
    return f"{finding['subject']}: {finding['law']}; {finding['problem']}"
