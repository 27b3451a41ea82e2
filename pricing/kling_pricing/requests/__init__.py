"""Each provider's own request body: validated as the provider documents it, read as a Clip.

A body is refused with every problem at once, each with its JSON path, before anything is sent.
Only the module of the provider that is asked for is imported.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any, Final, Protocol, cast

from kling_pricing.book import PriceBook
from kling_pricing.clip import Clip
from kling_pricing.errors import NoPriceError, Problem, RequestError
from kling_pricing.quote import Quote, quote

Body = dict[str, Any]
"""A request body as JSON gives it."""

DEEPEST: Final = 32
"""How many objects and lists may stand inside each other; no documented body comes near."""


class _Reader(Protocol):
    def read(self, body: Body, action: str | None) -> tuple[Clip, tuple[str, ...]]: ...


_READERS: Final[Mapping[str, str]] = {
    "crun": "kling_pricing.requests.crun",
    "evolink": "kling_pricing.requests.evolink",
    "runapi": "kling_pricing.requests.runapi",
    "uniall": "kling_pricing.requests.uniall",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A body that its provider would take, what it asks for, and what had to be assumed."""

    clip: Clip
    body: Body
    assumptions: tuple[str, ...]

    @property
    def payload_hash(self) -> str:
        """The SHA-256 of the body's content; the order of its keys does not matter."""
        return payload_hash(self.body)

    def quote(self, *, at: datetime, book: PriceBook | None = None) -> Quote:
        """Price the request at an instant; see kling_pricing.quote.quote."""
        return quote(self.clip, at=at, book=book)


def read_request(provider: str, body: object, *, action: str | None = None) -> Request:
    """Read a request body in a provider's own words.

    `action` is needed only where the provider writes it into the address and the body does not
    tell. Raises RequestError with every problem, NoPriceError for a model that nothing is known of.
    """
    module = _READERS.get(provider)
    if module is None:
        raise NoPriceError(f"request bodies of provider {provider}", known=sorted(_READERS))
    if _is_too_deep(body):
        raise _too_deep()
    if not isinstance(body, dict):
        raise RequestError([Problem("$", body, "a JSON object")])
    reader = cast("_Reader", import_module(module))
    clip, assumptions = reader.read(body, action)
    return Request(clip, _own_copy(body), assumptions)


def parse_body(text: str) -> Body:
    """Parse the JSON text of a request body; keys that are written twice are refused."""
    try:
        body = json.loads(text, object_pairs_hook=_Pairs.read, parse_constant=_no_constant)
    except RequestError:
        raise
    except (ValueError, RecursionError) as error:
        raise RequestError([Problem("$", str(error), "valid JSON")]) from None
    if _is_too_deep(body):
        raise _too_deep()
    if not isinstance(body, dict):
        raise RequestError([Problem("$", body, "a JSON object")])
    repeated = list(_repeated(body, ""))
    if repeated:
        raise RequestError(repeated)
    return body


def _own_copy(body: Body) -> Body:
    """Return a copy that nobody else can change; RequestError for what JSON in UTF-8 cannot say."""
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise RequestError([Problem("$", str(error), "JSON in UTF-8")]) from None
    copied: Body = json.loads(text)
    return copied


def payload_hash(body: Body) -> str:
    """Return `sha256:` and the hash of a body's canonical JSON."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


class _Pairs(dict[str, Any]):
    """An object in which a key was written twice; `twice` names those keys."""

    twice: tuple[str, ...] = ()

    @classmethod
    def read(cls, pairs: list[tuple[str, Any]]) -> Body:
        """Return the pairs as a dict, a marked one where a key comes twice."""
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


def _too_deep() -> RequestError:
    allowed = f"valid JSON of at most {DEEPEST} levels"
    return RequestError([Problem("$", "JSON that is nested deeper", allowed)])


def _no_constant(name: str) -> None:
    raise RequestError([Problem("$", name, "JSON has no such number")])
