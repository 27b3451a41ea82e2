"""Checking: what would happen to a request, before anything is reserved or sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kling_ledger.errors import RefusedError
from kling_ledger.errors.facts import error_dict
from kling_ledger.jobs.fitting import Fit, would_fit
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.quoting import held_for, job_of, quoted_by
from kling_ledger.ledger import Asked, Ledger
from kling_pricing.errors import KlingError
from kling_pricing.gateways import Request, read_request
from kling_pricing.library import Library
from kling_pricing.money import Money, plain
from kling_pricing.quote import Quote


@dataclass(frozen=True, slots=True)
class Checked:
    """What would be held for a request, what would refuse it, and what would fit.

    `quoted` is the book's price; None if only the provider has an estimate.
    """

    request: Request
    asked: Asked
    quoted: Quote | None
    refusal: RefusedError | None
    fit: Fit

    @property
    def notes(self) -> tuple[str, ...]:
        """What the price is based on, and what else a person should know about it."""
        quoted = self.quoted
        told = () if quoted is None else (*quoted.warnings, *quoted.assumptions)
        return tuple(dict.fromkeys([*self.request.assumptions, *told]))


def _unbound(asked: Asked) -> Asked:
    """Return a job unchanged."""
    return asked


@dataclass(frozen=True, slots=True)
class Wish:
    """Who would pay for a request, and what it is for: the fields that a meter has."""

    wallet: str
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ceiling: Money | None = None
    key: str | None = None


def check_by_meter(
    meter: Meter,
    body: dict[str, Any],
    *,
    action: str | None = None,
    key: str | None = None,
    bound: Callable[[Asked], Asked] = _unbound,
) -> Checked:
    """Return what a meter's `reserve` would do, including the provider's own estimate.

    `bound` is applied to the job before it is checked, for example the limits of a token. Raises
    the errors of `reserve` other than refusals, such as RequestError and NoPriceError.
    """
    asked = bound(meter.asked(body, action=action, key=key))
    request = read_request(meter.provider.name, body, action=action)
    return _checked(meter.ledger, meter.library, request, asked, at=meter.clock())


def check_by_book(
    ledger: Ledger,
    request: Request,
    wish: Wish,
    *,
    at: datetime,
    library: Library,
    bound: Callable[[Asked], Asked] = _unbound,
) -> Checked:
    """Return what would happen to a request by the books alone: needs no key, asks no provider.

    `bound` is as in `check_by_meter`. Raises NoPriceError if no book has a price, and the errors of
    `reserve` other than refusals.
    """
    quoted = quoted_by(library.book(request.clip.provider), request, at)
    held = held_for(quoted, None)
    if not isinstance(quoted, Quote):
        raise quoted
    asked = Asked(
        wish.wallet,
        held,
        job=job_of(request, quoted),
        project=wish.project,
        labels=wish.labels,
        key=wish.key,
        ceiling=wish.ceiling,
    )
    return _checked(ledger, library, request, bound(asked), at=at)


def checked_dict(checked: Checked, hint_for: Callable[[KlingError], str | None]) -> dict[str, Any]:
    """Return the result as JSON data: amounts are strings; `hint_for` gives a refusal's hint."""
    clip, asked, quoted = checked.request.clip, checked.asked, checked.quoted
    refusal = checked.refusal
    return {
        "admitted": refusal is None,
        "provider": clip.provider,
        "model": clip.model,
        "action": clip.action,
        "seconds": None if clip.seconds is None else str(clip.seconds),
        "resolution": clip.resolution,
        "sound": clip.sound,
        "quoted": None if quoted is None else plain(quoted.amount.amount),
        "held": plain(asked.amount.amount),
        "unit": asked.amount.unit,
        "usd": None if asked.job.usd is None else plain(asked.job.usd.amount),
        "evidence": "live" if quoted is None else quoted.evidence,
        "wallet": asked.wallet,
        "project": asked.project,
        "labels": dict(asked.labels),
        "refusal": None if refusal is None else error_dict(refusal, hint_for(refusal)),
        "would_fit": checked.fit.as_dict(),
        "notes": list(checked.notes),
    }


def _checked(
    ledger: Ledger, library: Library, request: Request, asked: Asked, *, at: datetime
) -> Checked:
    answer = ledger.would_admit(asked)
    quoted = quoted_by(library.book(request.clip.provider), request, at)
    fit = would_fit(request, answer.fits, at=at, library=library, held=asked.amount)
    told = quoted if isinstance(quoted, Quote) else None
    return Checked(request, asked, told, answer.refusal, fit)
