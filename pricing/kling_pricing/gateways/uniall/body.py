"""UniAll's request bodies: `POST /v1/video/generations` for the four Kling 3.0 models.

The model's id gives tier and sound: std is read as 720p, pro as 1080p. Where UniAll is silent:
`duration` has no documented default and is required, because the price depends on it; a prompt is
required unless `extra_body.multi_prompt` replaces it; shots are objects of any shape, because none
is documented; `cfg_scale` has Kling's own range, 0 to 1. OpenAI-style clients send `size` and
`seconds` too: they are accepted if they agree with the model's id and `duration`.

Source: https://docs.uniall.ai/models/video/kling, checked 2026-11-20.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from kling_pricing.book_values import Options
from kling_pricing.clip import Clip
from kling_pricing.errors import MISSING, NoPriceError, Problem
from kling_pricing.gateways.addresses import web_address
from kling_pricing.gateways.checks import (
    ANY_TEXT,
    RATIO,
    TEXT,
    Body,
    ListOf,
    Table,
    Value,
    is_said,
    is_whole,
    items,
    known_model,
    number,
    one_of,
    part,
    refuse_if_any,
    reread,
    whole,
)
from kling_pricing.gateways.defaults import Reading
from kling_pricing.gateways.spellings import as_number, respelled, spelling_notes
from kling_pricing.gateways.writing import (
    Inputs,
    Place,
    Places,
    action_problems,
    as_it_is,
    write,
)

_MODELS: Final = {
    "kling-v3-std-silent": ("720p", False),
    "kling-v3-std-audio": ("720p", True),
    "kling-v3-pro-silent": ("1080p", False),
    "kling-v3-pro-audio": ("1080p", True),
}
_SIZE: Final = re.compile(r"([0-9]{3,5})x([0-9]{3,5})")
_IMAGE: Final = web_address("https", "http")
_LENGTH: Final = whole(3, 15, " (no default is documented)")
_SECONDS: Final = Value(
    "whole seconds, 3 to 15, as a number or a text",
    lambda value: _LENGTH.allows(as_number(value)),
)
_OBJECT: Final = Value("an object", lambda value: isinstance(value, dict) and value != {})

_EXTRA: Final = Table(
    {
        "negative_prompt": ANY_TEXT,
        "cfg_scale": number(0, 1),
        "multi_prompt": ListOf(_OBJECT, "a list of shots, at least 1", 1),
        "element_list": ListOf(_OBJECT, "a list of elements"),
        "shot_type": one_of("customize", "intelligent"),
    }
)
_GENERATION: Final = Table(
    {
        "model": TEXT,
        "prompt": ANY_TEXT,
        "image": _IMAGE,
        "last_image": _IMAGE,
        "aspect_ratio": RATIO,
        "duration": _LENGTH,
        "extra_body": _EXTRA,
        "size": ANY_TEXT,
        "seconds": _SECONDS,
    },
    frozenset({"model", "duration"}),
)


# Shots and elements are left out: their fields are not documented. So are resolution and sound: the
# model's id gives them.
_PLACES: Final[Places] = {
    **as_it_is("prompt", "aspect_ratio"),
    **as_it_is("negative_prompt", "cfg_scale", inside="extra_body."),
    "seconds": (Place("duration"),),
    "image_url": (Place("image"),),
    "last_image_url": (Place("last_image"),),
}


def read(body: dict[str, Any], action: str | None) -> Reading:
    """Read the body of a generation; an image makes it an image_to_video clip."""
    model = known_model(body, "kling-v3-std-silent")
    if model not in _MODELS:
        raise NoPriceError(f"uniall {model}", known=list(_MODELS))
    written = respelled(body, _GENERATION, {"duration": as_number})
    notes = [*spelling_notes(body, written), *_style_notes(body)]
    if body.get("duration") is None and _SECONDS.allows(body.get("seconds")):
        # Only `duration` is documented, so that is what is sent.
        written["duration"] = as_number(body["seconds"])
    said = {**body, **written}
    problems = [*_GENERATION.problems("", said), *_between_fields(said), *_style_problems(said)]
    refuse_if_any(problems)
    return Reading(reread(_clip(model, said), action), tuple(notes), written)


def write_body(clip: Clip, inputs: Inputs, by_id: Options) -> dict[str, Any]:
    """Write the body of a generation; the model's id gives resolution and sound."""
    refuse_if_any(action_problems(clip, inputs))
    return write(clip, inputs, _PLACES, _GENERATION, by_id)


def _clip(model: str, body: Body) -> Clip:
    resolution, has_sound = _MODELS[model]
    extra = part(body, "extra_body")
    has_image = is_said(body.get("image"))
    has_last = is_said(body.get("last_image"))
    return Clip(
        provider="uniall",
        model=model,
        action="image_to_video" if has_image else "text_to_video",
        seconds=body["duration"],
        resolution=resolution,
        sound=has_sound,
        multi_shot=bool(items(extra, "multi_prompt")),
        elements=bool(items(extra, "element_list")),
        frames="first_last" if has_last else "first" if has_image else "none",
    )


def _between_fields(body: Body) -> Iterator[Problem]:
    has_image, has_prompt = is_said(body.get("image")), is_said(body.get("prompt"))
    shots = part(body, "extra_body").get("multi_prompt")
    if is_said(body.get("last_image")) and not has_image:
        got = body.get("image", MISSING)
        yield Problem("image", got, "the first frame, required beside last_image")
    if not has_prompt and shots is None:
        got = body.get("prompt", MISSING)
        yield Problem("prompt", got, "a text, required without extra_body.multi_prompt")
    if shots is not None and not has_image:
        yield Problem("extra_body.multi_prompt", shots, "nothing without an image")
    elif shots is not None and has_prompt:
        yield Problem("extra_body.multi_prompt", shots, "nothing beside prompt, where image is")


# --- the OpenAI style -------------------------------------------------------------------------


def _style_problems(body: Body) -> Iterator[Problem]:
    """Report `size` and `seconds` that contradict the fields that count."""
    seconds, size = as_number(body.get("seconds")), body.get("size")
    if is_whole(seconds) and is_whole(body.get("duration")) and seconds != body["duration"]:
        allowed = f"{body['duration']}, as duration says"
        yield Problem("seconds", body["seconds"], allowed)
    resolution, _ = _MODELS[body["model"]]
    if size is not None and _resolution_of(size) != resolution:
        allowed = f"a size of {resolution}, such as 1920x1080 is of 1080p: the model's id decides"
        yield Problem("size", size, allowed)


def _resolution_of(size: object) -> str | None:
    found = _SIZE.fullmatch(size) if isinstance(size, str) else None
    return f"{min(map(int, found.groups()))}p" if found else None


def _style_notes(body: Body) -> Iterator[str]:
    for name, counts in (("size", "the model's id"), ("seconds", "duration")):
        if body.get(name) is not None:
            yield f"{name} is not documented by UniAll: {counts} is taken to decide"
