"""What is wrong with the books: prices nobody looked at for long, and drift against live ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import chain
from typing import Any, Final, Literal, NamedTuple

from kling_pricing.book import Cell, Offer, PriceBook, Rate
from kling_pricing.book_entries import Source
from kling_pricing.clip import Clip, OptionValue, option_in_words
from kling_pricing.gateways.runapi.schedule import (
    CANONICAL_URL,
    Options,
    Scheduled,
    read_schedules,
    schedule_book,
)
from kling_pricing.money import plain
from kling_pricing.quote import quote

__all__ = [
    "CANONICAL_URL",
    "Difference",
    "Finding",
    "PricedCell",
    "beside_estimate",
    "cells_of",
    "differences",
    "priced_cells",
    "sample_clip",
    "schedule_book",
    "stale",
]

_PER_OF_THEIRS: Final[Mapping[str, str]] = {"request": "clip"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a book that somebody should know; `assumed` and `third_party` only inform."""

    provider: str
    kind: Literal["stale", "future", "closed", "assumed", "third_party"]
    subject: str
    problem: str

    @property
    def is_difference(self) -> bool:
        """Whether somebody has to do something about it."""
        return self.kind in {"stale", "future", "closed"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One price beside the live one, in the unit of the book and per what it says.

    `unknown` is a row of the provider's that was not understood: its price may differ.
    """

    provider: str
    kind: Literal["same", "differs", "only_ours", "only_theirs", "unknown"]
    subject: str
    ours: str | None = None
    theirs: str | None = None
    problem: str = ""

    @property
    def is_difference(self) -> bool:
        """Whether the two do not agree."""
        return self.kind != "same"


class PricedCell(NamedTuple):
    """One price of a book with all that a clip must be to get it."""

    model: str
    action: str
    options: Options
    offer: Offer
    price: Decimal

    @property
    def subject(self) -> str:
        """Say in words what is priced: `kling-3.0 text_to_video 1080p with sound`."""
        return _subject(self.model, self.action, self.options)


def stale(books: Iterable[PriceBook], *, today: date, max_age_days: int) -> tuple[Finding, ...]:
    """Audit books on a day: a source checked longer ago than the age is stale, at it is not.

    Sources of prices that ended do not count. Also found: sources checked on a day to come, models
    that have no price today though they had one, and, for information, prices that the provider
    does not vouch for, nor the user.
    """
    at = datetime.combine(today, time.min, tzinfo=UTC)
    return tuple(chain.from_iterable(_findings(book, at, max_age_days) for book in books))


def _findings(book: PriceBook, at: datetime, max_age_days: int) -> Iterator[Finding]:
    lasting = [rate for rate in _rates(book) if _lasts(rate, at)]
    for source, users in _by_source(lasting, at).items():
        age = (at.date() - source.checked).days
        if age > max_age_days:
            problem = f"checked {source.checked}, {age} days ago: {source.url}"
            yield Finding(book.provider, "stale", ", ".join(users), problem)
        if age < 0:
            problem = f"checked {source.checked}, a day that is yet to come: {source.url}"
            yield Finding(book.provider, "future", ", ".join(users), problem)
    yield from _closed(book, at)
    for rate in lasting:
        evidence, untouched = rate.source.evidence, _untouched(rate)
        if untouched and (evidence == "assumed" or evidence == "third_party"):
            yield Finding(book.provider, evidence, untouched, rate.note or rate.source.note)


def _untouched(rate: Rate) -> str:
    """Name a rate, or its prices that no user set where one set some; empty if all are set."""
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
    """Return the sources that prices and conversions of today rest on, with what rests on them."""
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
            last = max(offer.rate.valid_until or at for offer in offers)
            problem = f"its last price ended on {last.date()} and none follows"
            yield Finding(book.provider, "closed", f"{model} {action}", problem)


def priced_cells(book: PriceBook, at: datetime) -> Iterator[PricedCell]:
    """Yield every price of a book that holds at an instant, once for each clip that has it.

    Where an option makes no difference, every value that it can have is there.
    """
    for (model, action), offers in sorted(book.offers.items()):
        for offer in offers:
            if offer.rate.is_valid_at(at):
                for cell, price in offer.rate.prices.items():
                    options = _options(offer, cell)
                    if options is not None:
                        yield PricedCell(model, action, options, offer, price)


def cells_of(offer: Offer, *, is_collapsed: bool = False) -> tuple[Cell, ...]:
    """Return the cells that an offer's model id leaves open.

    Collapsed, a price that is the same for every value of an option stands there once, as `any`.
    """
    kept = [cell for cell in offer.rate.prices if _is_open(offer, cell)]
    if is_collapsed:
        return tuple(cell for cell in kept if not offer.rate.is_any(cell))
    return tuple(kept)


def _is_open(offer: Offer, cell: Cell) -> bool:
    named = zip(offer.rate.dimensions, cell, strict=True)
    return all(value is None or offer.fixed.get(name, value) == value for name, value in named)


def _options(offer: Offer, cell: Cell) -> Options | None:
    """Return what a clip in a cell must be; None for one that the model's id rules out."""
    named: dict[str, OptionValue] = dict(zip(offer.rate.dimensions, cell, strict=True))
    if None in cell or any(named.get(name, value) != value for name, value in offer.fixed.items()):
        return None
    return {**named, **offer.fixed}


def differences(
    book: PriceBook, schedules: Iterable[object], at: datetime
) -> tuple[Difference, ...]:
    """Lay the rows of RunAPI's live schedule beside our prices at an instant: everything is there.

    Rows may name their keys in any order and leave cells out. A row that is not understood is
    reported in place of its prices.
    """
    rows = read_schedules(schedules)
    ours: dict[tuple[str, str], list[PricedCell]] = {}
    for cell in priced_cells(book, at):
        ours.setdefault((cell.model, cell.action), []).append(cell)
    found = [_laid_beside(book, row, ours.get((row.model, row.action), [])) for row in rows]
    listed = {(row.model, row.action) for row in rows}
    unlisted = [cell for key, cells in ours.items() if key not in listed for cell in cells]
    return (
        *chain.from_iterable(found),
        *(_only_ours(book, cell, "the live schedule does not list it") for cell in unlisted),
    )


def _laid_beside(book: PriceBook, row: Scheduled, cells: list[PricedCell]) -> Iterator[Difference]:
    if row.problem is not None:
        yield Difference(book.provider, "unknown", f"{row.model} {row.action}", problem=row.problem)
    for cell in cells:
        theirs = [
            (options, price) for options, price in row.prices if _agree(cell.options, options)
        ]
        if not theirs and row.problem is None:
            yield _only_ours(book, cell, "the live schedule has no price there")
        yield from (_beside(book, cell, row, price) for _, price in theirs)
    for options, price in row.prices:
        if not any(_agree(cell.options, options) for cell in cells):
            subject = _subject(row.model, row.action, options)
            yield Difference(book.provider, "only_theirs", subject, theirs=_per(price, row.per))


def _beside(book: PriceBook, cell: PricedCell, row: Scheduled, theirs: Decimal) -> Difference:
    rate = cell.offer.rate
    per = _PER_OF_THEIRS.get(rate.per, rate.per)
    is_same = cell.price == theirs and per == row.per
    return Difference(
        book.provider,
        "same" if is_same else "differs",
        cell.subject,
        ours=_per(cell.price, per),
        theirs=_per(theirs, row.per),
        problem="" if is_same else _how(cell.price, per, theirs, row.per),
    )


def _how(ours: Decimal, our_per: str, theirs: Decimal, their_per: str) -> str:
    if our_per != their_per:
        return f"ours is per {our_per}, theirs per {their_per}"
    return f"theirs is {plain(abs(theirs - ours))} {'more' if theirs > ours else 'less'}"


def _only_ours(book: PriceBook, cell: PricedCell, problem: str) -> Difference:
    ours = _per(cell.price, cell.offer.rate.per)
    return Difference(book.provider, "only_ours", cell.subject, ours=ours, problem=problem)


def _agree(ours: Options, theirs: Options) -> bool:
    """Whether two sets of options can be those of one clip: what both say, they say alike."""
    return all(theirs.get(name, value) == value for name, value in ours.items())


def _per(price: Decimal, per: str) -> str:
    return f"{plain(price)} per {per}"


def _subject(model: str, action: str, options: Options) -> str:
    return " ".join([model, action, *(option_in_words(*option) for option in options.items())])


def sample_clip(book: PriceBook, cell: PricedCell) -> Clip | None:
    """Return a clip that has a cell's price; None where only the run tells how long it is."""
    rate = cell.offer.rate
    if rate.billing.count in {"produced", "input"}:
        return None
    lengths = rate.request
    seconds = None if lengths is None else lengths.ends[0] if 5 not in lengths else 5
    given: dict[str, Any] = {"seconds": seconds, **cell.options}
    if cell.action == "image_to_video":
        given.setdefault("frames", "first")
    if rate.billing.count == "input_and_output":
        given["input_seconds"] = seconds if rate.input is None else rate.input.ends[0]
    return Clip(book.provider, cell.model, cell.action, **given)


def beside_estimate(
    book: PriceBook, cell: PricedCell, at: datetime, *, estimate: Decimal | str
) -> Difference:
    """Lay a provider's estimate for `sample_clip` beside our quote for it.

    The estimate is an amount in the book's unit, or the provider's reason for giving none.
    """
    clip = sample_clip(book, cell)
    if clip is None:
        raise ValueError("only a clip whose length is known before the run can be estimated")
    ours = quote(clip, at=at, book=book).amount
    subject = cell.subject if clip.seconds is None else f"{cell.subject}, {clip.seconds} s"
    if isinstance(estimate, str):
        problem = f"no estimate: {estimate}"
        return Difference(book.provider, "unknown", subject, ours=str(ours), problem=problem)
    is_same = ours.amount == estimate
    return Difference(
        book.provider,
        "same" if is_same else "differs",
        subject,
        ours=str(ours),
        theirs=f"{plain(estimate)} {book.unit}",
        problem="" if is_same else _how(ours.amount, "clip", estimate, "clip"),
    )
