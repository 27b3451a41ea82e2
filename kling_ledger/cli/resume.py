"""`kling-ledger resume`: ask again for a job that was left open."""

from __future__ import annotations

from typing import Any

import click

from kling_ledger.cli.output import database_option, format_option
from kling_ledger.cli.run import make_meter, provider_options, report


@click.command()
@click.argument("id_", metavar="ID")
@provider_options
@database_option
@format_option
def resume(id_: str, db: str | None, form: str, **options: Any) -> int:
    """Follow an open reservation to its end.

    One that was never sent is rolled back. A job whose submission got no answer is sent again
    under the same key, which the provider answers with the task that it already started, if any.
    """
    import json

    from kling_ledger.ledger import Ledger, State

    with Ledger(db, create=False) as ledger:
        reservation = ledger.reservation(id_)
        if reservation.state is State.RESERVED:
            reservation = ledger.roll_back(id_, "it was never sent")
        elif reservation.is_open:
            # A job is asked for where it was submitted, be it a sandbox.
            options["base_url"] = options["base_url"] or reservation.job.address
            meter = make_meter(ledger, reservation.wallet, **options)
            body = json.loads(reservation.job.request or "{}")
            try:
                reservation = meter.carry_on(reservation, body)
            except KeyboardInterrupt:
                reservation = ledger.reservation(id_)
    return report(reservation, form)
