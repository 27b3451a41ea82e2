"""RunAPI's live schedule beside our book: every price in either, and whether they agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Final

from kling_pricing.agreement import Difference, how_they_differ
from kling_pricing.book import PriceBook
from kling_pricing.book_values import Options
from kling_pricing.cells import PricedCell, priced_cells, subject_of
from kling_pricing.gateways.runapi.schedule import Scheduled, read_schedules
from kling_pricing.money import plain

_PER_OF_THEIRS: Final[Mapping[str, str]] = {"request": "clip"}


def differences(
    book: PriceBook, schedules: Iterable[object], at: datetime
) -> tuple[Difference, ...]:
    """Return every price of RunAPI's live schedule and of our book at an instant, compared.

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
        # A row that was not understood may well price the cell: it is reported once, as unknown.
        if not theirs and row.problem is None:
            yield _only_ours(book, cell, "the live schedule has no price there")
        yield from (_beside(book, cell, row, price) for _, price in theirs)
    for options, price in row.prices:
        if not any(_agree(cell.options, options) for cell in cells):
            subject = subject_of(row.model, row.action, options)
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
        problem="" if is_same else how_they_differ(cell.price, per, theirs, row.per),
    )


def _only_ours(book: PriceBook, cell: PricedCell, problem: str) -> Difference:
    ours = _per(cell.price, cell.offer.rate.per)
    return Difference(book.provider, "only_ours", cell.subject, ours=ours, problem=problem)


def _agree(ours: Options, theirs: Options) -> bool:
    """Whether two sets of options can belong to one clip: they agree wherever both name one."""
    return all(theirs.get(name, value) == value for name, value in ours.items())


def _per(price: Decimal, per: str) -> str:
    return f"{plain(price)} per {per}"
