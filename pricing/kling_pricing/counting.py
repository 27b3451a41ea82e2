"""Counting: a number with its noun, singular or plural."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number and what is counted: `1 job`, `1,204 jobs`.

    `many` is the plural; by default the noun with an s.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
