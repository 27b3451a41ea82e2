"""Stored quotes: a stored quote is recomputed from its own book.

A book is identified by its digest. `kling-ledger prices pull` keeps every book that it writes or
replaces in the folder `superseded` beside it, with the bundled one that each overrides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from kling_pricing.book_reader import BookText, read_book
from kling_pricing.clip import CLIP_FIELDS, Clip
from kling_pricing.errors import ClipError, NoPriceError, Problem
from kling_pricing.library import (
    Library,
    at_hand,
    bundled_book,
    bundled_providers,
    bundled_text,
    read_own,
)
from kling_pricing.own_books import read_file
from kling_pricing.quote import Quote, quote

if TYPE_CHECKING:
    from pathlib import Path

    from kling_pricing.book import PriceBook

SUPERSEDED: Final = "superseded"
"""The folder, beside a user's own books, for those that a pull has written or replaced."""

_BASE: Final = ".base.toml"
"""The ending of the bundled book that a kept one overrides."""

_COMPARED: Final = ("amount", "low", "high", "hold", "unit", "rate_id", "billed_seconds")
_LENGTHS: Final = ("seconds", "input_seconds")


@dataclass(frozen=True, slots=True)
class Verified:
    """A stored quote beside its recomputation: what was stored, and what its book gives now.

    `differences` maps a key of the quote to both values; it is empty if the quote still holds.
    """

    quoted: Quote
    differences: Mapping[str, tuple[object, object]]


def from_dict(told: Mapping[str, Any], *, library: Library | None = None) -> Quote:
    """Return the quote that `Quote.as_dict` wrote, recomputed from the same book.

    Raises NoPriceError if no book with its digest is available, and ClipError if the quote is
    invalid or differs from its book.
    """
    verified = verify(told, library=library)
    problems = [
        Problem(name, said, f"{found}, as its book has it")
        for name, (said, found) in verified.differences.items()
    ]
    if problems:
        raise ClipError(problems)
    return verified.quoted


def verify(told: Mapping[str, Any], *, library: Library | None = None) -> Verified:
    """Recompute a stored quote at its own instant, from the book with its digest.

    Raises NoPriceError if no book with that digest is available, ClipError for an invalid quote.
    """
    clip, at, digest = _read(told)
    book = book_of(digest, clip.provider, library=library)
    quoted = quote(clip, at=at, book=book)
    found = quoted.as_dict()
    differences = {
        name: (told[name], found[name])
        for name in _COMPARED
        if name in told and told[name] != found[name]
    }
    return Verified(quoted, differences)


def book_of(digest: str, provider: str, *, library: Library | None = None) -> PriceBook:
    """Return a provider's book by its digest: the loaded one, or a superseded one.

    Raises NoPriceError if there is none.
    """
    library = library or at_hand()
    own = [library.book(provider)] if provider in library.providers else []
    bundled = [bundled_book(provider)] if provider in bundled_providers() else []
    for book in (*own, *bundled):
        if book.digest == digest:
            return book
    kept = None if library.folder is None else _kept(library.folder, provider, digest)
    if kept is None:
        raise NoPriceError(
            f"a quote of {provider} by the book {digest}",
            hint="books are kept where `kling-ledger prices pull` has replaced them",
        )
    return kept


def keep(text: BookText, folder: Path) -> None:
    """Keep a user's book for the quotes made from it, with the bundled one that it overrides.

    Raises OSError if it cannot be written.
    """
    book = read_own(text)
    place = _place(folder, book.provider, book.digest)
    place.parent.mkdir(parents=True, exist_ok=True)
    if book.provider in bundled_providers():
        place.with_suffix(_BASE).write_text(bundled_text(book.provider).text, encoding="utf-8")
    # Written last: if it exists, everything that belongs to it does too.
    place.write_text(text.text, encoding="utf-8")


def _kept(folder: Path, provider: str, digest: str) -> PriceBook | None:
    place = _place(folder, provider, digest)
    if not place.is_file():
        return None
    own, base = read_file(place), place.with_suffix(_BASE)
    return read_book(own.text, name=own.name, over=read_file(base) if base.is_file() else None)


def _place(folder: Path, provider: str, digest: str) -> Path:
    # Part of the digest is enough to tell any two books apart, and fits every file system.
    return folder / SUPERSEDED / f"{provider}-{digest.removeprefix('sha256:')[:24]}.toml"


def _read(told: Mapping[str, Any]) -> tuple[Clip, datetime, str]:
    """Return what a stored quote is for, when it was made, and from which book."""
    missing = [name for name in ("provider", "model", "action", "at", "book") if name not in told]
    if missing:
        raise ClipError([Problem(name, None, "a key of every quote") for name in missing])
    fields = {name: told[name] for name in CLIP_FIELDS if name in told}
    for name in _LENGTHS:
        if isinstance(fields.get(name), float):
            fields[name] = _exact(name, fields[name])
    try:
        at = datetime.fromisoformat(str(told["at"]))
    except ValueError:
        raise ClipError([Problem("at", told["at"], "an instant")]) from None
    return Clip(**fields), at, str(told["book"])


def _exact(name: str, seconds: float) -> Decimal:
    try:
        return Decimal(str(seconds))
    except InvalidOperation:
        raise ClipError([Problem(name, seconds, "a number of seconds")]) from None
