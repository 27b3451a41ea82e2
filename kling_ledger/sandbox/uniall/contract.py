"""UniAll's contract: tier and sound are in the model's name, the advanced fields in `extra_body`.

Source: https://docs.uniall.ai/models/video/kling, checked 2026-11-20. What the page leaves open is
decided here: a duration is required, because the price depends on it and no default is documented;
a field that the page does not list is refused, so that a rehearsal reveals a typing error; but
`size` and `seconds`, which OpenAI-style clients send, are accepted and ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kling_ledger.sandbox.addresses import is_public
from kling_ledger.sandbox.bodies import Asked, Body
from kling_ledger.sandbox.fields import (
    Fields,
    anything,
    listed,
    nested,
    number,
    one_of,
    problems,
    refuse,
    text,
    whole,
)
from kling_ledger.sandbox.replies import ApiError

MODELS: Final = (
    "kling-v3-std-silent",
    "kling-v3-std-audio",
    "kling-v3-pro-silent",
    "kling-v3-pro-audio",
)


def _media(value: object) -> str | None:
    """Accept a picture that UniAll can fetch: its docs list private addresses as a mistake."""
    return None if is_public(value, "https", "http") else "a public http or https address"


_TOP: Final[Fields] = {
    "model": text(),
    "prompt": text(),
    "image": _media,
    "last_image": _media,
    "aspect_ratio": one_of("16:9", "9:16", "1:1"),
    "duration": whole(3, 15),
    "extra_body": nested,
    "size": text(),
    "seconds": anything,
}
_EXTRA: Final[Fields] = {
    "negative_prompt": text(),
    "cfg_scale": number(),
    "multi_prompt": listed(anything),
    "element_list": listed(anything),
    "shot_type": one_of("customize", "intelligent"),
}


def read(body: Body, _: str) -> Asked:
    """Read a body; 422 for one that the page does not allow."""
    model = body.get("model")
    if isinstance(model, str) and model not in MODELS:
        raise ApiError(422, f"unknown model {ascii(model)[:60]}", code="model_not_available")
    refuse(problems(body, _TOP, needs=frozenset({"model", "duration"})))
    extra = body.get("extra_body") or {}
    refuse(problems(extra, _EXTRA, needs=frozenset(), where="extra_body."))
    refuse([*_prompt_problems(body, extra)])
    action = "image_to_video" if body.get("image") else "text_to_video"
    return Asked(action, body["model"], body["duration"], {})


def _prompt_problems(body: Body, extra: Body) -> Iterator[str]:
    has_prompt, has_shots = bool(body.get("prompt")), bool(extra.get("multi_prompt"))
    if body.get("image") and has_prompt and has_shots:
        # The page lists it among the usual mistakes.
        yield "prompt: not together with extra_body.multi_prompt and an image"
    if not has_prompt and not has_shots:
        yield "prompt: it is missing"
    if body.get("last_image") and not body.get("image"):
        yield "last_image: it needs the first frame in image"
