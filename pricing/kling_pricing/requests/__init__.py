"""Each provider's own request body: validated as the provider documents it, read as a Clip.

A body is refused with every problem at once, each with its JSON path, before anything is sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kling_pricing.book import PriceBook
from kling_pricing.clip import Clip
from kling_pricing.errors import NoPriceError, Problem, RequestError
from kling_pricing.quote import Quote, quote
from kling_pricing.requests import runapi

Body = dict[str, Any]
"""A request body as JSON gives it."""

_READERS: Mapping[str, Callable[[Body, str | None], tuple[Clip, tuple[str, ...]]]] = {
    "runapi": runapi.read,
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
    reader = _READERS.get(provider)
    if reader is None:
        raise NoPriceError(f"request bodies of provider {provider}", known=sorted(_READERS))
    if not isinstance(body, dict):
        raise RequestError([Problem("$", body, "a JSON object")])
    clip, assumptions = reader(body, action)
    return Request(clip, body, assumptions)


def parse_body(text: str) -> Body:
    """Parse the JSON text of a request body; a key that is written twice is refused."""
    try:
        body = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except RequestError:
        raise
    except (ValueError, RecursionError) as error:
        raise RequestError([Problem("$", str(error), "valid JSON")]) from None
    if not isinstance(body, dict):
        raise RequestError([Problem("$", body, "a JSON object")])
    return body


def payload_hash(body: Body) -> str:
    """Return `sha256:` and the hash of a body's canonical JSON."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> Body:
    body: Body = {}
    for key, value in pairs:
        if key in body:
            raise RequestError([Problem(key, "the same key twice", "each key once")])
        body[key] = value
    return body


def _no_constant(name: str) -> None:
    raise RequestError([Problem("$", name, "JSON has no such number")])
