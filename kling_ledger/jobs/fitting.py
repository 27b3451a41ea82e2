"""Fitting: what would fit a sum instead - fewer seconds, a lower resolution, another seller.

It is computed from the books and promises nothing: admission decides when the job is reserved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from math import ceil
from typing import Any

from kling_ledger.jobs.quoting import quoted_by
from kling_pricing.afford import lengths
from kling_pricing.book import PriceBook
from kling_pricing.clip import Clip, option_in_words
from kling_pricing.compare import compare
from kling_pricing.errors import PricingError
from kling_pricing.gateways import GATEWAYS, Request
from kling_pricing.library import Library
from kling_pricing.money import Money, plain
from kling_pricing.offers import quoted_of
from kling_pricing.quote import Quote
from kling_pricing.vocabulary import RESOLUTIONS, Seconds


@dataclass(frozen=True, slots=True)
class Fit:
    """What would fit a sum instead of a request; each is None if nothing of its kind fits.

    `longest` is the same clip with the most seconds, `smaller` the best lower resolution (without
    sound if it does not fit with it), `silent` the same clip without sound. `elsewhere` is the
    cheapest other seller whose price is worth no more: its unit says which wallet it needs. If the
    clip fits as it is, only `longest` is looked for.
    """

    fits: Money
    longest: Quote | None = None
    smaller: Quote | None = None
    silent: Quote | None = None
    elsewhere: Quote | None = None
    share: Fraction = Fraction(1)
    """What is held for this seller's clips, as a share of what the book alone would hold."""

    @property
    def max_seconds(self) -> Seconds | None:
        """The seconds of the longest clip that fits."""
        return None if self.longest is None else self.longest.clip.seconds

    @property
    def told(self) -> tuple[str, ...]:
        """What would fit, each in a few words."""
        return tuple(self._told())

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON data: amounts are strings."""
        seconds = self.max_seconds
        return {
            "amount": plain(self.fits.amount),
            "unit": self.fits.unit,
            "max_seconds": None if seconds is None else str(seconds),
            "lower_resolution": self._row(self.smaller),
            "without_sound": self._row(self.silent),
            "other_seller": self._row(self.elsewhere),
        }

    def _row(self, quoted: Quote | None) -> dict[str, str] | None:
        if quoted is None:
            return None
        return {
            "provider": quoted.clip.provider,
            "model": quoted.clip.model,
            "options": _options(quoted),
            "amount": plain(quoted.amount.amount),
            "held": plain(self._held(quoted).amount),
            "unit": quoted.unit,
        }

    def _held(self, quoted: Quote) -> Money:
        """Return what would be held for a clip; for another seller's, what its book says."""
        if quoted is self.elsewhere:
            return quoted.hold
        return Money.from_micro(ceil(quoted.hold.micro * self.share), quoted.unit)

    def _told(self) -> Iterator[str]:
        if self.fits.amount <= 0:
            yield "nothing fits now"
            return
        yield f"up to {self.fits}"
        if self.longest is not None:
            yield f"{self.max_seconds} s of the same clip for {self._held(self.longest)}"
        for quoted in (self.smaller, self.silent):
            if quoted is not None:
                yield f"{_options(quoted)} for {self._held(quoted)}"
        if self.elsewhere is not None:
            made = self.elsewhere.clip
            yield f"{made.provider} {made.model} for {self._held(self.elsewhere)}"


@dataclass(frozen=True, slots=True)
class _Purse:
    """A sum at an instant, and the share of the book's hold that is really held."""

    fits: Money
    at: datetime
    share: Fraction = Fraction(1)

    def holds(self, quoted: Quote) -> bool:
        """Whether a clip at the same seller fits."""
        return Fraction(quoted.hold.amount) * self.share <= Fraction(self.fits.amount)


def would_fit(
    request: Request,
    fits: Money,
    *,
    at: datetime,
    library: Library,
    held: Money | None = None,
) -> Fit:
    """Return what would fit a sum, in the unit of the request's seller.

    `held` is what would be reserved for the request itself, if the seller's estimate differs from
    the book: its other clips are then assumed to differ by the same ratio. For a request that no
    book prices, only the sum is returned.
    """
    book = library.book(request.clip.provider)
    asked = quoted_by(book, request, at)
    if not isinstance(asked, Quote) or fits.amount <= 0 or asked.unit != fits.unit:
        return Fit(fits)
    purse = _Purse(fits, at, _share(asked, held))
    longest = _longest(purse, book, asked)
    if purse.holds(asked):
        return Fit(fits, longest, share=purse.share)
    return Fit(
        fits,
        longest,
        _smaller(purse, book, asked),
        _silent(purse, book, asked),
        _elsewhere(purse, asked, library),
        purse.share,
    )


def _share(asked: Quote, held: Money | None) -> Fraction:
    if held is None or not asked.hold.amount:
        return Fraction(1)
    return Fraction(held.amount) / Fraction(asked.hold.amount)


def _longest(purse: _Purse, book: PriceBook, asked: Quote) -> Quote | None:
    # From the longest down, for prices need not rise with the length: flat ones do not.
    wanted = (replace(asked.clip, seconds=seconds) for seconds in reversed(lengths(asked.rate)))
    return _first(purse, book, wanted)


def _smaller(purse: _Purse, book: PriceBook, asked: Quote) -> Quote | None:
    """Return the best lower resolution that fits, with sound if possible."""
    size = asked.priced.resolution
    if size is None:
        return None
    lower = RESOLUTIONS[: RESOLUTIONS.index(size)][::-1]
    as_asked = [replace(asked.clip, resolution=one) for one in lower]
    silent = [replace(one, sound=False) for one in as_asked if asked.priced.sound]
    return _first(purse, book, iter([*as_asked, *silent]))


def _silent(purse: _Purse, book: PriceBook, asked: Quote) -> Quote | None:
    if not asked.priced.sound:
        return None
    return _first(purse, book, iter([replace(asked.clip, sound=False)]))


def _first(purse: _Purse, book: PriceBook, wanted: Iterator[Clip]) -> Quote | None:
    for clip in wanted:
        quoted = quoted_of(book, clip.model, clip, purse.at)
        if isinstance(quoted, Quote) and purse.holds(quoted):
            return quoted
    return None


def _elsewhere(purse: _Purse, asked: Quote, library: Library) -> Quote | None:
    """Return the cheapest other gateway that makes the clip for a price worth no more."""
    try:
        found = compare(asked.clip, family=asked.rate.family, at=purse.at, library=library)
    except PricingError:
        return None
    most = asked.in_usd(purse.fits.amount)
    for quoted in found.offers:
        provider = quoted.clip.provider
        if provider == asked.clip.provider or provider not in GATEWAYS:
            continue
        if quoted.unit == purse.fits.unit:
            is_enough = quoted.hold <= purse.fits
        else:
            worth = quoted.in_usd(quoted.hold.amount)
            is_enough = worth is not None and most is not None and worth <= most
        if is_enough:
            return quoted
    return None


def _options(quoted: Quote) -> str:
    made = quoted.priced
    said = {"resolution": made.resolution, "sound": made.sound}
    words = [option_in_words(name, value) for name, value in said.items() if value is not None]
    return " ".join(words)
