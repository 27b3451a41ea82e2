"""Counting: a number and its noun, as everything here says them to people."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number and what is counted: `1 job`, `1,204 jobs`.

    `many` is the noun for any number but 1; without it an s is added.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
