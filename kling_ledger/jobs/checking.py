"""Checking: what would become of a request, told before anything is set aside or sent."""

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
    """What would be set aside for a request, what stands in its way, and what would fit.

    `quoted` is the book's price; None where only the provider's own estimate tells one.
    """

    request: Request
    asked: Asked
    quoted: Quote | None
    refusal: RefusedError | None
    fit: Fit

    @property
    def notes(self) -> tuple[str, ...]:
        """What the price rests on, and what somebody should know of it."""
        quoted = self.quoted
        told = () if quoted is None else (*quoted.warnings, *quoted.assumptions)
        return tuple(dict.fromkeys([*self.request.assumptions, *told]))


def _unbound(asked: Asked) -> Asked:
    """Leave a job as it is asked for."""
    return asked


@dataclass(frozen=True, slots=True)
class Wish:
    """Who would pay for a request, and what it is for; as a meter has it."""

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
    """Say what a meter's `reserve` would do, the provider's own estimate included.

    `bound` is what is done to the job before it is asked for, such as by a token. Raises what
    `reserve` would raise that is no refusal, such as RequestError and NoPriceError.
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
    """Say what would become of a request by the books alone: no key is needed, nobody is asked.

    `bound` is as in `check_by_meter`. Raises NoPriceError where no book has a price, and what
    `reserve` raises that is no refusal.
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
    """Return what was found for JSON: amounts are strings; `hint_for` says what helps."""
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
