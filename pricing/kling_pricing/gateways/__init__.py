"""Each provider's own request body: validated as the provider documents it, read as a Clip.

The way back is here too: a clip and what it is made from, written as the provider's own body.

A body is refused with every problem at once, each with its JSON path, before anything is sent.
Only the module of the provider that is asked for is imported.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from typing import Any, Final, Protocol, cast

from kling_pricing.book import PriceBook
from kling_pricing.book_entries import Options
from kling_pricing.clip import CLIP_FIELDS, Clip, option_in_words
from kling_pricing.errors import NoPriceError, Problem, RequestError
from kling_pricing.gateways.checks import refuse_if_any
from kling_pricing.gateways.writing import Element, Inputs, Shot
from kling_pricing.library import bundled_book
from kling_pricing.quote import Quote, quote

Body = dict[str, Any]
"""A request body as JSON gives it."""

DEEPEST: Final = 32
"""How many objects and lists may stand inside each other; no documented body comes near."""


class _Dialect(Protocol):
    def read(self, body: Body, action: str | None) -> tuple[Clip, tuple[str, ...]]: ...
    def write_body(self, clip: Clip, inputs: Inputs, by_id: Options) -> Body: ...


GATEWAYS: Final = ("runapi", "crun", "evolink", "uniall")
"""Every gateway that jobs can be submitted through: the one list of them. Each has a folder here,
one in `kling_ledger.providers`, and a price book."""


_FOLLOWS_FROM: Final[Mapping[str, str]] = {
    "frames": "image_url and last_image_url",
    "video_input": "video_url and source_task_id",
    "elements": "elements",
    "voice": "nothing that the provider documents",
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
    dialect = _dialect(provider)
    if _is_too_deep(body):
        raise _too_deep()
    if not isinstance(body, dict):
        raise RequestError([Problem("$", body, "a JSON object")])
    clip, assumptions = dialect.read(body, action)
    return Request(clip, _own_copy(body), assumptions)


def write_request(
    clip: Clip,
    *,
    prompt: str | None = None,
    negative_prompt: str | None = None,
    aspect_ratio: str | None = None,
    cfg_scale: float | None = None,
    image_url: str | None = None,
    last_image_url: str | None = None,
    reference_image_urls: Sequence[str] | None = None,
    video_url: str | None = None,
    audio_url: str | None = None,
    source_task_id: str | None = None,
    shots: Sequence[Shot] | None = None,
    elements: Sequence[Element] | None = None,
    callback_url: str | None = None,
    book: PriceBook | None = None,
) -> Request:
    """Write a clip, and what it is made from, as the body that its provider documents.

    The request is the one that `read_request` gives back for its `body` and `clip.action`, its clip
    filled with what the provider takes where nobody said. `book` is asked what a model's id alone
    decides; without it the bundled one is. `input_seconds` is kept though no body says it: the
    video itself does. RequestError names everything that the provider has no words for.
    """
    inputs = Inputs(
        prompt=prompt,
        negative_prompt=negative_prompt,
        aspect_ratio=aspect_ratio,
        cfg_scale=cfg_scale,
        image_url=image_url,
        last_image_url=last_image_url,
        reference_image_urls=reference_image_urls,
        video_url=video_url,
        audio_url=audio_url,
        source_task_id=source_task_id,
        shots=shots,
        elements=elements,
        callback_url=callback_url,
    )
    dialect = _dialect(clip.provider)
    by_id = _decided_by_id(clip, book or bundled_book(clip.provider))
    body = dialect.write_body(clip, inputs, by_id)
    request = read_request(clip.provider, body, action=clip.action)
    refuse_if_any(_unsaid(clip, request.clip, by_id))
    return replace(request, clip=request.clip.with_options(_said(clip)))


def _dialect(provider: str) -> _Dialect:
    if provider not in GATEWAYS:
        raise NoPriceError(f"request bodies of provider {provider}", known=sorted(GATEWAYS))
    return cast("_Dialect", import_module(f"kling_pricing.gateways.{provider}.body"))


def _said(clip: Clip) -> dict[str, Any]:
    values = {name: getattr(clip, name) for name in CLIP_FIELDS}
    return {name: value for name, value in values.items() if value is not None}


def _decided_by_id(clip: Clip, book: PriceBook) -> Options:
    """Return the options that a model's id decides; RequestError where the clip says otherwise."""
    offers = book.offers.get((clip.model, clip.action), ())
    decided = {name: value for offer in offers for name, value in offer.fixed.items()}
    refuse_if_any(
        Problem(name, said, f"{option_in_words(name, value)}, as {clip.model} always makes it")
        for name, value in decided.items()
        if (said := getattr(clip, name)) not in {None, value}
    )
    return decided


def _unsaid(clip: Clip, written: Clip, by_id: Options) -> Iterator[Problem]:
    """Tell what a clip says and its written body does not."""
    for name, value in _said(clip).items():
        said = getattr(written, name)
        if said != value and name not in by_id and name != "input_seconds":
            why = _FOLLOWS_FROM.get(name, "the model")
            yield Problem(name, value, f"{option_in_words(name, said)}: it follows from {why}")


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
