"""Own rates: which prices and charges come from a user's book, and from which file."""

from __future__ import annotations

from collections.abc import Iterable

from kling_pricing.book import Cell, Rate
from kling_pricing.book_entries import Charges
from kling_pricing.library import Library, bundled_book, bundled_providers


def set_by(rate: Rate, library: Library, cells: Iterable[Cell] = ()) -> tuple[str, ...]:
    """Return which keys of a rate are set by which file of the user's; none if it is bundled.

    A price that the user set counts only if it is in one of the cells.
    """
    own = library.user_books.get(rate.provider)
    if own is None:
        return ()
    if rate.provider not in bundled_providers() or rate.id not in _bundled_rates(rate.provider):
        return (f"rates.{rate.id} is set by {own.name}",)
    prices = (rate.user_cells[cell] for cell in cells if cell in rate.user_cells)
    return tuple(dict.fromkeys([*prices, *rate.overrides]))


def charges_set_by(provider: str, library: Library) -> tuple[str, ...]:
    """Return which of a provider's charges are set by which file of the user's."""
    own = library.user_books.get(provider)
    if own is None:
        return ()
    is_bundled = provider in bundled_providers()
    bundled = bundled_book(provider).charges if is_bundled else Charges()
    said = library.book(provider).charges
    changed = (kind for kind, charge in said.by_kind.items() if charge != bundled.by_kind[kind])
    return tuple(f"charges.{kind} is set by {own.name}" for kind in changed)


def _bundled_rates(provider: str) -> set[str]:
    offers = bundled_book(provider).offers.values()
    return {offer.rate.id for dated in offers for offer in dated}
