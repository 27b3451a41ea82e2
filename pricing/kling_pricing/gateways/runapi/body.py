"""RunAPI's request bodies: `POST /api/v1/kling/{action}`.

Where RunAPI is silent: the shots of a multi-shot clip must add up to its duration, as Kling's own
model demands; `mode` std is read as 720p and pro as 1080p. Sound is something that you turn on, so
a body of kling-3.0 that does not name it is sent with none; of several shots RunAPI says both that
they always have sound and that it is optional, so they are priced with.

Source: https://runapi.ai/zh-CN/openclaw-kling.md, the published client `runapi-kling` 0.5.1 and
https://github.com/runapi-ai/kling-sdk js/src/types.ts at e7c5b53, checked 2026-11-26.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kling_pricing.book_values import Options
from kling_pricing.clip import Clip
from kling_pricing.errors import MISSING, NoPriceError, Problem
from kling_pricing.gateways.checks import (
    Body,
    Table,
    is_said,
    items,
    known_model,
    length_in,
    refuse_if_any,
    sum_problems,
)
from kling_pricing.gateways.defaults import Reading, documented, left_out, undocumented
from kling_pricing.gateways.runapi.contract import actions_of, known, left_open, table_of
from kling_pricing.gateways.writing import (
    Inputs,
    Place,
    Places,
    as_it_is,
    elements_as,
    listed,
    shots_as,
    write,
)

_RESOLUTION_OF_MODE: Final = {"std": "720p", "pro": "1080p"}
_MODE_OF_RESOLUTION: Final = {resolution: mode for mode, resolution in _RESOLUTION_OF_MODE.items()}

# Which of its actions a model is asked for, where it has several: any of these fields tells.
_TELLING: Final = {
    "motion_control": ("source_image_url", "reference_video_url"),
    "edit_video": ("source_video_url", "source_task_id"),
    "extend_video": ("source_task_id",),
    "image_to_video": ("first_frame_image_url",),
}

_PLACES: Final[Places] = {
    **as_it_is("prompt", "negative_prompt", "aspect_ratio", "cfg_scale"),
    **as_it_is("source_task_id", "callback_url"),
    "seconds": (Place("duration_seconds"),),
    "resolution": (Place("output_resolution"), Place("mode", words=_MODE_OF_RESOLUTION)),
    "sound": (Place("enable_sound"),),
    "multi_shot": (Place("multi_shots"),),
    "orientation": (Place("character_orientation"),),
    "image_url": (Place("first_frame_image_url"), Place("source_image_url")),
    "last_image_url": (Place("last_frame_image_url"),),
    "reference_image_urls": (Place("reference_image_urls", shape=listed),),
    "video_url": (Place("reference_video_url"), Place("source_video_url")),
    "audio_url": (Place("source_audio_url"),),
    "shots": (Place("multi_prompt", shape=shots_as("duration_seconds")),),
    "elements": (Place("kling_elements", shape=elements_as("element_input_urls")),),
}


def read(body: dict[str, Any], action: str | None) -> Reading:
    """Read a body for one of RunAPI's actions, the one that its fields tell unless it is named."""
    model = known_model(body, "kling-3.0")
    action = action or _action_of(model, body)
    table = _documented(action, model)
    defaults, dearest = _left_out(action, model, body)
    sent = {**body, **defaults}
    refuse_if_any([*table.problems("", body), *_between_fields(action, model, sent)])
    clip = _clip(action, model, {**sent, **dearest}, table)
    assumed = (*documented(defaults, "RunAPI"), *undocumented(dearest, "RunAPI"))
    return Reading(clip, assumed, defaults)


def write_body(clip: Clip, inputs: Inputs, by_id: Options) -> dict[str, Any]:
    """Write the body of a clip, to be posted to the address of its action."""
    return write(clip, inputs, _PLACES, _documented(clip.action, clip.model), by_id)


def _documented(action: str, model: str) -> Table:
    table = table_of(action, model)
    if table is None:
        raise NoPriceError(f"runapi {model} {action}", known=known())
    return table


def _left_out(action: str, model: str, body: Body) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the documented defaults that a body takes, and the dearest of what has none."""
    known = left_open(action, model)
    defaults, dearest = left_out(body, known.defaults), left_out(body, known.dearest)
    if body.get("multi_shots") is True and defaults.pop("enable_sound", None) is not None:
        dearest["enable_sound"] = True
    return defaults, dearest


def _action_of(model: str, body: Body) -> str:
    actions = actions_of(model)
    for action, fields in _TELLING.items():
        if action in actions and any(name in body for name in fields):
            return action
    return actions[0] if actions else "text_to_video"


def _clip(action: str, model: str, body: Body, table: Table) -> Clip:
    has_sound = bool(body.get("enable_sound")) if "enable_sound" in table.fields else None
    return Clip(
        provider="runapi",
        model=model,
        action=action,
        seconds=body.get("duration_seconds"),
        resolution=body.get("output_resolution") or _RESOLUTION_OF_MODE.get(body.get("mode", "")),
        sound=has_sound,
        multi_shot=body.get("multi_shots") is True,
        video_input=any(
            is_said(body.get(name))
            for name in ("reference_video_url", "source_video_url", "source_task_id")
        ),
        elements=bool(body.get("kling_elements")),
        frames=_frames(body),
        orientation=body.get("character_orientation"),
    )


def _frames(body: Body) -> str:
    if not is_said(body.get("first_frame_image_url")):
        return "none"
    return "first_last" if is_said(body.get("last_frame_image_url")) else "first"


# --- what one field says about another --------------------------------------------------------


def _between_fields(action: str, model: str, body: Body) -> Iterator[Problem]:
    if action == "edit_video":
        yield from _edit_problems(body)
    elif (model, action) == ("kling-3.0", "text_to_video"):
        yield from _multi_shot_problems(body)
    elif model == "kling-o1":
        yield from _o1_problems(body)
    elif model == "kling-v2.6" and body.get("mode") == "std" and body.get("enable_sound") is True:
        yield Problem("enable_sound", True, "false with mode std: sound needs mode pro")


def _missing(body: Body, name: str, allowed: str) -> Problem:
    return Problem(name, body.get(name, MISSING), allowed)


def _multi_shot_problems(body: Body) -> Iterator[Problem]:
    is_multi_shot = body.get("multi_shots") is True
    if not is_multi_shot and not is_said(body.get("prompt")):
        yield _missing(body, "prompt", "a text, required unless multi_shots is true")
    if is_multi_shot and is_said(body.get("last_frame_image_url")):
        last = body["last_frame_image_url"]
        yield Problem("last_frame_image_url", last, "nothing: a multi-shot clip has no last frame")
    if is_multi_shot:
        shots, seconds = items(body, "multi_prompt"), body.get("duration_seconds")
        yield from sum_problems(shots, seconds, "multi_prompt", length_in("duration_seconds"))
    for position, element in enumerate(items(body, "kling_elements")):
        yield from _element_problems(f"kling_elements[{position}]", element)


def _element_problems(path: str, element: object) -> Iterator[Problem]:
    if not isinstance(element, dict):
        return
    start, end = element.get("start_time"), element.get("end_time")
    if isinstance(start, int) and isinstance(end, int) and not 3000 <= end - start <= 8000:
        yield Problem(f"{path}.end_time", end, "3000 to 8000 milliseconds after start_time")


def _o1_problems(body: Body) -> Iterator[Problem]:
    images = items(body, "reference_image_urls")
    has_video = is_said(body.get("reference_video_url"))
    if has_video and len(images) > 4:
        yield Problem("reference_image_urls", images, "1 to 4 addresses beside a reference video")
    for name in ("reference_video_type", "preserve_reference_video_audio"):
        if body.get(name) is not None and not has_video:
            yield Problem(name, body[name], "nothing without reference_video_url")
    if is_said(body.get("last_frame_image_url")) and (images or has_video):
        last = body["last_frame_image_url"]
        yield Problem("last_frame_image_url", last, "nothing beside reference images or a video")
    if has_video and body.get("reference_video_type") != "feature":
        yield from _base_video_problems(body)


def _base_video_problems(body: Body) -> Iterator[Problem]:
    for name in ("first_frame_image_url", "last_frame_image_url"):
        if is_said(body.get(name)):
            yield Problem(name, body[name], "nothing beside a base video (feature takes frames)")


def _edit_problems(body: Body) -> Iterator[Problem]:
    has_video, has_task = is_said(body.get("source_video_url")), is_said(body.get("source_task_id"))
    if not has_video and not has_task:
        yield _missing(body, "source_video_url", "source_video_url or source_task_id")
    if has_video and has_task:
        yield Problem("source_task_id", body["source_task_id"], "nothing beside source_video_url")
    ratio, seconds = body.get("aspect_ratio"), body.get("duration_seconds")
    if items(body, "reference_image_urls"):
        if ratio == "auto":
            yield Problem("aspect_ratio", ratio, "16:9, 9:16, 1:1 beside reference images")
        return
    if ratio in ("16:9", "9:16", "1:1"):
        yield Problem("aspect_ratio", ratio, "auto without reference images")
    if seconds is not None and seconds != 5:
        yield Problem("duration_seconds", seconds, "5 without reference images")
