"""The price books at hand: those that come with the package, and a user's own over them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from kling_pricing.book import PriceBook
from kling_pricing.book_reader import BookText, provider_of, read_book, read_bundled
from kling_pricing.errors import BookError, NoPriceError

# Beside this file: importlib.resources would cost a cold quote a seventh of its time, and pathlib
# loads the parsing of URLs.
_BOOKS: Final = os.path.join(os.path.dirname(__file__), "books")  # noqa: PTH118, PTH120


@dataclass(frozen=True, slots=True)
class Library:
    """Price books by provider. Each is read when it is first asked for, and kept."""

    user_books: Mapping[str, BookText] = field(default_factory=dict)
    _read: dict[str, PriceBook] = field(default_factory=dict, compare=False, repr=False)

    @property
    def providers(self) -> tuple[str, ...]:
        """Every provider that has a book, sorted."""
        return tuple(sorted({*bundled_providers(), *self.user_books}))

    def book(self, provider: str) -> PriceBook:
        """Return a provider's book; NoPriceError for a provider without one."""
        found = self._read.get(provider)
        if found is None:
            found = self._read[provider] = self._open(provider)
        return found

    def _open(self, provider: str) -> PriceBook:
        # A user may also bring a provider that we have no book of: it lies over nothing.
        own = self.user_books.get(provider)
        if own is None:
            return bundled_book(provider)
        over = bundled_text(provider) if provider in bundled_providers() else None
        return read_book(own.text, name=own.name, over=over)


def library_of(user_books: Iterable[BookText]) -> Library:
    """Return a library in which a user's books override the bundled ones, key by key."""
    by_provider: dict[str, BookText] = {}
    for book in user_books:
        provider = provider_of(book.text, name=book.name)
        if provider in by_provider:
            problem = f"{by_provider[provider].name} has prices of {provider} too"
            raise BookError(book.name, "provider", problem)
        by_provider[provider] = book
    return Library(by_provider)


@cache
def bundled_providers() -> tuple[str, ...]:
    """Return the providers whose books come with the package, sorted."""
    names = os.listdir(_BOOKS)  # noqa: PTH208
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@cache
def bundled_book(provider: str) -> PriceBook:
    """Return the bundled price book of a provider; NoPriceError for a provider without one."""
    return read_bundled(bundled_text(provider))


def bundled_text(provider: str) -> BookText:
    """Return the text of a bundled price book; NoPriceError for a provider without one."""
    if provider not in bundled_providers():
        raise NoPriceError(f"provider {provider}", known=bundled_providers())
    name = f"{provider}.toml"
    with open(os.path.join(_BOOKS, name), encoding="utf-8") as book:  # noqa: PTH118, PTH123
        return BookText(name, book.read())
