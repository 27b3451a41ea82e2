"""`kling-ledger budget history`: who changed a limit, when, why, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli.output import database_option, format_option, instant, print_many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_ledger.ledger.budget_history import BudgetPast

_COLUMNS: Final = ("at", "by", "field", "from", "to", "base_limit", "reason", "removed")
_OPTIONAL: Final = ("removed", "base_limit")


@click.command()
@click.argument("name")
@database_option
@format_option
def history(name: str, db: str | None, form: str) -> None:
    """Show who changed a budget, when, why, and how; removed budgets included.

    A raise shows the limit before and after it, and when it ends; the base limit is the limit
    without raises. Successive budgets of the same NAME are listed in order.
    """
    from kling_ledger.ledger import Ledger

    with Ledger(db, create=False) as ledger:
        pasts = ledger.budgets.pasts(name)
    rows = [row for past in pasts for row in _rows(past)]
    print_many(rows, _COLUMNS, form, empty="no history", optional=_OPTIONAL)


def _rows(past: BudgetPast) -> Iterator[dict[str, Any]]:
    from kling_ledger.ledger.budget_history import changes

    base = None
    for one in changes(past.events):
        event = one.event
        base = event.change.get("limit", base)
        yield {
            "at": instant(event.at),
            "by": event.actor,
            "field": one.field,
            "from": one.before,
            "to": one.after,
            "base_limit": base,
            "reason": event.reason,
            "removed": past.removed_at and instant(past.removed_at),
            "budget_id": past.budget_id,
        }
