"""Crun's contract for kling/v3, whose body it documents in full, and for motion control.

Source: https://docs.crun.ai/zh/models/kling/v3-0, checked 2026-11-20, and
https://docs.crun.ai/models/kling/v3-motion-control, checked 2026-11-27. What the pages leave open
is decided here: `mode` and `duration` are required, because the price depends on them and no
default is documented; a field that the page does not show is refused, so that a rehearsal reveals a
typing error; any aspect ratio is accepted. The page mentions 4K but shows no mode for it: `4K` is
accepted, as clients send it. A motion has the length of its video, which is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kling_ledger.sandbox.bodies import MEASURED_S, Asked, Body
from kling_ledger.sandbox.fields import (
    Fields,
    flag,
    listed,
    nested,
    one_of,
    problems,
    refuse,
    text,
    whole,
)
from kling_ledger.sandbox.replies import ApiError

_MODEL: Final = "kling/v3"
_MOTIONS: Final = ("kling/v3-motion-control", "kling/v2-6-motion-control")
_TOP: Final[Fields] = {"model": text(), "callback_url": text(), "input": nested}
_INPUT: Final[Fields] = {
    "mode": one_of("std", "pro", "4K"),
    "multi_shots": flag,
    "shot_type": text(),
    "prompt": text(),
    "img_urls": listed(text(shortest=1), most=2),
    "multi_prompt": listed(nested, most=6),
    "element_list": listed(nested, most=3),
    "duration": whole(3, 15),
    "aspect_ratio": text(),
    "audio": flag,
    "input_compliance": text(),
    "output_compliance": text(),
}
_MOTION: Final[Fields] = {
    "img_urls": listed(text(shortest=1), least=1, most=1),
    "video_urls": listed(text(shortest=1), least=1, most=1),
    "character_orientation": one_of("image", "video"),
    "prompt": text(),
    "mode": one_of("std", "pro"),
    "keep_original_sound": flag,
    "input_compliance": text(),
    "output_compliance": text(),
}
_SHOT: Final[Fields] = {"prompt": text(), "duration": whole(1, 15)}
_ELEMENT: Final[Fields] = {
    "name": text(),
    "description": text(),
    "element_image_urls": listed(text(shortest=1), least=1, most=4),
}


def read(body: Body, _: str) -> Asked:
    """Read a body; 422 for one that the page does not allow."""
    if isinstance(body.get("model"), str) and body["model"] not in {_MODEL, *_MOTIONS}:
        model = ascii(body["model"])[:60]
        raise ApiError(422, f"unknown model {model}", code="model_not_available")
    refuse(problems(body, _TOP, needs=frozenset({"model", "input"})))
    return _read_motion(body) if body["model"] in _MOTIONS else _read_clip(body)


def _read_motion(body: Body) -> Asked:
    needs = frozenset({"img_urls", "video_urls", "mode"})
    refuse(problems(body["input"], _MOTION, needs=needs, where="input."))
    words = {"mode": body["input"]["mode"]}
    return Asked("motion_control", body["model"], MEASURED_S, words)


def _read_clip(body: Body) -> Asked:
    given = {name: value for name, value in body["input"].items() if value is not None}
    needs = frozenset({"mode", "multi_shots", "duration"})
    refuse(problems(given, _INPUT, needs=needs, where="input."))
    refuse([*_inner_problems(given)])
    refuse([*_shot_problems(given)])
    # In one shot the images are the first and the last frame; a storyboard starts from its only
    # one.
    action = "image_to_video" if given.get("img_urls") else "text_to_video"
    has_sound = given["multi_shots"] or given.get("audio", False)
    words = {"mode": given["mode"], "audio": str(has_sound).lower()}
    return Asked(action, _MODEL, given["duration"], words)


def _inner_problems(given: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong inside the lists, once they are known to contain objects."""
    for place, fields, needs in (
        ("multi_prompt", _SHOT, frozenset({"prompt", "duration"})),
        ("element_list", _ELEMENT, frozenset({"name", "element_image_urls"})),
    ):
        for index, inner in enumerate(given.get(place, [])):
            yield from problems(inner, fields, needs=needs, where=f"input.{place}[{index}].")


def _shot_problems(given: dict[str, Any]) -> Iterator[str]:
    if not given["multi_shots"]:
        # Crun itself then sets `shot_type` to null, whatever was sent.
        if not given.get("prompt"):
            yield "input.prompt: it is missing"
        return
    if len(given.get("img_urls", [])) != 1:
        yield "input.img_urls: exactly 1 image with multi_shots"
    kind, shots = given.get("shot_type"), given.get("multi_prompt", [])
    if kind == "customize":
        if not shots:
            yield "input.multi_prompt: it is missing, and shot_type customize needs it"
        elif sum(shot["duration"] for shot in shots) != given["duration"]:
            yield "input.multi_prompt: the durations of its shots do not add up to duration"
    elif kind == "intelligence":
        if not given.get("prompt"):
            yield "input.prompt: it is missing, and shot_type intelligence needs it"
        if shots:
            yield "input.multi_prompt: not with shot_type intelligence"
    else:
        yield f"input.shot_type: got {ascii(kind)[:60]}, allowed: customize, intelligence"
