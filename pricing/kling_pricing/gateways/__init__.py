"""Each provider's own request body: validated as the provider documents it, read as a Clip.

It also goes the other way: a clip and its inputs are written as the provider's own body.

A body is refused with every problem at once, each with its JSON path, before anything is sent. Only
the module of the requested provider is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib import import_module
from typing import Any, Final, Protocol, cast

from kling_pricing.book import PriceBook
from kling_pricing.book_values import Options
from kling_pricing.clip import CLIP_FIELDS, Clip
from kling_pricing.errors import NoPriceError, Problem, RequestError
from kling_pricing.gateways.bodies import (
    DEEPEST,
    Body,
    own_copy,
    parse_body,
    payload_hash,
    refuse_too_deep,
)
from kling_pricing.gateways.checks import refuse_if_any
from kling_pricing.gateways.defaults import Reading
from kling_pricing.gateways.unheard import without
from kling_pricing.gateways.writing import Element, Inputs, Shot
from kling_pricing.library import Library, at_hand
from kling_pricing.quote import Quote, quote
from kling_pricing.vocabulary import option_in_words

__all__ = [
    "DEEPEST",
    "GATEWAYS",
    "Body",
    "Request",
    "parse_body",
    "payload_hash",
    "read_request",
    "write_request",
]


class _Dialect(Protocol):
    def read(self, body: Body, action: str | None) -> Reading: ...
    def write_body(self, clip: Clip, inputs: Inputs, by_id: Options) -> Body: ...


GATEWAYS: Final = ("runapi", "crun", "evolink", "uniall")
"""Every gateway that takes jobs, listed only here. Each has a folder here, one in
`kling_ledger.providers`, and a price book."""
_FOLLOWS_FROM: Final[Mapping[str, str]] = {
    "frames": "image_url and last_image_url",
    "video_input": "video_url and source_task_id",
    "elements": "elements",
    "voice": "nothing that the provider documents",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A body that its provider would accept, the clip it asks for, and what had to be assumed.

    `body` is the caller's own. `written_out` holds the documented defaults of priced options that
    the body leaves out, and the documented spelling of those it writes differently. `unheard` holds
    the notes on fields that the provider does not document.
    """

    clip: Clip
    body: Body
    assumptions: tuple[str, ...]
    written_out: Body = field(default_factory=dict)
    unheard: tuple[str, ...] = ()

    @property
    def sent(self) -> Body:
        """The body to send, with its defaults written out: a changed default changes no price."""
        return {**self.body, **self.written_out}

    @property
    def payload_hash(self) -> str:
        """The SHA-256 of the caller's own body; key order does not matter."""
        return payload_hash(self.body)

    def quote(
        self, *, at: datetime, book: PriceBook | None = None, library: Library | None = None
    ) -> Quote:
        """Price the request at an instant; see kling_pricing.quote.quote."""
        return quote(self.clip, at=at, book=book, library=library)


def read_request(
    provider: str, body: object, *, action: str | None = None, strict: bool = False
) -> Request:
    """Read a request body as its provider documents it.

    `action` is needed only if the provider puts it into the URL and the body does not show it. An
    undocumented field is sent as it is and noted in `unheard`, because its cost is unknown; it is
    refused if it looks like a documented one, or with `strict`. Raises RequestError with every
    problem, NoPriceError for an unknown model.
    """
    dialect = _dialect(provider)
    refuse_too_deep(body)
    if not isinstance(body, dict):
        raise RequestError([Problem("$", body, "a JSON object")])
    unheard: tuple[str, ...] = ()
    try:
        found = dialect.read(body, action)
    except RequestError as error:
        known, unheard = without(body, error, strict=strict)
        found = dialect.read(known, action)
    return Request(
        found.clip,
        own_copy(body),
        (*unheard, *found.assumptions),
        dict(found.written_out),
        unheard,
    )


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
    """Write a clip and its inputs as the body that its provider documents.

    The result is what `read_request` returns for its `body` and `clip.action`: its clip has the
    provider's defaults for whatever was not given. `book` says which options the model's id fixes;
    by default it is the loaded book. `input_seconds` is kept although no body has it, because the
    video itself has that length. RequestError names everything that the provider's body cannot
    express.
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
    by_id = _decided_by_id(clip, book or at_hand().book(clip.provider))
    body = dialect.write_body(clip, inputs, by_id)
    # Read back like any caller's body: we accept what we write.
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
    """Return the options that a model's id fixes; RequestError if the clip says otherwise."""
    offers = book.offers.get((clip.model, clip.action), ())
    decided = {name: value for offer in offers for name, value in offer.fixed.items()}
    refuse_if_any(
        Problem(name, said, f"{option_in_words(name, value)}, as {clip.model} always makes it")
        for name, value in decided.items()
        if (said := getattr(clip, name)) not in {None, value}
    )
    return decided


def _unsaid(clip: Clip, written: Clip, by_id: Options) -> Iterator[Problem]:
    """Yield what the clip says but its written body does not."""
    for name, value in _said(clip).items():
        said = getattr(written, name)
        if said != value and name not in by_id and name != "input_seconds":
            why = _FOLLOWS_FROM.get(name, "the model")
            yield Problem(name, value, f"{option_in_words(name, said)}: it follows from {why}")
