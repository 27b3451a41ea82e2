"""EvoLink's contract: one address for everything; the model's name says what is to be made.

Text to video of Kling 3.0 is documented field by field on the source page and checked in full. For
the other models, only the fields are known that their price depends on or that say what to start
from: any other field is accepted, because they certainly have some.
Source: https://evolink.ai/zh/kling-3 and https://docs.evolink.ai/en/api-manual/video-series/kling/,
checked 2026-11-20. What they leave open is decided here: a field that the page of text to video
does not show is refused, so that a rehearsal reveals a typing error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kling_ledger.sandbox.addresses import is_public
from kling_ledger.sandbox.bodies import MEASURED_S, Asked, Body
from kling_ledger.sandbox.fields import (
    Check,
    Fields,
    anything,
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

_LONGEST_URL: Final = 2048


def _public(value: object) -> str | None:
    """Accept a public address for callbacks; a loopback one is handled before."""
    if is_public(value, "https") and len(str(value)) <= _LONGEST_URL:
        return None
    return f"an https address, not an internal one, of at most {_LONGEST_URL} characters"


_COMMON: Final[Fields] = {
    "model": text(),
    "prompt": text(longest=2500),
    "duration": whole(3, 15),
    "quality": one_of("720p", "1080p"),
    "sound": one_of("off", "on"),
    "callback_url": _public,
    "model_params": nested,
}
_TEXT: Final[Fields] = {
    **_COMMON,
    "aspect_ratio": one_of("16:9", "9:16", "1:1"),
    "negative_prompt": text(longest=2500),
}
_PARAMS: Final[Fields] = {
    "multi_shot": flag,
    "shot_type": one_of("customize", "intelligence"),
    "multi_prompt": listed(nested, most=6),
    "watermark_info": nested,
}
_SHOT: Final[Fields] = {
    "index": whole(0, 10**6),
    "prompt": text(),
    # A string, as on the page.
    "duration": one_of(*map(str, range(1, 16))),
}
_CLAMP_O1: Final = (3, 10)
"""The least and the most seconds that an edit of Kling O1 is billed for."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its action, its required fields, and the seconds that are billed."""

    action: str
    needs: tuple[str, ...] = ()
    seconds: Callable[[Body], int | None] = lambda said: said["duration"]


def _measured(_: Body) -> int:
    return MEASURED_S


def _clamped(_: Body) -> int:
    least, most = _CLAMP_O1
    return max(least, min(MEASURED_S, most))


def _once(_: Body) -> None:
    """Bill the request as a whole, whatever it asks for."""


_V3_TEXT: Final = "kling-v3-text-to-video"
_MODELS: Final[Mapping[str, Model]] = {
    # A prompt is required too, unless a storyboard has shots; see below.
    _V3_TEXT: Model("text_to_video"),
    # Its page asks for `image_start`; EvoLink's own client sends `image_urls`.
    "kling-v3-image-to-video": Model("image_to_video"),
    # Output seconds are rounded to whole ones, and follow the reference video.
    "kling-v3-motion-control": Model("motion_control", ("image_urls", "video_urls"), _measured),
    "kling-o3-text-to-video": Model("text_to_video", ("prompt",)),
    "kling-o3-image-to-video": Model("image_to_video"),
    "kling-o3-reference-to-video": Model("reference_to_video"),
    "kling-o3-video-edit": Model("edit_video", ("video_url",), _measured),
    "kling-o1-video-edit": Model("edit_video", ("video_urls",), _clamped),
    "kling-o1-video-edit-fast": Model("edit_video", ("video_urls",), _measured),
    "kling-o1-image-to-video": Model("image_to_video"),
    "kling-custom-element": Model("custom_element", ("model_params",), _once),
}
_USUAL: Final = {"duration": 5, "quality": "720p", "sound": "off"}


def read(body: Body, _: str) -> Asked:
    """Read a body; 422, which EvoLink writes as 400, for one that it does not accept."""
    name = body.get("model")
    if not isinstance(name, str):
        raise ApiError(422, f"model: got {ascii(name)[:60]}, allowed: the name of a model")
    if name not in _MODELS:
        raise ApiError(422, f"unknown model {ascii(name)[:60]}", code="model_not_available")
    model = _MODELS[name]
    fields = _TEXT if name == _V3_TEXT else _open_to_more(_COMMON, body)
    refuse(problems(body, fields, needs=frozenset(model.needs)))
    refuse([*_shot_problems(body)] if name == _V3_TEXT else [])
    if name == "kling-v3-image-to-video" and not (
        body.get("image_start") or body.get("image_urls")
    ):
        raise ApiError(422, "image_start: it is missing")
    said = {**_USUAL, **{key: value for key, value in body.items() if value is not None}}
    words = {key: said[key] for key in ("quality", "sound")}
    if model.action in {"edit_video", "reference_to_video"} and _has_video(said):
        # Sound is forced off if a video is given.
        words["sound"] = "off"
    return Asked(model.action, name, model.seconds(said), words)


def _has_video(said: Body) -> bool:
    return any(said.get(key) for key in ("video_url", "video_urls"))


def _open_to_more(fields: Fields, body: Body) -> Fields:
    more: dict[str, Check] = dict.fromkeys(body, anything)
    return {**more, **fields}


def _shot_problems(body: Body) -> Iterator[str]:
    params: dict[str, Any] = body.get("model_params") or {}
    where = "model_params."
    wrong = problems(params, _PARAMS, needs=frozenset(), where=where)
    shots = params.get("multi_prompt") or []
    if not wrong:
        for index, shot in enumerate(shots):
            place = f"{where}multi_prompt[{index}]."
            wrong += problems(shot, _SHOT, needs=frozenset({"prompt", "duration"}), where=place)
    if wrong:
        yield from wrong
        return
    is_multi = bool(params.get("multi_shot"))
    if is_multi and params.get("shot_type") is None:
        yield f"{where}shot_type: it is missing, and multi_shot needs it"
    is_own = is_multi and params.get("shot_type") == "customize"
    if is_own and not shots:
        yield f"{where}multi_prompt: it is missing, and shot_type customize needs it"
    if is_own and shots and _total_s(shots) != body.get("duration", _USUAL["duration"]):
        yield f"{where}multi_prompt: the durations of its shots do not add up to duration"
    if not is_own and not body.get("prompt"):
        yield "prompt: it is missing or empty"


def _total_s(shots: list[dict[str, Any]]) -> int:
    return sum(int(shot["duration"]) for shot in shots)
