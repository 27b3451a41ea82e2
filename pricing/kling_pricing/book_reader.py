"""Reads a price book's TOML text into a PriceBook, or refuses it and names the key.

A user's file may override a bundled one key by key; every rate that it touches says so.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from kling_pricing.book import PriceBook
from kling_pricing.book_builder import Builder
from kling_pricing.book_entries import BookEntry
from kling_pricing.entry import Content, checked_entry, entry_of, entry_schema
from kling_pricing.errors import BookError, reason_of

Path = tuple[str, ...]
"""The keys that lead to a value of a TOML document."""


LARGEST: Final = 1 << 18
"""The most characters a book may have: thirty times the longest one known."""

DEEPEST: Final = 16
"""How deeply tables and lists may be nested, and how many parts a key may have."""

_TOO_DEEP: Final = f"it is nested deeper than {DEEPEST} levels"

# The TOML parser takes memory and time quadratic in a key's parts, so such a key is found first. A
# match starts at a word and never backtracks: one pass over the text.
_PART: Final = r"(?:[A-Za-z0-9_-]++|\"[^\"\n]*+\"|'[^'\n]*+')"
_CHAIN: Final = re.compile(rf"(?<![A-Za-z0-9_-])(?>{_PART}[ \t]*+\.[ \t]*+){{{DEEPEST}}}")


class BookText(NamedTuple):
    """The TOML text of a book and its name in errors."""

    name: str
    text: str


def read_book(text: str, *, name: str, over: BookText | None = None) -> PriceBook:
    """Read a price book from TOML text; with `over`, as overrides of that book.

    Raises BookError, naming the key, for anything that the format does not allow, for a rate
    without a source, and for two rates of one clip whose validities overlap or leave a gap.
    """
    content = _parse(text, name)
    overrides: Mapping[str, tuple[str, ...]] = {}
    if over is not None:
        base = _parse(over.text, over.name)
        overrides = _overrides(content, base)
        content = merged(base, content)
    # Checked after merging: a user's file sets a few keys only and is not a whole book.
    entry = checked_entry(BookEntry, content, name=name)
    return Builder(entry, _digest(content), name, overrides).book()


def read_bundled(book: BookText) -> PriceBook:
    """Read a bundled book unchecked: it was checked when the package was tested."""
    content = _parse(book.text, book.name)
    return Builder(entry_of(BookEntry, content), _digest(content), book.name, {}).book()


def book_schema() -> Content:
    """Return the JSON Schema of a price book, for editors that help while it is written."""
    return entry_schema(BookEntry)


def provider_of(text: str, *, name: str) -> str:
    """Return the provider of a book's text, before anything else in it is checked."""
    provider = _parse(text, name).get("provider")
    if not isinstance(provider, str):
        raise BookError(name, "provider", "the book names no provider")
    return provider


def _parse(text: str, name: str) -> Content:
    text = text.removeprefix("\ufeff")
    if len(text) > LARGEST:
        raise BookError(name, "", f"it is longer than {LARGEST:,} characters: not a price book")
    if (chain := _CHAIN.search(text)) is not None:
        line = text.count("\n", 0, chain.start()) + 1
        raise BookError(name, "", f"line {line}: a key of more than {DEEPEST} parts")
    try:
        content = tomllib.loads(text)
    except (RecursionError, ValueError) as error:
        raise BookError(name, "", reason_of(error)) from None
    if _is_too_deep(content):
        raise BookError(name, "", _TOO_DEEP)
    return content


def _is_too_deep(content: Content) -> bool:
    level: list[object] = [content]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _parts(outer)]
    return any(isinstance(inner, (dict, list)) for inner in level)


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _digest(content: Content) -> str:
    # A digest of the content, not the text: comments and key order do not change a price.
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    import hashlib

    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def merged(base: Content, over: Content) -> Content:
    """Return base with over's keys replacing its own, table by table."""
    result = dict(base)
    for key, value in over.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def _overrides(over: Content, base: Content) -> dict[str, tuple[str, ...]]:
    """Return, for each bundled rate, the keys that affect it and that a user's file sets."""
    changed = tuple(_changed(over, base, ()))
    return {
        rate_id: tuple(".".join(path) for path in changed if _bears_on(path, rate_id, rate))
        for rate_id, rate in base["rates"].items()
    }


def _bears_on(path: Path, rate_id: str, rate: Content) -> bool:
    # Changing the unit or its conversions changes every dollar figure.
    on_all = path[0] in {"unit", "conversions"}
    return on_all or path[:2] in {("rates", rate_id), ("sources", rate["source"])}


def _changed(over: object, base: object, path: Path) -> Iterator[Path]:
    """Return where one table differs from another."""
    if isinstance(over, dict):
        below = base if isinstance(base, dict) else {}
        for key, value in over.items():
            yield from _changed(value, below.get(key), (*path, key))
    elif over != base:
        yield path
