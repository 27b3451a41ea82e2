"""Quoting: what a reservation keeps of a request, its quote and the provider's own estimate.

If no book has a price, the estimate is held; without either, the job has no price.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from kling_ledger.jobs.places import Place
from kling_ledger.ledger import Job, Reservation
from kling_ledger.ledger.reservations import quoted_job
from kling_pricing.book import PriceBook
from kling_pricing.errors import NoPriceError
from kling_pricing.gateways import Request
from kling_pricing.money import USD, Money, plain
from kling_pricing.quote import Quote

Quoted = Quote | NoPriceError
"""What a book says about a request: its price, or the error that says why it has none."""


def quoted_by(book: PriceBook, request: Request, at: datetime) -> Quoted:
    """Return what a book says about a request. Raises ClipError if the request says too little."""
    try:
        return request.quote(at=at, book=book)
    except NoPriceError as error:
        return error


def held_for(quoted: Quoted, estimate: Money | None) -> Money:
    """Return what to hold: the book's price or the provider's estimate, whichever is higher.

    The book may be out of date, and the estimate may leave out what is billed later. If the seller
    publishes two figures, the higher is held, unless its estimate shows which one it charges.
    Without a price in the book it is the estimate; without that, NoPriceError is raised. An
    estimate of zero counts as none: an unknown cost is not zero.
    """
    known = _known(estimate)
    if isinstance(quoted, Quote):
        return quoted.hold if known is None else max(quoted.amount, known)
    if known is None:
        raise quoted
    return known


def _known(estimate: Money | None) -> Money | None:
    return estimate if estimate is not None and estimate.micro else None


def live_note(request: Request, error: NoPriceError, estimate: Money) -> str:
    """Say that a provider's own estimate replaces a price that no book has."""
    provider = request.clip.provider
    return f"no price known for {error.subject}: {provider} itself estimates {estimate}"


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
    worth = _worth(quoted, held_for(quoted, estimate))
    job = replace(quoted_job(quoted), usd=worth, estimated=_known(estimate))
    return _kept(job, told, request, place)


def live_job_of(
    request: Request,
    error: NoPriceError,
    estimate: Money,
    *,
    book: PriceBook,
    at: datetime,
    place: Place | None = None,
) -> Job:
    """Return what a reservation keeps of a request that only its provider can price."""
    clip = request.clip
    note = live_note(request, error, estimate)
    told = {
        **{field.name: _json(getattr(clip, field.name)) for field in fields(clip)},
        "unit": estimate.unit,
        "amount": plain(estimate.amount),
        "evidence": "live",
        "at": at.isoformat(),
        "assumptions": [note, *request.assumptions],
        "live_estimate": str(estimate),
    }
    job = Job(
        provider=clip.provider,
        model=clip.model,
        action=clip.action,
        seconds=None if clip.seconds is None else str(clip.seconds),
        resolution=clip.resolution,
        sound=clip.sound,
        usd=_in_usd(estimate, book, at),
        estimated=estimate,
    )
    return _kept(job, told, request, place)


def _kept(job: Job, told: dict[str, Any], request: Request, place: Place | None) -> Job:
    return replace(
        job,
        quote=json.dumps(told),
        request=json.dumps(request.sent, ensure_ascii=False),
        payload_hash=request.payload_hash,
        address=None if place is None else place.address,
        account=None if place is None else place.account,
    )


def body_of(reservation: Reservation, given: dict[str, Any]) -> dict[str, Any]:
    """Return the body to send for a reservation: the stored one, or `given` if none is stored.

    A repeat must send the same body word for word, even if today's code would write out more.
    """
    kept = reservation.job.request
    body: dict[str, Any] = given if kept is None else json.loads(kept)
    return body


def _json(value: object) -> object:
    return str(value) if isinstance(value, Decimal) else value


def _in_usd(estimate: Money, book: PriceBook, at: datetime) -> Money | None:
    """Return an estimate in US dollars at the book's rate of that day; None without a rate."""
    if estimate.unit == USD:
        return estimate
    for conversion in book.conversions:
        if conversion.is_valid_at(at):
            return Money(conversion.to_usd(estimate.amount), USD)
    return None


def _worth(quoted: Quote, held: Money) -> Money | None:
    """Return the value of a hold in US dollars, at the rate of the quote; None without a rate."""
    return quoted.usd if held == quoted.amount else quoted.in_usd(held.amount)
