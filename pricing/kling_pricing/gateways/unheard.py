"""Unheard: fields of a body that the gateway does not document, such as one that is new.

A gateway's new optional field need not prevent a quote: the field is sent as it is, the rest is
priced, and a note says that the field's cost is unknown. A field is still refused if its name
suggests that the price depends on it (how long, how large, how many, from what), or if it looks
like a misspelt documented one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from kling_pricing.errors import Problem, RequestError
from kling_pricing.gateways.checks import Body, UnknownField, at

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ALIKE: Final = 0.75
"""How alike two names must be, of 1, for one to count as a misspelling of the other."""

_PRICED: Final = frozenset(
    {
        *("seconds", "duration", "length", "time", "fps", "frame", "frames"),
        *("resolution", "quality", "size", "width", "height", "ratio"),
        *("sound", "audio", "voice", "music", "mode", "model", "tier", "priority", "speed"),
        *("turbo", "version", "multi", "shot", "shots", "element", "elements", "reference"),
        *("image", "images", "video", "videos", "url", "urls", "source", "task", "callback"),
        *("orientation", "character", "n", "num", "number", "count", "batch", "samples", "takes"),
        *("variants", "variations"),
    }
)
"""Words in a name that suggest what a price depends on, or where a job starts and reports."""

_UNKNOWN: Final = "what it may cost is unknown"


def without(
    body: Body, error: RequestError, *, strict: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a body without its unheard fields, and a note on each.

    Raises the error again if anything else is wrong, or if `strict` refuses unheard fields too.
    """
    unheard = [one for one in error.problems if isinstance(one, UnknownField)]
    if len(unheard) < len(error.problems) or strict or not all(map(_may_be_new, unheard)):
        raise RequestError([_told(one) for one in error.problems], hint=error.hint) from None
    notes = tuple(
        f"{one.path} is no documented field: it is sent as it is, and {_UNKNOWN}" for one in unheard
    )
    known: dict[str, Any] = _less(dict(body), "", {one.path for one in unheard})
    return known, notes


def _may_be_new(problem: UnknownField) -> bool:
    # A name with a dot would read as the path of another field.
    is_plain = _PLAIN.fullmatch(problem.name) is not None
    words = set(re.split("[_-]", problem.name.lower()))
    return is_plain and not words & _PRICED and not _meant(problem)


def _meant(problem: UnknownField) -> Sequence[str]:
    """Return the documented name that an unheard one may be a misspelling of."""
    from difflib import get_close_matches

    lower = {name.lower(): name for name in problem.documented}
    found = get_close_matches(problem.name.lower(), lower, n=1, cutoff=_ALIKE)
    return [lower[name] for name in found]


def _told(problem: Problem) -> Problem:
    if not isinstance(problem, UnknownField):
        return problem
    meant = _meant(problem)
    more = f"did you mean {meant[0]}?" if meant else _UNKNOWN
    return replace(problem, allowed=f"{problem.allowed}; {more}")


def _less(value: Any, path: str, unheard: set[str]) -> Any:
    """Return part of a body without the fields at some paths."""
    if isinstance(value, dict):
        return {
            name: _less(inner, at(path, name), unheard)
            for name, inner in value.items()
            if at(path, name) not in unheard
        }
    if isinstance(value, list):
        return [_less(item, f"{path}[{place}]", unheard) for place, item in enumerate(value)]
    return value
