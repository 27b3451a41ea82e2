"""`kling-ledger resume`: finish what a crash, a time-out or a lost reply left open."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from kling_ledger.cli import EXIT_IN_DOUBT
from kling_ledger.cli.connections import (
    Connection,
    connection_options,
    grace_option,
    say_recovered,
    take_down_tasks,
)
from kling_ledger.cli.dry_run import dry_run_option, print_transfers
from kling_ledger.cli.next_steps import to_do
from kling_ledger.cli.output import database_option, format_option, print_many, say
from kling_ledger.cli.run import report
from kling_pricing.gateways import GATEWAYS

if TYPE_CHECKING:
    from kling_ledger.jobs.recovery import Recovered, Recovery
    from kling_ledger.ledger import Ledger, Reservation

_COLUMNS = ("id", "state", "provider", "did", "to_do", "problem")


@click.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--provider", type=click.Choice(GATEWAYS), help="Only jobs at this provider.")
@click.option("--wait/--no-wait", default=True, help="Follow jobs to their end, or poll once.")
@grace_option("Skip jobs changed more recently than this: another process may be sending them.")
@connection_options
@dry_run_option
@database_option
@format_option
def resume(
    id_: str | None,
    provider: str | None,
    wait: bool,  # noqa: FBT001 - the option is a flag
    grace: float,
    db: str | None,
    form: str,
    connection: Connection,
    *,
    dry_run: bool,
) -> int:
    """Finish every open reservation, or the one named.

    Jobs that were never sent are rolled back, accepted jobs are polled. A submission without an
    answer is sent again only if the provider recognises repeated keys (RunAPI); otherwise it stays
    in doubt, and what a person should check is printed. With --dry-run providers are polled once
    and nothing is sent again.
    """
    from kling_ledger.jobs.recovery import Recovery
    from kling_ledger.ledger import Ledger

    with (
        Ledger(db, create=False, dry_run=dry_run) as ledger,
        connection.meters(ledger) as meters,
    ):
        if not dry_run:
            take_down_tasks(ledger)
        recovery = Recovery(
            ledger,
            meters,
            now=datetime.now(UTC),
            grace_s=0 if id_ else grace,
            waits=wait and not dry_run,
            sends=not dry_run,
        )
        if id_ is not None and dry_run:
            return _rehearsed(recovery, [ledger.reservations.get(id_)], form)
        if id_ is not None:
            return _resume_one(recovery, ledger.reservations.get(id_), form)
        left_open = [
            one for one in ledger.reservations.open() if provider in {None, one.job.provider}
        ]
        if connection.api_key and len({one.job.provider for one in left_open}) > 1:
            # The key would go to every provider.
            raise click.UsageError("--api-key belongs to one provider: name it with --provider")
        if dry_run:
            return _rehearsed(recovery, left_open, form)
        return _resume_all(recovery, left_open, form)


def _rehearsed(recovery: Recovery, left_open: list[Reservation], form: str) -> int:
    """Print what would happen to each job, and the transfers in all."""
    for recovered in recovery.run(left_open):
        say_recovered(recovered)
    print_transfers(recovery.ledger, form)
    return 0


def _resume_one(recovery: Recovery, reservation: Reservation, form: str) -> int:
    from kling_ledger.errors import ProviderError

    try:
        recovered = recovery.finish(reservation)
    except KeyboardInterrupt:
        return report(recovery.ledger.reservations.get(reservation.id), form)
    if recovered.error is not None and not isinstance(recovered.error, ProviderError):
        raise recovered.error
    if recovered.error is not None or recovered.next_step is not None:
        say_recovered(recovered)
    return report(recovered.reservation, form)


def _resume_all(recovery: Recovery, left_open: list[Reservation], form: str) -> int:
    finished: list[Recovered] = []
    is_stopped = False
    with closing(recovery.run(left_open)) as telling:
        try:
            for recovered in telling:
                finished.append(recovered)
                if form == "table":
                    say_recovered(recovered)
        except KeyboardInterrupt:
            is_stopped = True
            say("stopped: open jobs are unchanged")
            finished += _not_reached(recovery.ledger, left_open, finished)
    rows = [_row(one) for one in finished]
    print_many(rows, _COLUMNS, form, empty="no open reservations", optional=("problem", "to_do"))
    is_open = is_stopped or any(one.reservation.is_open for one in finished)
    return EXIT_IN_DOUBT if is_open else 0


def _not_reached(
    ledger: Ledger, left_open: list[Reservation], finished: list[Recovered]
) -> list[Recovered]:
    """Return the state of the jobs that were being followed, or not reached yet, at the stop."""
    from kling_ledger.jobs.recovery import Recovered

    told = {one.reservation.id for one in finished}
    return [
        Recovered(ledger.reservations.get(one.id), "unchanged: stopped")
        for one in left_open
        if one.id not in told
    ]


def _row(recovered: Recovered) -> dict[str, Any]:
    reservation = recovered.reservation
    return {
        "id": reservation.id,
        "state": str(reservation.state),
        "provider": reservation.job.provider,
        "did": recovered.did,
        "to_do": to_do(recovered),
        "problem": recovered.problem,
    }
