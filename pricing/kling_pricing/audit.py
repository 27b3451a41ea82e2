"""What is wrong with the books themselves: prices that are unchecked for long, or have ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import chain
from typing import Literal

from kling_pricing.book import PriceBook, Rate
from kling_pricing.book_entries import Source
from kling_pricing.book_values import day_or_instant
from kling_pricing.counting import counted


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a book that its user should know.

    Findings on how a price is known, or that a model was retired, are for information only.
    """

    provider: str
    kind: Literal["stale", "future", "closed", "retired", "assumed", "third_party", "disputed"]
    subject: str
    problem: str

    @property
    def is_difference(self) -> bool:
        """Whether somebody has to act on it."""
        return self.kind in {"stale", "future", "closed"}


def stale(books: Iterable[PriceBook], *, today: date, max_age_days: int) -> tuple[Finding, ...]:
    """Audit books as of a day: a source is stale if it was checked more than the given age ago.

    Sources of ended prices are ignored. It also finds sources with a check date in the future,
    models that had a price but have none today, and, for information, retired models and prices
    that neither the provider nor the user vouches for.
    """
    at = datetime.combine(today, time.min, tzinfo=UTC)
    return tuple(chain.from_iterable(_findings(book, at, max_age_days) for book in books))


def _findings(book: PriceBook, at: datetime, max_age_days: int) -> Iterator[Finding]:
    lasting = [rate for rate in _rates(book) if _lasts(rate, at)]
    for source, users in _by_source(lasting, at).items():
        age = (at.date() - source.checked).days
        if age > max_age_days:
            problem = f"checked {source.checked}, {counted(age, 'day')} ago: {source.url}"
            yield Finding(book.provider, "stale", ", ".join(users), problem)
        # A future date is a typing error, and would hide that the source is stale.
        if age < 0:
            problem = f"checked {source.checked}, a day that is yet to come: {source.url}"
            yield Finding(book.provider, "future", ", ".join(users), problem)
    yield from _closed(book, at)
    for rate in lasting:
        evidence, untouched = rate.source.evidence, _untouched(rate)
        if untouched and rate.disputed is not None:
            other = book.sources[rate.disputed.source_name].url
            problem = f"{rate.disputed.times} times as much by {other}: {rate.disputed.because}"
            yield Finding(book.provider, "disputed", untouched, problem)
        elif untouched and (evidence == "assumed" or evidence == "third_party"):
            yield Finding(book.provider, evidence, untouched, rate.note or rate.source.note)


def _untouched(rate: Rate) -> str:
    """Name a rate, or only its prices that the user has not set; empty if the user set them all."""
    if not rate.user_cells:
        return rate.id
    listed = (cell for cell in rate.prices if not rate.is_any(cell))
    kept = [rate.in_words(cell) for cell in listed if cell not in rate.user_cells]
    return f"{rate.id}: {', '.join(kept)}" if kept else ""


def _rates(book: PriceBook) -> list[Rate]:
    offers = chain.from_iterable(book.offers.values())
    return list({offer.rate.id: offer.rate for offer in offers}.values())


def _lasts(rate: Rate, at: datetime) -> bool:
    return rate.valid_until is None or at < rate.valid_until


def _by_source(rates: Iterable[Rate], at: datetime) -> dict[Source, list[str]]:
    """Return the sources behind today's prices and conversions, with what rests on each."""
    found: dict[Source, list[str]] = {}
    conversions: dict[Source, str] = {}
    for rate in rates:
        found.setdefault(rate.source, []).append(rate.id)
        for one in rate.conversions:
            if one.is_valid_at(at):
                conversions[rate.book.sources[one.source_name]] = f"{rate.unit} in USD"
    for source, subject in conversions.items():
        found.setdefault(source, []).append(subject)
    return found


def _closed(book: PriceBook, at: datetime) -> Iterator[Finding]:
    for (model, action), offers in sorted(book.offers.items()):
        if not any(_lasts(offer.rate, at) for offer in offers):
            rate = max((offer.rate for offer in offers), key=lambda rate: rate.valid_until or at)
            last = day_or_instant(rate.valid_until or at)
            problem = f"its last price ended on {last} and none follows"
            if rate.retired:
                problem = f"{problem}: {rate.retired}"
            kind: Literal["closed", "retired"] = "retired" if rate.retired else "closed"
            yield Finding(book.provider, kind, f"{model} {action}", problem)
