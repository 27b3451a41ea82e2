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
from kling_ledger.cli.spans import Month
from kling_pricing.money import plain

if TYPE_CHECKING:
    from kling_ledger.ledger import Ledger, Period

_COLUMNS = (
    "period",
    "state",
    "transfers",
    "accruals",
    "prepared_by",
    "approved_by",
    "closed_at",
    "seal",
)
_OPTIONAL = ("seal", "closed_at", "prepared_by")


@click.command()
@click.argument("month", type=Month(), required=False)
@click.option("--hard", is_flag=True, help="Seal the month: verify shows any later change.")
@click.option("--reopen", is_flag=True, help="Reopen a month that is closed but not sealed.")
@click.option("--reason", help="The reason, kept in the journal; --reopen needs one.")
@click.option("--list", "is_list", is_flag=True, help="List every closed month.")
@click.option(
    "--two-people",
    type=click.Choice(["on", "off", "show"]),
    help="Require that one person closes a month and another seals it; `show` prints who set "
    "this, and when.",
)
@database_option
@format_option
def close(
    month: str | None,
    *,
    hard: bool,
    reopen: bool,
    reason: str | None,
    is_list: bool,
    two_people: str | None,
    db: str | None,
    form: str,
) -> None:
    """Close a MONTH that is over, such as 2026-10 or last-month.

    \b
    kling-ledger close 2026-10
    kling-ledger close 2026-10 --hard
    kling-ledger close --list
    kling-ledger close --two-people on

    A closed month takes no new transfers: late ones count in the next month. Credits still reserved
    at its end are shown as accruals. --hard seals it: a SHA-256 over all data behind its reports
    and the previous seal, which `verify` recomputes. Other processes can write meanwhile. Keep a
    copy of the seal elsewhere: see `verify --seal`.

    Closing a month prepares it, sealing it approves it. With `--two-people on`, two different
    people must do these. The ledger trusts the given name (KLING_LEDGER_ACTOR, else the login
    name): this prevents mistakes, not fraud. Every change of the rule is recorded.
    """
    _check(month, hard=hard, reopen=reopen, reason=reason, is_list=is_list, rule=two_people)
    from kling_ledger.ledger import Ledger

    if two_people is not None:
        with Ledger(db, create=False) as ledger:
            rule = _two_people(ledger, two_people, reason)
        if form == "table":
            rule["history"] = [
                f"{one['at']} {one['by']}: {one['two_people']}"
                + (f" ({one['reason']})" if one["reason"] else "")
                for one in rule["history"]
            ]
        print_one(rule, form)
        return
    if month is None:
        with Ledger(db, create=False) as ledger:
            _print_all(ledger.periods.all(), form)
        return
    with Ledger(db, create=False) as ledger:
        told = period_dict(_changed(ledger, month, hard=hard, reopen=reopen, reason=reason))
    if form == "table":
        told["accruals"] = [
            f"{one['reservation_id']} {one['amount']} {one['unit']}" for one in told["accruals"]
        ]
    print_one(told, form)


def _print_all(found: list[Period], form: str) -> None:
    rows = [period_dict(one) for one in found]
    table = [{**row, "accruals": len(row["accruals"])} for row in rows]
    shown = table if form == "table" else rows
    print_many(shown, _COLUMNS, form, empty="no closed months yet", optional=_OPTIONAL)


def _two_people(ledger: Ledger, rule: str, reason: str | None) -> dict[str, Any]:
    """Change the two-people rule if requested, and return it with its history."""
    if rule != "show":
        ledger.periods.require_two_people(required=rule == "on", reason=reason)
    changes = [
        {
            "at": instant(one.at),
            "by": one.actor,
            "reason": one.reason,
            "two_people": _on(required=one.required),
        }
        for one in ledger.periods.two_people()
    ]
    now = changes[-1]["two_people"] if changes else _on(required=False)
    return {"two_people": now, "history": changes}


def _on(*, required: bool) -> str:
    return "on" if required else "off"


def _changed(ledger: Ledger, month: str, *, hard: bool, reopen: bool, reason: str | None) -> Period:
    if reopen:
        return ledger.periods.reopen(month, reason=reason or "")
    return ledger.periods.close(month, hard=hard, reason=reason)


def _check(
    month: str | None,
    *,
    hard: bool,
    reopen: bool,
    reason: str | None,
    is_list: bool,
    rule: str | None,
) -> None:
    if rule is not None and (month is not None or hard or reopen or is_list):
        raise click.UsageError("--two-people takes no other option but --reason")
    if rule is not None:
        return
    if is_list == (month is not None):
        raise click.UsageError("give a month, such as 2026-10, or --list")
    if is_list and (hard or reopen or reason):
        raise click.UsageError("--list takes no other option")
    if hard and reopen:
        raise click.UsageError("use either --hard or --reopen")
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
        "prepared_by": found.prepared_by,
        "prepared_at": found.prepared_at and instant(found.prepared_at),
        "approved_by": found.approved_by,
        "actor": found.actor,
        "reason": found.reason,
        "closed_at": instant(found.closed_at),
    }
