"""Charges: what a seller says that failed jobs cost, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kling_pricing.library import Library

_SENTENCES: Final[Mapping[str, str]] = {
    "no": "{name} does not charge for a job that failed",
    "yes": "{name} charges for a job that failed",
    "unknown": "whether {name} charges for a job that failed is not known: its bill tells",
}


def on_failure(provider: str, library: Library) -> str:
    """Say whether a provider charges for a job that failed, and the source.

    Raises NoPriceError for a provider without a book.
    """
    book = library.book(provider)
    charge = book.charges.failure
    said = _SENTENCES[charge.charged].format(name=book.name)
    if charge.source_name is None:
        return said
    source = book.sources[charge.source_name]
    return f"{said} ({source.url}, checked {source.checked})"
