"""A table for a file or a pipe: the same output as rich, without its loading time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest
from typing import Final

WIDEST: Final = 10_000
"""Without a terminal nothing is cut; nobody reads a table wider than this."""


def plain_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    title: str | None = None,
) -> list[str] | None:
    """Return the lines of a table; `right` are the right-aligned columns.

    None if counting characters is not enough: wide letters, stray blanks, a long title.
    """
    if not all(_is_simple(text) for row in (head, *rows) for text in row):
        return None
    widths = [
        max(max(map(len, row[place].split("\n"))) for row in (head, *rows))
        for place in range(len(head))
    ]
    whole = sum(widths) + 2 * (len(widths) - 1)
    if whole >= WIDEST or (title is not None and not _fits(title, whole)):
        return None
    body = [line for row in rows for line in _lines(row, widths, right)]
    headed = [*_lines(head, widths, right), " " + "─" * whole]
    return [*([] if title is None else [title]), "", *headed, *body, ""]


def _fits(title: str, whole: int) -> bool:
    return _is_simple(title) and "\n" not in title and 0 < len(title) <= whole


def _is_simple(text: str) -> bool:
    """Whether every character is one cell wide, and no line begins or ends with a blank."""
    if not text:
        return True
    lines = text.split("\n")
    return text.isascii() and all(
        line and line.isprintable() and line == line.strip() for line in lines
    )


def _lines(row: Sequence[str], widths: Sequence[int], right: Collection[int]) -> Iterator[str]:
    """Yield the lines of one row, as many as its tallest cell has."""
    for parts in zip_longest(*(cell.split("\n") for cell in row), fillvalue=""):
        placed = (
            part.rjust(width) if place in right else part.ljust(width)
            for place, (part, width) in enumerate(zip(parts, widths, strict=True))
        )
        yield (" " + "  ".join(placed)).rstrip()
