"""`kling-ledger close`: close a month, seal it, and list what is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli.output import (
    database_option,
    format_option,
    instant,
    print_many,
    print_one,
)
from kling_pricing.money import plain

if TYPE_CHECKING:
    from kling_ledger.ledger import Ledger, Period

_COLUMNS = ("period", "state", "transfers", "accruals", "closed_at", "actor", "seal")
_OPTIONAL = ("seal", "actor", "closed_at")


@click.command()
@click.argument("month", required=False)
@click.option("--hard", is_flag=True, help="Seal it for good: nothing in it can change unseen.")
@click.option("--reopen", is_flag=True, help="Open a month again that is closed but not sealed.")
@click.option("--reason", help="Why, for the journal; --reopen needs one.")
@click.option("--list", "is_list", is_flag=True, help="List every month that was ever closed.")
@database_option
@format_option
def close(
    month: str | None,
    *,
    hard: bool,
    reopen: bool,
    reason: str | None,
    is_list: bool,
    db: str | None,
    form: str,
) -> None:
    """Close a MONTH that is over, such as 2026-10.

    \b
    kling-ledger close 2026-10
    kling-ledger close 2026-10 --hard
    kling-ledger close --list

    A closed month takes no new transfers: what comes late counts in the next month. Credits that
    were still reserved at its end are shown as accruals. With --hard it is sealed: SHA-256 over
    all that its reports rest on and the seal before, which verify works out again. Others go on
    writing meanwhile. Keep the seal elsewhere too: see verify --seal.
    """
    _check(month, hard=hard, reopen=reopen, reason=reason, is_list=is_list)
    from kling_ledger.ledger import Ledger

    if month is None:
        with Ledger(db, create=False) as ledger:
            rows = [period_dict(found) for found in ledger.periods.all()]
        table = [{**row, "accruals": len(row["accruals"])} for row in rows]
        shown = table if form == "table" else rows
        print_many(shown, _COLUMNS, form, empty="no month was closed yet", optional=_OPTIONAL)
        return
    with Ledger(db, create=False) as ledger:
        told = period_dict(_changed(ledger, month, hard=hard, reopen=reopen, reason=reason))
    if form == "table":
        told["accruals"] = [
            f"{one['reservation_id']} {one['amount']} {one['unit']}" for one in told["accruals"]
        ]
    print_one(told, form)


def _changed(ledger: Ledger, month: str, *, hard: bool, reopen: bool, reason: str | None) -> Period:
    if reopen:
        return ledger.periods.reopen(month, reason=reason or "")
    return ledger.periods.close(month, hard=hard, reason=reason)


def _check(
    month: str | None, *, hard: bool, reopen: bool, reason: str | None, is_list: bool
) -> None:
    if is_list == (month is not None):
        raise click.UsageError("give a month, such as 2026-10, or --list")
    if is_list and (hard or reopen or reason):
        raise click.UsageError("--list goes alone")
    if hard and reopen:
        raise click.UsageError("--hard closes and --reopen opens: give one of them")
    if reopen and not (reason or "").strip():
        raise click.UsageError("--reopen needs a --reason, for the journal")


def period_dict(found: Period) -> dict[str, Any]:
    """Return a month for printing: its seal, and what was still reserved when it ended."""
    return {
        **found.seal_dict(),
        "accruals": [
            {
                "reservation_id": one.reservation_id,
                "amount": plain(one.amount.amount),
                "unit": one.amount.unit,
            }
            for one in found.accruals
        ],
        "actor": found.actor,
        "reason": found.reason,
        "closed_at": instant(found.closed_at),
    }
