"""Bodies: reads what was posted and its prompts, and tells whether two ask for the same clip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from starlette.requests import Request

from kling_ledger.sandbox.replies import ApiError

Body = dict[str, Any]

_DEEPEST: Final = 64
"""No gateway's bodies come near it; a deeper body would only exhaust the stack."""

MEASURED_S: Final = 5
"""The length in seconds that a reference video, an audio or a continuation is taken to have.

A gateway measures the file; the sandbox cannot, because the links of a rehearsal lead nowhere. Five
is what EvoLink reserves for a motion clip before it has measured it, and the default length of a
clip wherever one is documented. Source: https://docs.evolink.ai/en/api-manual/
video-series/kling/kling-v3-motion-control, checked 2026-11-20.
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a gateway understood from a body: the clip to be made, in that gateway's own words.

    `words` are the options that a price may depend on, by the gateway's own names. `seconds` are
    billed; None if a request is charged as a whole.
    """

    action: str
    model: str
    seconds: int | None
    words: dict[str, str]


def read_object(text: str) -> Body:
    """Return the JSON object in a text; ValueError for anything else.

    A duplicate key is an error: parsers disagree on which one counts, and a rehearsal should reveal
    that.
    """
    content = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    if not isinstance(content, dict):
        raise ValueError("expected a JSON object")
    if _is_deep(content):
        raise ValueError(f"it is nested deeper than {_DEEPEST} levels")
    return content


async def posted(request: Request) -> Body:
    """Return the JSON object that was posted; 400 for anything else."""
    try:
        return read_object((await request.body()).decode())
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body cannot be read: {error}") from None


def fingerprint(body: Body) -> str:
    """Return a fingerprint that is equal for bodies with the same content, in any key order."""
    written = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()


def prompt_of(body: object) -> str:
    """Return every prompt in a body, including those of its shots, one per line."""
    return "\n".join(_prompts(body))


def _prompts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "prompt" and isinstance(inner, str):
                yield inner
            else:
                yield from _prompts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _prompts(inner)


def _is_deep(content: Any) -> bool:
    level = [content]
    for _ in range(_DEEPEST):
        nested = [inner for inner in level if isinstance(inner, (dict, list))]
        level = [
            inner for one in nested for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(level)


def _unique(pairs: list[tuple[str, Any]]) -> Body:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"an object has duplicate keys: {', '.join(map(ascii, twice))}")
    return content


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")
