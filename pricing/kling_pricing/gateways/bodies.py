"""A request body as JSON text: parsed strictly, copied, and pinned by a hash."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from kling_pricing.errors import Problem, RequestError, reason_of

Body = dict[str, Any]
"""A request body as parsed from JSON."""
DEEPEST: Final = 32
"""How deeply objects and lists may be nested; no documented body comes near."""


def parse_body(text: str) -> Body:
    """Parse the JSON text of a request body; duplicate keys are refused."""
    try:
        body = json.loads(text, object_pairs_hook=_Pairs.read, parse_constant=_no_constant)
    except RequestError:
        raise
    except (ValueError, RecursionError) as error:
        raise RequestError([Problem("$", reason_of(error), "valid JSON")]) from None
    # Before any code walks the body: unbounded depth would end in a RecursionError.
    refuse_too_deep(body)
    if not isinstance(body, dict):
        raise RequestError([Problem("$", body, "a JSON object")])
    repeated = list(_repeated(body, ""))
    if repeated:
        raise RequestError(repeated)
    return body


def refuse_too_deep(body: object) -> None:
    """Raise RequestError for a body that is nested deeper than any documented one."""
    if _is_too_deep(body):
        allowed = f"valid JSON of at most {DEEPEST} levels"
        raise RequestError([Problem("$", "JSON that is nested deeper", allowed)])


def own_copy(body: Body) -> Body:
    """Return an independent copy; RequestError for what JSON in UTF-8 cannot hold."""
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise RequestError([Problem("$", str(error), "JSON in UTF-8")]) from None
    copied: Body = json.loads(text)
    return copied


def payload_hash(body: Body) -> str:
    """Return `sha256:` and the hash of the body's canonical JSON."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


class _Pairs(dict[str, Any]):
    """An object with a duplicate key; `twice` names those keys."""

    twice: tuple[str, ...] = ()

    @classmethod
    def read(cls, pairs: list[tuple[str, Any]]) -> Body:
        """Return the pairs as a dict, marked if a key is repeated."""
        plain = dict(pairs)
        if len(plain) == len(pairs):
            return plain
        marked, counts = cls(plain), Counter(key for key, _ in pairs)
        marked.twice = tuple(key for key, count in counts.items() if count > 1)
        return marked


def _repeated(value: object, path: str) -> Iterator[Problem]:
    if isinstance(value, dict):
        for key in getattr(value, "twice", ()):
            where = f"{path}.{key}" if path else key
            yield Problem(where, "the same key twice", "each key once")
        for key, inner in value.items():
            yield from _repeated(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _repeated(inner, f"{path}[{position}]")


def _is_too_deep(body: object) -> bool:
    level: list[object] = [body]
    for _ in range(DEEPEST):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return False
    return True


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _no_constant(name: str) -> None:
    raise RequestError([Problem("$", name, "JSON has no such number")])
