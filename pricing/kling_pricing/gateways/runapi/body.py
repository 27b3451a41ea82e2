"""RunAPI's request bodies: `POST /api/v1/kling/{action}`.

Where RunAPI is silent: the shots of a multi-shot clip must add up to its duration, as Kling's own
model requires; `mode` std is read as 720p and pro as 1080p. Sound is opt-in, so a kling-3.0 body
that does not mention it is sent without. RunAPI says of several shots both that they always have
sound and that it is optional, so they are priced with sound unless the body turns it off. The first
frame is for a single shot. RunAPI's home page writes the length as
`"duration": "5"`, which no contract lists: `duration_seconds` is sent beside it.

RunAPI's pages send a first frame to image_to_video; its contract has no kling-3.0 there and takes
the frame in text_to_video.

Source: https://runapi.ai and https://runapi.ai/zh-CN/openclaw-kling.md, the published client
`runapi-kling` 0.5.1, and https://github.com/runapi-ai/kling-sdk js/src/types.ts at e7c5b53, checked
2026-11-27.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from kling_pricing.book_values import Options
from kling_pricing.clip import Clip
from kling_pricing.errors import MISSING, NoPriceError, Problem
from kling_pricing.gateways.checks import (
    Body,
    Table,
    is_said,
    is_whole,
    items,
    known_model,
    length_in,
    refuse_if_any,
    sum_problems,
)
from kling_pricing.gateways.defaults import Reading, documented, left_out, undocumented
from kling_pricing.gateways.runapi.contract import (
    actions_of,
    frame_hint,
    known,
    left_open,
    table_of,
)
from kling_pricing.gateways.spellings import (
    Spellings,
    as_lower,
    as_number,
    respelled,
    spelling_notes,
)
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

# The fields that show which action is meant, for a model with several: any one is enough.
_TELLING: Final = {
    "motion_control": ("source_image_url", "reference_video_url"),
    "edit_video": ("source_video_url", "source_task_id"),
    "extend_video": ("source_task_id",),
    "image_to_video": ("first_frame_image_url",),
}

_SPELLINGS: Final[Spellings] = {
    "duration_seconds": as_number,
    "output_resolution": as_lower,
    "mode": as_lower,
}
_FRAME: Final = "first_frame_image_url"

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
    """Read a body for one of RunAPI's actions: by default, the one that its fields show."""
    model = known_model(body, "kling-3.0")
    named, action = action, action or _action_of(model, body)
    table = _documented(action, model)
    spelled = respelled(body, table, _spellings_of(table))
    length = _length_by_its_other_name(body, table)
    said = {**_without_other_name(body, table), **spelled, **length}
    defaults, dearest = _left_out(action, model, said)
    sent = {**said, **defaults}
    refuse_if_any(
        [
            *table.problems("", said),
            *_other_name_problems(body, table),
            *_between_fields(action, model, sent),
        ]
    )
    clip = _clip(action, model, {**sent, **dearest}, table)
    notes = (*spelling_notes(body, spelled), *_notes(body, length, clip, named))
    assumed = (*notes, *documented(defaults, "RunAPI"), *undocumented(dearest, "RunAPI"))
    return Reading(clip, assumed, {**spelled, **length, **defaults})


def write_body(clip: Clip, inputs: Inputs, by_id: Options) -> dict[str, Any]:
    """Write the body of a clip, to be posted to the URL of its action."""
    return write(clip, inputs, _PLACES, _documented(clip.action, clip.model), by_id)


def _documented(action: str, model: str) -> Table:
    table = table_of(action, model)
    if table is None:
        hint = frame_hint(model) if action == "image_to_video" else None
        raise NoPriceError(f"runapi {model} {action}", known=known(), hint=hint)
    return table


def _spellings_of(table: Table) -> Spellings:
    return {name: read for name, read in _SPELLINGS.items() if name in table.fields}


# --- the length as the home page writes it ----------------------------------------------------


def _has_other_name(body: Body, table: Table) -> bool:
    return "duration_seconds" in table.fields and body.get("duration") is not None


def _without_other_name(body: Body, table: Table) -> Body:
    if not _has_other_name(body, table):
        return body
    return {name: value for name, value in body.items() if name != "duration"}


def _length_by_its_other_name(body: Body, table: Table) -> dict[str, Any]:
    """Return the length that `duration` gives if `duration_seconds` is not given."""
    if not _has_other_name(body, table) or body.get("duration_seconds") is not None:
        return {}
    seconds = as_number(body["duration"])
    wrong = [*table.fields["duration_seconds"].problems("duration", seconds)]
    return {} if wrong else {"duration_seconds": seconds}


def _other_name_problems(body: Body, table: Table) -> Iterator[Problem]:
    if not _has_other_name(body, table):
        return
    said, seconds = body["duration"], as_number(body.get("duration_seconds"))
    if [*table.fields["duration_seconds"].problems("duration", as_number(said))]:
        yield Problem("duration", said, table.fields["duration_seconds"].allowed)
    elif is_whole(seconds) and as_number(said) != seconds:
        yield Problem("duration", said, f"{seconds}, as duration_seconds says")


def _notes(body: Body, length: Body, clip: Clip, named: str | None) -> Iterator[str]:
    """Note what was read differently from RunAPI's contract."""
    for seconds in length.values():
        yield f"duration {json.dumps(body['duration'])} is sent as duration_seconds {seconds} too"
    if clip.action == "text_to_video" and clip.frames != "none" and named is None:
        yield f"read as text_to_video: {frame_hint(clip.model)}"
    if clip.multi_shot and body.get("enable_sound") is False:
        yield "RunAPI says both that several shots always have sound and that it is optional"


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
        if action in actions and any(is_said(body.get(name)) for name in fields):
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
    if is_multi_shot and is_said(body.get(_FRAME)):
        yield Problem(_FRAME, body[_FRAME], "nothing: the first frame is for a single shot")
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
