"""Quoting: what a reservation keeps of a request, its quote and the provider's own estimate."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from kling_ledger.jobs.places import Place
from kling_ledger.ledger import Job, Reservation
from kling_ledger.ledger.reservations import quoted_job
from kling_pricing.gateways import Request
from kling_pricing.money import Money
from kling_pricing.quote import Quote


def held_for(quoted: Quote, estimate: Money | None) -> Money:
    """Return what is set aside: by the book or by the provider's estimate, whichever is higher.

    The book alone may be out of date, and an estimate alone may leave out what is billed later.
    Where the seller has two figures the higher is held, unless its estimate says which it charges.
    """
    return quoted.hold if estimate is None else max(quoted.amount, estimate)


def job_of(
    request: Request,
    quoted: Quote,
    *,
    place: Place | None = None,
    estimate: Money | None = None,
) -> Job:
    """Return what a reservation keeps; `place` is where the job will be submitted."""
    told = {**quoted.as_dict(), "assumptions": list(request.assumptions)}
    if estimate is not None:
        told["live_estimate"] = str(estimate)
    return replace(
        quoted_job(quoted),
        usd=_worth(quoted, held_for(quoted, estimate)),
        quote=json.dumps(told),
        request=json.dumps(request.sent, ensure_ascii=False),
        payload_hash=request.payload_hash,
        address=None if place is None else place.address,
        account=None if place is None else place.account,
    )


def body_of(reservation: Reservation, given: dict[str, Any]) -> dict[str, Any]:
    """Return the body that is sent for a reservation: what it keeps, or what is given if nothing.

    What was sent before must be sent again word for word, though more may be written out today.
    """
    kept = reservation.job.request
    body: dict[str, Any] = given if kept is None else json.loads(kept)
    return body


def _worth(quoted: Quote, held: Money) -> Money | None:
    """Return what is set aside in US dollars, at the rate of the quote; None if none is known."""
    return quoted.usd if held == quoted.amount else quoted.in_usd(held.amount)
