"""quote(): what exactly will this clip cost, and why.

A quote is immutable. It keeps the rate that it used and derives everything else from it on
request, so making one is cheap and two quotes of one clip at one instant are equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from kling_pricing.book import Cell, PriceBook, Rate
from kling_pricing.book_format import bundled_book
from kling_pricing.clip import Clip
from kling_pricing.errors import MISSING, ClipError, NoPriceError, Problem
from kling_pricing.money import Money, plain, to_micro


@dataclass(frozen=True, slots=True)
class Line:
    """One line item: `quantity` of what `per` says, at `unit_price`, makes `amount`."""

    label: str
    quantity: Decimal
    per: str
    unit_price: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Quote:
    """A priced answer for one clip at one instant. Its lines add up to its amount."""

    clip: Clip
    rate: Rate
    price: Decimal
    billed_seconds: int
    at: datetime

    @property
    def unit(self) -> str:
        """The unit that the provider charges in."""
        return self.rate.unit

    @property
    def amount(self) -> Money:
        """What the provider will charge, exactly, in its unit."""
        return Money(self.price * self.billed_seconds, self.rate.unit)

    @property
    def usd(self) -> Money | None:
        """The amount in US dollars at the book's dated conversion; None where none is known."""
        return self._in_usd(self.amount.amount)

    @property
    def usd_price(self) -> Money | None:
        """The price per second in US dollars; None where no conversion is known."""
        return self._in_usd(self.price)

    @property
    def lines(self) -> tuple[Line, ...]:
        """The line items: what was asked for, then what a billing rule adds."""
        return tuple(self._lines())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What somebody who only looks at the amount would want to be told."""
        return tuple(self._warnings())

    def as_dict(self) -> dict[str, Any]:
        """Return the quote for JSON: amounts as strings in plain decimal notation."""
        return {
            "provider": self.clip.provider,
            "model": self.clip.model,
            "action": self.clip.action,
            "seconds": _number(self.clip.seconds),
            "billed_seconds": self.billed_seconds,
            "resolution": self.clip.resolution,
            "sound": self.clip.sound,
            "unit": self.unit,
            "rate": plain(self.price),
            "rate_usd": _plain_or_none(self.usd_price),
            "amount": plain(self.amount.amount),
            "usd": _plain_or_none(self.usd),
            "evidence": self.rate.source.evidence,
            "source": self.rate.source.url,
            "checked": self.rate.source.checked.isoformat(),
            "note": self.rate.note,
            "book": self.rate.book_digest,
            "rate_id": self.rate.id,
            "at": self.at.isoformat(),
            "lines": [_line_dict(line) for line in self.lines],
            "warnings": list(self.warnings),
        }

    def _in_usd(self, amount: Decimal) -> Money | None:
        usd = self.rate.to_usd(amount, self.at)
        return None if usd is None else Money(usd, "USD")

    def _lines(self) -> Iterator[Line]:
        asked = Decimal(self.clip.seconds or 0)
        yield self._line(_described(self.clip, self.rate), asked)
        if self.billed_seconds > asked:
            label = f"billing minimum of {self.rate.seconds.billed_min} seconds"
            yield self._line(label, self.billed_seconds - asked)

    def _line(self, label: str, seconds: Decimal) -> Line:
        return Line(label, seconds, "second", self.price, self.price * seconds)

    def _warnings(self) -> Iterator[str]:
        rule = self.rate.seconds
        if self.clip.seconds is not None and self.clip.seconds < self.billed_seconds:
            yield (
                f"{self.clip.seconds} s is billed as {self.billed_seconds} s: "
                f"{self.rate.provider_name} bills at least {rule.billed_min} s"
            )
        if self.clip.seconds is not None and self.clip.seconds < rule.request_min:
            yield (
                f"a request for {self.clip.seconds} s would be refused: "
                f"{self.rate.provider_name} takes {rule.request_min} to {rule.request_max} s"
            )


def quote(clip: Clip, *, at: datetime, book: PriceBook | None = None) -> Quote:
    """Price one clip at an instant (aware), from a book or from the provider's bundled one.

    A length below the provider's billing minimum is billed as the minimum; one above what a
    request may ask for, or in part seconds, is refused. Raises ClipError for what is missing or
    cannot be, and NoPriceError where no rate is known: never zero, never the nearest rate.
    """
    book = book or bundled_book(clip.provider)
    rate = book.rate_for(clip.model, clip.action, at)
    price = rate.prices.get(_cell(clip, rate))
    if price is None:
        raise _unlisted(clip, rate)
    billed = _billed_seconds(clip, rate)
    to_micro(price * billed)
    return Quote(clip, rate, price, billed, at)


def _cell(clip: Clip, rate: Rate) -> Cell:
    cell = tuple(getattr(clip, dimension) for dimension in rate.dimensions)
    if None in cell:
        raise ClipError(
            [
                Problem(dimension, MISSING, ", ".join(_listed(rate, dimension)))
                for dimension in rate.dimensions
                if getattr(clip, dimension) is None
            ]
        )
    return cell


def _billed_seconds(clip: Clip, rate: Rate) -> int:
    rule = rate.seconds
    seconds = clip.seconds
    if seconds is None or seconds != int(seconds) or seconds > rule.request_max:
        got = MISSING if seconds is None else _number(seconds)
        allowed = f"whole seconds, {rule.request_min} to {rule.request_max}"
        raise ClipError([Problem("seconds", got, allowed)])
    return max(int(seconds), rule.billed_min)


def _unlisted(clip: Clip, rate: Rate) -> NoPriceError:
    asked = f"{clip.provider} {clip.model} at {_described(clip, rate)}"
    known = [_cell_words(rate, cell) for cell in rate.prices]
    return NoPriceError(asked, known=known)


def _listed(rate: Rate, dimension: str) -> list[str]:
    position = rate.dimensions.index(dimension)
    return sorted({_word(dimension, cell[position]) for cell in rate.prices})


def _described(clip: Clip, rate: Rate) -> str:
    return _cell_words(rate, tuple(getattr(clip, name) for name in rate.dimensions))


def _cell_words(rate: Rate, cell: Cell) -> str:
    return " ".join(_word(name, value) for name, value in zip(rate.dimensions, cell, strict=True))


def _word(dimension: str, value: str | bool) -> str:  # noqa: FBT001
    if isinstance(value, bool):
        return f"with {dimension}" if value else f"without {dimension}"
    return value


def _number(seconds: int | Decimal | None) -> int | float | None:
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


def _plain_or_none(money: Money | None) -> str | None:
    return None if money is None else plain(money.amount)
