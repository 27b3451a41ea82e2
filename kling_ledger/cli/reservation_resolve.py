"""`kling-ledger reservation resolve`: end many open reservations at once, with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from kling_ledger.cli.dry_run import dry_run_option, print_transfers
from kling_ledger.cli.inputs import Span, gathered
from kling_ledger.cli.output import database_option, format_option, print_many, say
from kling_ledger.cli.reservation_rows import reservation_dict
from kling_pricing.money import Money

if TYPE_CHECKING:
    from kling_ledger.ledger import Ledger, Reservation
    from kling_ledger.ledger.changes import Change

_COLUMNS: Final = ("id", "state", "wallet", "project", "provider", "task_id", "reserved", "unit")
_OPTIONAL: Final = ("project", "provider", "task_id")
_OPEN: Final = ("reserved", "submitting", "submitted", "in_doubt")


@dataclass(frozen=True, slots=True)
class Which:
    """The filters for open reservations; all must match."""

    where: str
    provider: str | None
    account: str | None
    wallet: str | None
    project: str | None
    older_than: timedelta | None

    def has(self, one: Reservation, *, at: datetime) -> bool:
        """Whether a reservation matches; `older_than` counts from its last change."""
        told = (
            (self.provider, one.job.provider),
            (self.account, one.job.account),
            (self.wallet, one.wallet),
        )
        is_old = self.older_than is None or at - one.updated_at >= self.older_than
        is_named = all(asked in {None, given} for asked, given in told)
        return is_named and is_old and one.state == self.where and self._is_of_project(one.project)

    def _is_of_project(self, given: str | None) -> bool:
        if self.project is None or given == self.project:
            return True
        return given is not None and given.startswith(f"{self.project}/")


@click.command()
@click.option(
    "--where",
    type=click.Choice(_OPEN),
    default="in_doubt",
    show_default=True,
    help="Only reservations in this state.",
)
@click.option("--provider", metavar="NAME", help="Only reservations at this provider.")
@click.option("--account", metavar="NAME", help="Only reservations on this account.")
@click.option("--wallet", metavar="NAME", help="Only reservations of this wallet.")
@click.option("--project", help="Only reservations of this project and everything below it.")
@click.option(
    "--older-than",
    type=Span(),
    metavar="SPAN",
    help="Only reservations unchanged for this long: 30m, 2h, 3d.",
)
@gathered(Which, "which")
@click.option(
    "--rollback", "rolls_back", is_flag=True, help="They were never charged: return their credits."
)
@click.option(
    "--commit", "commits", is_flag=True, help="They were charged: commit the reserved amounts."
)
@click.option("--commit-at", metavar="AMOUNT", help="The one job was charged this amount.")
@click.option("--reason", required=True, help="How you know; kept in the journal.")
@click.option("--yes", is_flag=True, help="Apply it; without --yes they are only listed.")
@dry_run_option
@database_option
@format_option
def resolve(
    which: Which,
    *,
    rolls_back: bool,
    commits: bool,
    commit_at: str | None,
    reason: str,
    yes: bool,
    dry_run: bool,
    db: str | None,
    form: str,
) -> None:
    """End many open reservations at once: all or none. Without --yes, only list them.

    \b
    kling-ledger reservation resolve --provider crun --older-than 1d --rollback \\
        --reason "the statement of November names none of them"
    """
    from kling_ledger.ledger import Ledger

    if (rolls_back, commits, commit_at is not None).count(True) != 1:
        raise click.UsageError("give one of --rollback, --commit and --commit-at AMOUNT")
    if not reason.strip():
        raise click.UsageError("--reason must say how you know")
    with Ledger(db, create=False, dry_run=dry_run) as ledger:
        found = _found(ledger, which)
        changes = _changes(found, None if rolls_back else commit_at or "", reason)
        ended = ledger.settle(changes) if yes or dry_run else found
    if dry_run:
        print_transfers(ledger, form)
        return
    print_many(
        [reservation_dict(one) for one in ended],
        (*_COLUMNS, "committed") if yes else _COLUMNS,
        form,
        empty="no open reservation matches",
        optional=(*_OPTIONAL, "committed"),
    )
    _say_sums(found, "rolled back" if rolls_back else "committed", is_done=yes)


def _found(ledger: Ledger, which: Which) -> list[Reservation]:
    if which.wallet is not None:
        ledger.wallets.get(which.wallet)
    now = datetime.now(UTC)
    return [one for one in ledger.reservations.open() if which.has(one, at=now)]


def _changes(found: Sequence[Reservation], commit_at: str | None, reason: str) -> list[Change]:
    """Return the change of each: without an amount it is rolled back, "" commits what is held.

    Each change applies only to the state that was read: if one has changed since, none is made.
    """
    from kling_ledger.ledger.changes import Change
    from kling_ledger.ledger.states import State

    if commit_at and len(found) > 1:
        raise click.UsageError(f"--commit-at is for one job, and these are {len(found)}")
    if commit_at is None:
        return [
            Change(
                one.id, State.ROLLED_BACK, problem=reason, only_from=State(one.state), reason=reason
            )
            for one in found
        ]
    return [
        Change(
            one.id,
            State.COMMITTED,
            Money.parse(commit_at, default_unit=one.amount.unit) if commit_at else None,
            settled_by="person" if commit_at else "quote",
            only_from=State(one.state),
            reason=reason,
        )
        for one in found
    ]


def _say_sums(found: Iterable[Reservation], become: str, *, is_done: bool) -> None:
    """Print how many are or would be ended, and the total they hold, by unit."""
    held_each = [one.held for one in found]
    many = len(held_each)
    if not many:
        return
    held = ", ".join(str(amount) for amount in Money.by_unit(held_each).values())
    if is_done:
        say(f"{many} {become}, which held {held}")
    else:
        say(f"{many} would be {become}, which hold {held}; --yes does it")
