"""quote(): what exactly will this clip cost, and why.

A quote is immutable. It keeps the rate that it used and derives everything else on request, so
making one is cheap, and two quotes of one clip at one instant are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from kling_pricing.adjusting import adjusted
from kling_pricing.billing import (
    Billed,
    Line,
    all_in,
    amount_of,
    billed_seconds,
    lines_of,
    produced_seconds,
)
from kling_pricing.book import Cell, PriceBook, Rate
from kling_pricing.clip import Clip
from kling_pricing.counting import counted
from kling_pricing.errors import ClipError, Problem
from kling_pricing.library import Library, at_hand
from kling_pricing.money import USD, Money, plain, plain_or_none
from kling_pricing.unpriced import unheard_of, unlisted
from kling_pricing.vocabulary import OptionValue, Seconds

_END_OF_TIME: Final = datetime.max.replace(tzinfo=UTC)
_FURTHER_OPTIONS: Final = (
    *("multi_shot", "voice", "video_input", "elements", "frames", "orientation", "input_seconds"),
)

STALE_AFTER_DAYS: Final = 90
"""After how many days without a check a price is reported as old."""

QUOTE_LIFE: Final = timedelta(hours=24)
"""How long a quote may be relied on, unless its rate ends earlier."""


class Quote(NamedTuple):
    """A priced answer for one clip at one instant. Its lines add up to its amount.

    `clip` is what was requested, `priced` what the provider makes of it; `notes` say what was
    assumed or changed on the way. If the billed seconds are unknown before the run, the amount is
    the maximum, which is what a reservation holds.
    """

    clip: Clip
    priced: Clip
    rate: Rate
    price: Decimal
    billed: Billed
    at: datetime
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The unit that the provider charges in."""
        return self.rate.unit

    @property
    def amount(self) -> Money:
        """What the provider will charge at most, exactly, in its unit."""
        return self._amount(self.billed.high)

    @property
    def low(self) -> Money:
        """What the provider will charge at least."""
        return self._amount(self.billed.low)

    @property
    def expected(self) -> Money | None:
        """What the provider is expected to charge; None if that cannot be told before the run."""
        # Both are None if the price does not depend on seconds: then it is known.
        is_known = self.billed.expected is not None or self.billed.high is None
        return self._amount(self.billed.expected) if is_known else None

    def of_produced(self, seconds: Seconds) -> Money | None:
        """Return what the clip costs if the produced file has this length.

        None if the price does not depend on the file. Raises ClipError for part of a second if the
        book has no rule to round it.
        """
        counted = produced_seconds(self.rate, self.billed, seconds)
        return None if counted is None else self._amount(counted)

    @property
    def evidence(self) -> str:
        """How the price is known: by its source, `user`, or `disputed`."""
        return self.rate.evidence(self._cell)

    @property
    def disputed(self) -> Money | None:
        """What the seller's other figure comes to; None if it has only one."""
        other = self.rate.disputed
        if other is None or self.evidence == "user":
            return None
        return self._amount_at(self.price * other.times, self.billed.high)

    @property
    def hold(self) -> Money:
        """What a reservation holds: the amount, or the seller's other figure if that is higher."""
        other = self.disputed
        return self.amount if other is None else max(self.amount, other)

    @property
    def usd(self) -> Money | None:
        """The amount in US dollars at the book's dated conversion; None if none is known."""
        return self.in_usd(self.amount.amount)

    @property
    def unit_price(self) -> Decimal:
        """What one more `per` costs, with every fee, before a clip is rounded."""
        return all_in(self.rate, self.priced, self.price)

    @property
    def usd_price(self) -> Money | None:
        """What one more `per` costs in US dollars; None if no conversion is known."""
        return self.in_usd(self.unit_price)

    @property
    def billed_seconds(self) -> Seconds | None:
        """The seconds that the amount covers; None if it does not depend on them."""
        return self.billed.high

    @property
    def lines(self) -> tuple[Line, ...]:
        """The line items: what was requested, then what each rule of the provider adds."""
        return lines_of(self.rate, self.priced, self.price, self.billed.high)

    @property
    def expires_at(self) -> datetime:
        """The instant until which the quote may be relied on."""
        # The shorter span is added: near the end of time, `at + QUOTE_LIFE` would overflow.
        rate_ends_at = self.rate.valid_until or _END_OF_TIME
        return self.at + min(QUOTE_LIFE, rate_ends_at - self.at)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What someone who only looks at the amount should know."""
        return (*_warnings(self.priced, self.rate, self.billed), *_ageing(self.rate, self.at))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the price rests on that the provider does not vouch for, and what was changed."""
        return (
            *self.notes,
            *self._caveats(),
            *self._dispute(),
            *self._set_by_a_user(),
        )

    @classmethod
    def from_dict(cls, told: Mapping[str, Any], *, library: Library | None = None) -> Quote:
        """Return the quote written by `as_dict`, recomputed from the same book.

        Raises NoPriceError if that book is not available, and ClipError if the quote differs from
        that book.
        """
        from kling_pricing.stored import from_dict

        return from_dict(told, library=library)

    def as_dict(self) -> dict[str, Any]:
        """Return the quote for JSON: amounts as strings in plain decimal notation."""
        clip, rate = self.priced, self.rate
        return {
            "provider": clip.provider,
            "model": clip.model,
            "action": clip.action,
            "seconds": _number(clip.seconds),
            "billed_seconds": _number(self.billed_seconds),
            "resolution": clip.resolution,
            "sound": clip.sound,
            **{name: _json(getattr(clip, name)) for name in _FURTHER_OPTIONS},
            "unit": self.unit,
            "per": rate.per,
            "rate": plain(self.unit_price),
            "rate_usd": plain_or_none(self.usd_price),
            "amount": plain(self.amount.amount),
            "low": plain(self.low.amount),
            "expected": plain_or_none(self.expected),
            "high": plain(self.amount.amount),
            "usd": plain_or_none(self.usd),
            "hold": plain(self.hold.amount),
            "disputed": self._disputed_dict(),
            "evidence": self.evidence,
            "source": rate.source.url,
            "checked": rate.source.checked.isoformat(),
            "note": rate.note,
            "book": rate.book_digest,
            "rate_id": rate.id,
            "at": self.at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
            "lines": [_line_dict(line) for line in self.lines],
            "warnings": list(self.warnings),
            "assumptions": list(self.assumptions),
        }

    @property
    def _cell(self) -> Cell:
        return self.rate.cell_of(self.priced)

    def _caveats(self) -> Iterator[str]:
        if self.evidence == "user":
            return
        rate = self.rate
        if rate.source.evidence == "assumed":
            yield f"this price is assumed, not published: {rate.note or rate.source.note}"
        if rate.source.evidence == "third_party":
            yield "this price was read from a third party, not from the provider"

    def _disputed_dict(self) -> dict[str, str] | None:
        other, amount = self.rate.disputed, self.disputed
        if other is None or amount is None:
            return None
        source = self.rate.book.sources[other.source_name]
        return {
            "amount": plain(amount.amount),
            "source": source.url,
            "checked": source.checked.isoformat(),
            "because": other.because,
        }

    def _dispute(self) -> Iterator[str]:
        other = self._disputed_dict()
        if other is not None:
            yield (
                f"two figures of {self.rate.provider_name} disagree: {self.amount} by"
                f" {self.rate.source.url}, {other['amount']} {self.unit} by {other['source']}:"
                f" {other['because']}; {self.hold} is held unless"
                " the seller's own estimate decides"
            )

    def _set_by_a_user(self) -> tuple[str, ...]:
        cell = self.rate.user_cells.get(self._cell)
        return self.rate.overrides if cell is None else (cell, *self.rate.overrides)

    def _amount(self, seconds: Seconds | None) -> Money:
        # Checked when the book was read: this product is exact and fits, and most clips end here.
        if seconds in self.rate.plain_lengths:
            return Money.exact(self.price * (seconds or 0), self.rate.unit)
        return self._amount_at(self.price, seconds)

    def _amount_at(self, price: Decimal, seconds: Seconds | None) -> Money:
        return Money(amount_of(self.rate, self.priced, price, seconds), self.rate.unit)

    def in_usd(self, amount: Decimal) -> Money | None:
        """Return an amount in US dollars at the quote's dated rate; None if none is known."""
        usd = self.rate.to_usd(amount, self.at)
        return None if usd is None else Money(usd, USD)


def quote(
    clip: Clip, *, at: datetime, book: PriceBook | None = None, library: Library | None = None
) -> Quote:
    """Price one clip at an instant (aware), from a book, a library, or all loaded books.

    A length below the provider's billing minimum is billed as the minimum; one that no request may
    ask for is refused. Raises ClipError for what is missing or impossible, and NoPriceError if no
    rate is known: never zero, never the nearest rate.
    """
    book = book or (library or at_hand()).book(clip.provider)
    if book.provider != clip.provider:
        raise ClipError([Problem("provider", clip.provider, f"{book.provider}, whose book it is")])
    if getattr(at, "tzinfo", None) is None:
        raise ClipError([Problem("at", str(at), "an instant: a datetime with its time zone")])
    offer = book.offer_for(clip.model, clip.action, at)
    rate = offer.rate
    # Before anything is filled in: what the provider forces was not requested.
    for name in offer.refuses:
        if getattr(clip, name):
            raise unheard_of(clip, name, rate)
    priced, notes = adjusted(clip, offer) if offer.adjusts else (clip, ())
    price = rate.prices.get(rate.cell_of(priced))
    if price is None:
        raise unlisted(priced, rate)
    seconds = priced.seconds
    if seconds in rate.plain_lengths:
        return Quote(clip, priced, rate, price, Billed(seconds, seconds, seconds), at, notes)
    return Quote(clip, priced, rate, price, billed_seconds(priced, rate), at, notes)


def _warnings(clip: Clip, rate: Rate, billed: Billed) -> Iterator[str]:
    name, seconds = rate.provider_name, clip.seconds
    if billed.low != billed.high:
        yield (
            f"the billed seconds are known after the run: {billed.low} to {billed.high} s; "
            "the amount is the highest"
        )
    elif seconds is not None and rate.billing.count == "requested" and billed.high != seconds:
        rule = rate.billing
        limit = f"at least {rule.min_s} s" if billed.high == rule.min_s else "by its own rule"
        yield f"{seconds} s is billed as {billed.high} s: {name} bills {limit}"
    if seconds is not None and rate.request is not None and seconds not in rate.request:
        yield f"a request for {seconds} s would be refused: {name} takes {rate.request}"


def _ageing(rate: Rate, at: datetime) -> Iterator[str]:
    checked = rate.source.checked
    days = (at.date() - checked).days
    if days > STALE_AFTER_DAYS:
        yield f"nobody has looked at this price since {checked}, {counted(days, 'day')} before"


def _json(value: OptionValue | Decimal) -> OptionValue | float:
    return _number(value) if isinstance(value, Decimal) else value


def _number(seconds: Seconds | None) -> int | float | None:
    if seconds is None or isinstance(seconds, int):
        return seconds
    return int(seconds) if seconds == int(seconds) else float(seconds)


def _line_dict(line: Line) -> dict[str, str]:
    return {
        "label": line.label,
        "quantity": plain(line.quantity),
        "per": line.per,
        "unit_price": plain(line.unit_price),
        "amount": plain(line.amount),
    }
