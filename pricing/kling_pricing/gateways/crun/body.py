"""Crun's request bodies: `POST /api/v1/client/job/CreateTask` for `kling/v3` and motion control.

A multi-shot clip is always made with sound; the clip keeps what was requested and the price book
applies the rule, so that the quote explains it. Where Crun is silent: `mode` and `duration` have no
documented default and are required, because the price depends on them; a single shot without
`audio` is priced with sound, which costs more; it needs a prompt and takes no `multi_prompt`; the
aspect ratios are Kling's three; std is 720p and pro 1080p; the compliance switches are enabled or
disabled. The page mentions 4K but no mode for it; public clients send `4K`. For a single shot, Crun
sets `shot_type` to null whatever was sent.

Motion control is documented by an example with every field; it needs the image, the video and the
mode. The older v2-6 is assumed to have the same fields, because public clients send them.

Source: https://docs.crun.ai/zh/models/kling/v3-0, checked 2026-11-20, and
https://docs.crun.ai/models/kling/v3-motion-control, checked 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kling_pricing.book_values import Options
from kling_pricing.clip import Clip
from kling_pricing.errors import MISSING, NoPriceError, Problem
from kling_pricing.gateways.addresses import web_address
from kling_pricing.gateways.checks import (
    ANY_TEXT,
    FLAG,
    RATIO,
    TEXT,
    Body,
    ListOf,
    Table,
    addresses,
    is_said,
    items,
    known_model,
    length_in,
    needed,
    one_of,
    part,
    refuse_if_any,
    reread,
    sum_problems,
    whole,
)
from kling_pricing.gateways.defaults import Reading, left_out, undocumented
from kling_pricing.gateways.spellings import (
    Spellings,
    as_number,
    respelled,
    spelling_notes,
)
from kling_pricing.gateways.writing import (
    Inputs,
    Place,
    Places,
    action_problems,
    as_it_is,
    elements_as,
    listed,
    shots_as,
    write,
)

_MODEL: Final = "kling/v3"
_NO_DEFAULT: Final = " (no default is documented)"
_RESOLUTIONS: Final = {"std": "720p", "pro": "1080p", "4K": "4k"}
_MODES: Final = {resolution: mode for mode, resolution in _RESOLUTIONS.items()}
_MODE_WORDS: Final = {mode.lower(): mode for mode in _RESOLUTIONS}
_SPELLINGS: Final[Spellings] = {
    "duration": as_number,
    "mode": lambda said: _MODE_WORDS.get(said.lower(), said) if isinstance(said, str) else said,
}
_SWITCH: Final = one_of("enabled", "disabled")

_SHOT: Final = Table({"prompt": TEXT, "duration": whole(1, 15)}, frozenset({"prompt", "duration"}))
_ELEMENT: Final = Table(
    {"name": TEXT, "description": ANY_TEXT, "element_image_urls": addresses(1, 4)},
    frozenset({"name", "description", "element_image_urls"}),
)
_INPUT: Final = Table(
    {
        "mode": one_of("std", "pro", "4K", note=_NO_DEFAULT),
        "multi_shots": FLAG,
        "shot_type": one_of("customize", "intelligence"),
        "prompt": ANY_TEXT,
        "img_urls": addresses(1, 2),
        "multi_prompt": ListOf(_SHOT, "a list of 1 to 6 shots", 1, 6),
        "element_list": ListOf(_ELEMENT, "a list of at most 3 elements", 0, 3),
        "duration": whole(3, 15, _NO_DEFAULT),
        "aspect_ratio": RATIO,
        "audio": FLAG,
        "input_compliance": _SWITCH,
        "output_compliance": _SWITCH,
    },
    frozenset({"mode", "multi_shots", "duration"}),
)
_MOTION: Final = Table(
    {
        "img_urls": addresses(1, 1),
        "video_urls": addresses(1, 1),
        "character_orientation": one_of("image", "video"),
        "prompt": ANY_TEXT,
        "mode": one_of("std", "pro", note=_NO_DEFAULT),
        "keep_original_sound": FLAG,
        "input_compliance": _SWITCH,
        "output_compliance": _SWITCH,
    },
    frozenset({"img_urls", "video_urls", "mode"}),
)


def _task(asked: Table) -> Table:
    return Table(
        {"model": TEXT, "input": asked, "callback_url": web_address("https", "http")},
        frozenset({"model", "input"}),
    )


_MODELS: Final[Mapping[str, Table]] = {
    _MODEL: _INPUT,
    "kling/v3-motion-control": _MOTION,
    "kling/v2-6-motion-control": _MOTION,
}

_PLACES: Final[Places] = {
    **as_it_is("callback_url"),
    **as_it_is("prompt", "aspect_ratio", inside="input."),
    "seconds": (Place("input.duration"),),
    "resolution": (Place("input.mode", words=_MODES),),
    "sound": (Place("input.audio"),),
    "multi_shot": (Place("input.multi_shots"),),
    "orientation": (Place("input.character_orientation"),),
    "video_url": (Place("input.video_urls", shape=listed),),
    "image_url": (Place("input.img_urls", shape=listed, joins=True),),
    "last_image_url": (Place("input.img_urls", shape=listed, joins=True),),
    "shots": (Place("input.multi_prompt", shape=shots_as("duration")),),
    "elements": (Place("input.element_list", shape=elements_as("element_image_urls")),),
}


def read(body: dict[str, Any], action: str | None) -> Reading:
    """Read the body of a task; images make one of kling/v3 an image_to_video clip."""
    model = known_model(body, _MODEL)
    fields = _documented(model)
    given = part(body, "input")
    spelled = respelled(given, fields, _spellings_of(fields))
    asked = {**given, **spelled}
    said = {**body, "input": asked} if spelled else body
    problems = _between_fields(asked) if fields is _INPUT else ()
    refuse_if_any([*_task(fields).problems("", said), *problems])
    notes = [*spelling_notes(given, spelled, "input."), *_notes(asked)]
    written = {"input": asked} if spelled else {}
    if fields is _MOTION:
        return Reading(reread(_motion_clip(model, asked), action), tuple(notes), written)
    # With several shots there is always sound, and the price book says so.
    dearest = {} if asked["multi_shots"] else left_out(asked, {"audio": True})
    clip = reread(_clip({**asked, **dearest}), action)
    return Reading(clip, (*notes, *undocumented(dearest, "Crun")), written)


def write_body(clip: Clip, inputs: Inputs, by_id: Options) -> dict[str, Any]:
    """Write the body of a task; if the clip has no shots, Crun chooses them."""
    fields = _documented(clip.model)
    if fields is _MOTION:
        return write(clip, inputs, _PLACES, _task(fields), by_id)
    refuse_if_any(action_problems(clip, inputs))
    body = write(clip, inputs, _PLACES, _task(fields), by_id)
    asked = body.setdefault("input", {})
    asked["multi_shots"] = clip.multi_shot
    if clip.multi_shot:
        asked["shot_type"] = "intelligence" if inputs.shots is None else "customize"
    return body


def _documented(model: str) -> Table:
    if model not in _MODELS:
        raise NoPriceError(f"crun {model}", known=list(_MODELS))
    return _MODELS[model]


def _spellings_of(fields: Table) -> Spellings:
    return {name: read for name, read in _SPELLINGS.items() if name in fields.fields}


def _notes(asked: Body) -> Iterator[str]:
    if asked["mode"] == "4K":
        yield "input.mode 4K is not documented: Crun speaks of 4K and names no mode for it"
    if asked.get("multi_shots") is False and asked.get("shot_type") is not None:
        yield "input.shot_type has no effect: Crun sets it to null where multi_shots is false"


def _clip(asked: Body) -> Clip:
    images = len(items(asked, "img_urls"))
    return Clip(
        provider="crun",
        model=_MODEL,
        action="image_to_video" if images else "text_to_video",
        seconds=asked["duration"],
        resolution=_RESOLUTIONS[asked["mode"]],
        sound=asked.get("audio"),
        multi_shot=asked["multi_shots"],
        elements=bool(items(asked, "element_list")),
        frames=("none", "first", "first_last")[images],
    )


def _motion_clip(model: str, asked: Body) -> Clip:
    return Clip(
        provider="crun",
        model=model,
        action="motion_control",
        resolution=_RESOLUTIONS[asked["mode"]],
        video_input=True,
        orientation=asked.get("character_orientation"),
    )


def _between_fields(asked: Body) -> Iterator[Problem]:
    if asked.get("multi_shots") is True:
        yield from _multi_shot_problems(asked)
    elif asked.get("multi_shots") is False:
        yield from _single_shot_problems(asked)


def _single_shot_problems(asked: Body) -> Iterator[Problem]:
    yield from needed(asked, "prompt", "input.prompt", "a text, required for a single shot")
    shots = asked.get("multi_prompt")
    if shots is not None:
        yield Problem("input.multi_prompt", shots, "null unless multi_shots is true")


def _multi_shot_problems(asked: Body) -> Iterator[Problem]:
    images = asked.get("img_urls")
    if not isinstance(images, list) or len(images) != 1:
        got = asked.get("img_urls", MISSING)
        yield Problem("input.img_urls", got, "exactly 1 address where multi_shots is true")
    shot_type = asked.get("shot_type")
    if shot_type is None:
        got = asked.get("shot_type", MISSING)
        yield Problem("input.shot_type", got, "customize, intelligence where multi_shots is true")
    elif shot_type == "customize":
        yield from _customize_problems(asked)
    elif shot_type == "intelligence":
        yield from _intelligence_problems(asked)


def _customize_problems(asked: Body) -> Iterator[Problem]:
    path = "input.multi_prompt"
    if asked.get("multi_prompt") is None:
        got = asked.get("multi_prompt", MISSING)
        yield Problem(path, got, "1 to 6 shots where shot_type is customize")
    shots = items(asked, "multi_prompt")
    yield from sum_problems(shots, asked.get("duration"), path, length_in("duration"))


def _intelligence_problems(asked: Body) -> Iterator[Problem]:
    why = "a text, required where shot_type is intelligence"
    yield from needed(asked, "prompt", "input.prompt", why)
    shots = asked.get("multi_prompt")
    if is_said(shots):
        yield Problem("input.multi_prompt", shots, "nothing where shot_type is intelligence")
