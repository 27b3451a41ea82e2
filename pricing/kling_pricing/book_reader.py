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
        overrides = _overrides(content, base, name)
        content = _merged(base, content)
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


def _merged(base: Content, over: Content) -> Content:
    """Return base with over's keys in place of its own, table by table."""
    merged = dict(base)
    for key, value in over.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged


def _overrides(over: Content, base: Content, name: str) -> dict[str, tuple[str, ...]]:
    """Return, for each bundled rate that the overriding file touches, the keys it sets."""
    return {
        rate: tuple(f"{path} is set by {name}" for path in paths)
        for rate, table in _table(base, "rates").items()
        if (paths := [*_touching(rate, table, over)])
    }


def _touching(rate: str, table: Content, over: Content) -> Iterator[str]:
    """Name the keys of an overriding file that a rate rests on."""
    yield from _paths(_table(over, "rates").get(rate), f"rates.{rate}")
    source = str(table.get("source"))
    yield from _paths(_table(over, "sources").get(source), f"sources.{source}")
    for key in ("unit", "conversions"):
        if key in over:
            yield key


def _table(content: Content, key: str) -> Content:
    table = content.get(key, {})
    return table if isinstance(table, dict) else {}


def _paths(table: object, prefix: str) -> Iterator[str]:
    if not isinstance(table, dict):
        return
    for key, value in table.items():
        path = f"{prefix}.{key}"
        if isinstance(value, dict):
            yield from _paths(value, path)
        else:
            yield path
