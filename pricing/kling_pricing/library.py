"""The loaded price books: those that come with the package, and a user's own over them.

All prices come through here. `open_library` finds the books as every command does: a user's folder
overrides the bundled books, and explicitly given files override both. `at_hand` is that library
without files, loaded once per process: the default wherever no library is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

from kling_pricing.book import PriceBook
from kling_pricing.book_reader import BookText, provider_of, read_book, read_bundled
from kling_pricing.errors import BookError, NoPriceError
from kling_pricing.own_books import books_in, folder_at_hand, others_in, read_file

if TYPE_CHECKING:
    from pathlib import Path

# Beside this file: importlib.resources would add a seventh to the time of a cold quote, and pathlib
# loads URL parsing.
_BOOKS: Final = os.path.join(os.path.dirname(__file__), "books")  # noqa: PTH118, PTH120


@dataclass(frozen=True, slots=True)
class Library:
    """Price books by provider. Each is read when first used, then kept.

    `given` are the providers whose books were explicitly given; `notes` name the files in the
    user's `folder` that are not read.
    """

    user_books: Mapping[str, BookText] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    folder: Path | None = None
    _read: dict[str, PriceBook] = field(default_factory=dict, compare=False, repr=False)
    _asked: set[str] = field(default_factory=set, compare=False, repr=False)

    def __post_init__(self) -> None:
        # An explicitly given file is checked at once, used or not.
        for provider in self.given:
            self._book(provider)

    @property
    def providers(self) -> tuple[str, ...]:
        """Every provider that has a book, sorted."""
        return tuple(sorted({*bundled_providers(), *self.user_books}))

    def book(self, provider: str) -> PriceBook:
        """Return a provider's book; NoPriceError for a provider without one."""
        self._asked.add(provider)
        return self._book(provider)

    def units(self) -> set[str]:
        """Return every unit that a provider charges in."""
        return {self._book(provider).unit for provider in self.providers}

    def unanswered(self) -> Iterator[str]:
        """Report each explicitly given book that no price was read from."""
        for provider in self.given:
            if provider not in self._asked:
                own = self.user_books[provider].name
                yield f"{own} was not used: it has prices of {provider}{_meant(provider)}"

    def _book(self, provider: str) -> PriceBook:
        found = self._read.get(provider)
        if found is None:
            found = self._read[provider] = self._open(provider)
        return found

    def _open(self, provider: str) -> PriceBook:
        own = self.user_books.get(provider)
        return bundled_book(provider) if own is None else read_own(own)


def open_library(
    *files: str | os.PathLike[str], environ: Mapping[str, str] = os.environ
) -> Library:
    """Return the bundled books, overridden by the user's folder and then by the given files.

    The folder is KLING_LEDGER_BOOKS, by default `books` in the user's settings. A file replaces the
    folder's book of the same provider. Raises BookError, naming the file, for one that is
    unreadable or not a price book, for two of one provider, and for a named folder that does not
    exist.
    """
    folder = folder_at_hand(environ)
    if folder is None and not files:
        return Library()
    from pathlib import Path

    found: list[BookText] = [] if folder is None else books_in(folder)
    given = _by_provider(read_file(Path(path)) for path in files)
    kept = [one for one in found if provider_of(one.text, name=one.name) not in given]
    notes = [
        f"{one.name} is ignored: another book of its provider was given"
        for one in found
        if one not in kept
    ]
    notes += [
        f"{name} is not read: a price book ends in .toml"
        for name in (() if folder is None else others_in(folder))
    ]
    return Library({**_by_provider(kept), **given}, tuple(given), tuple(notes), folder)


def read_own(book: BookText) -> PriceBook:
    """Read a user's book over the bundled one of its provider; BookError for an invalid one.

    A user's book of a provider without a bundled book stands alone.
    """
    provider = provider_of(book.text, name=book.name)
    over = bundled_text(provider) if provider in bundled_providers() else None
    return read_book(book.text, name=book.name, over=over)


def library_of(user_books: Iterable[BookText]) -> Library:
    """Return a library in which these books override the bundled ones, key by key.

    Nothing else is read: no folder, no settings.
    """
    return Library(_by_provider(user_books))


@cache
def at_hand() -> Library:
    """Return the library of this process: the bundled books, overridden by the user's folder.

    It is loaded when first needed and then kept, even if the folder changes: pass `open_library()`
    wherever new prices must take effect.
    """
    return open_library()


@cache
def bundled_providers() -> tuple[str, ...]:
    """Return the providers with a bundled book, sorted."""
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


def _by_provider(books: Iterable[BookText]) -> dict[str, BookText]:
    by_provider: dict[str, BookText] = {}
    for book in books:
        provider = provider_of(book.text, name=book.name)
        if provider in by_provider:
            problem = f"{by_provider[provider].name} has prices of {provider} too"
            raise BookError(book.name, "provider", problem)
        by_provider[provider] = book
    return by_provider


def _meant(provider: str) -> str:
    """Suggest a known provider for an unknown one."""
    if provider in bundled_providers():
        return ""
    from difflib import get_close_matches

    plain = provider.replace("-", "")
    alike = get_close_matches(plain, bundled_providers(), n=1, cutoff=0.75)
    return f", and nobody else has: did you mean {alike[0]}?" if alike else ""
