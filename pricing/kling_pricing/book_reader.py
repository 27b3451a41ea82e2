"""Reads a price book's TOML text into a PriceBook, or refuses it and names the key.

A user's file may lie over a bundled one: it overrides key by key, and every rate that it touches
says so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kling_pricing.book import PriceBook
from kling_pricing.book_builder import Content, build_book
from kling_pricing.errors import BookError


@dataclass(frozen=True, slots=True)
class BookText:
    """The TOML text of a book and what errors call it."""

    name: str
    text: str


def read_book(text: str, *, name: str, over: BookText | None = None) -> PriceBook:
    """Read a price book from TOML text; with `over`, as overrides of that book.

    Raises BookError, naming the key, for anything that the format does not allow, for a rate
    without a source, and where the validity of two rates for one clip overlaps or leaves a gap.
    """
    content = _parse(text, name)
    overrides: Mapping[str, tuple[str, ...]] = {}
    if over is not None:
        base = _parse(over.text, over.name)
        overrides = _overrides(content, base)
        content = merged(base, content)
    # Imported here because checking is slow to load, and bundled books need none.
    from kling_pricing.book_format import check_content

    check_content(content, name=name)
    return build_book(content, name=name, overrides=overrides)


def read_bundled(book: BookText) -> PriceBook:
    """Read a book that comes with the package: it was checked when the package was tested."""
    return build_book(_parse(book.text, book.name), name=book.name)


def provider_of(text: str, *, name: str) -> str:
    """Return the provider that a book's text is about, before anything else in it is checked."""
    provider = _parse(text, name).get("provider")
    if not isinstance(provider, str):
        raise BookError(name, "provider", "the book does not say whose prices it has")
    return provider


def _parse(text: str, name: str) -> Content:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BookError(name, "", str(error)) from None


def merged(base: Content, over: Content) -> Content:
    """Return base with over's keys in place of its own, table by table."""
    result = dict(base)
    for key, value in over.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def _overrides(over: Content, base: Content) -> dict[str, tuple[str, ...]]:
    """Return, for each bundled rate that the overriding file changes, the keys it sets."""
    return {
        rate: tuple(_touching(rate, table, over, base))
        for rate, table in _table(base, "rates").items()
    }


def _touching(rate: str, table: Content, over: Content, base: Content) -> Iterator[str]:
    """Name the keys that a rate rests on and that an overriding file says otherwise."""
    yield from _changed(_table(over, "rates").get(rate), table, f"rates.{rate}")
    source = str(table.get("source"))
    theirs, ours = _table(over, "sources").get(source), _table(base, "sources").get(source)
    yield from _changed(theirs, ours, f"sources.{source}")
    for key in ("unit", "conversions"):
        if key in over:
            yield from _changed(over[key], base.get(key), key)


def _table(content: Content, key: str) -> Content:
    table = content.get(key, {})
    return table if isinstance(table, dict) else {}


def _changed(over: object, base: object, path: str) -> Iterator[str]:
    """Name the keys under a path that one table says otherwise than another."""
    if isinstance(over, dict):
        below = base if isinstance(base, dict) else {}
        for key, value in over.items():
            yield from _changed(value, below.get(key), f"{path}.{key}")
    elif over is not None and over != base:
        yield path
