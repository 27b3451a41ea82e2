"""Fields: the simple checks that contracts consist of.

A check returns what is allowed if a value is invalid, and None if it is valid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kling_ledger.sandbox.replies import ApiError

Check = Callable[[object], str | None]
Fields = Mapping[str, Check]


def text(*, longest: int | None = None, shortest: int = 0) -> Check:
    """Accept a string within a number of characters, inclusive."""

    def check(value: object) -> str | None:
        if not isinstance(value, str):
            return "a string"
        if len(value) < shortest:
            return f"at least {shortest} characters"
        if longest is not None and len(value) > longest:
            return f"at most {longest} characters"
        return None

    return check


def one_of(*words: str | int) -> Check:
    """Accept one of a few words or numbers."""
    allowed = f"one of {', '.join(map(str, words))}"

    def check(value: object) -> str | None:
        # By type as well: True and 5.0 equal 1 and 5, but are other values in JSON.
        is_known = any(type(value) is type(word) and value == word for word in words)
        return None if is_known else allowed

    return check


def whole(least: int, most: int) -> Check:
    """Accept a whole number between two limits, inclusive."""
    allowed = f"a whole number from {least} to {most}"

    def check(value: object) -> str | None:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return None if is_whole and least <= value <= most else allowed  # type: ignore[operator]

    return check


def number(least: float | None = None, most: float | None = None) -> Check:
    """Accept any number between two limits, inclusive."""

    def check(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return "a number"
        is_within = (least is None or value >= least) and (most is None or value <= most)
        return None if is_within else f"a number from {least} to {most}"

    return check


def flag(value: object) -> str | None:
    """Accept true or false."""
    return None if isinstance(value, bool) else "true or false"


def anything(value: object) -> str | None:  # noqa: ARG001 - as every check is called
    """Accept anything."""
    return None


def nested(value: object) -> str | None:
    """Accept an object."""
    return None if isinstance(value, dict) else "an object"


def listed(item: Check, *, least: int = 0, most: int | None = None) -> Check:
    """Accept a list within a number of items, inclusive, each valid by the check."""
    counted = f"{least} to {most}" if most is not None else f"{least} or more"

    def check(value: object) -> str | None:
        if not isinstance(value, list) or len(value) < least:
            return f"a list of {counted}"
        if most is not None and len(value) > most:
            return f"a list of {counted}"
        wrong = next((allowed for one in value if (allowed := item(one)) is not None), None)
        return None if wrong is None else f"a list, each {wrong}"

    return check


def problems(
    body: Mapping[str, Any], fields: Fields, *, needs: frozenset[str], where: str = ""
) -> list[str]:
    """Return what is wrong with an object: unknown fields, missing ones, and wrong values.

    A null field counts as not sent: clients in several languages send it.
    """
    given = {name: value for name, value in body.items() if value is not None}
    found = [f"{where}{name}: unknown field" for name in given if name not in fields]
    found += [f"{where}{name}: it is missing" for name in sorted(needs - given.keys())]
    for name, value in given.items():
        allowed = fields[name](value) if name in fields else None
        if allowed is not None:
            found.append(f"{where}{name}: got {_shown(value)}, allowed: {allowed}")
    return found


def refuse(found: list[str]) -> None:
    """Refuse a body that has problems, with 422; each dialect maps that to its own status."""
    if found:
        raise ApiError(422, "; ".join(found))


def _shown(value: object) -> str:
    """Return a value in plain ASCII, cut to fit a message."""
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
