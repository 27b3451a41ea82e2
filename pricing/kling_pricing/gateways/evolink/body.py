"""EvoLink's request bodies: `POST /v1/videos/generations`, one address for every model.

The defaults are documented (5 seconds, 720p, no sound), written into what is sent, and noted. The
pages of Kling O3 show the same values as examples only. They are used and written there too:
EvoLink reports no cost afterwards, so only a complete body has a certain price. With a reference
video, O3 makes no sound, so none is written.
Where EvoLink is silent: the shots' lengths, which "should match" the duration, must; without
`multi_shot`, `shot_type` and `multi_prompt` have no effect; motion control and video editing take
no length, because the input video decides it.

EvoLink's own client sends the first image as `image_urls` and sound as true, which its pages do not
show. A first frame in `image_urls` is accepted; sound given that way, or as `generate_audio`, is
sent as `on` or `off`. Other clients write motion control's `keep_original_sound` as `keep_sound`:
it does not affect the price.

Source: https://evolink.ai/zh/kling-3 and https://docs.evolink.ai/en/api-manual/video-series/kling/
(one page per model), checked 2026-11-20; https://github.com/EvoLinkAI/evolink-media-mcp
packages/core/src/tools/generate-video.ts at 1e3496e, checked 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from kling_pricing.book_values import Options
from kling_pricing.clip import Clip
from kling_pricing.errors import MISSING, NoPriceError, Problem, RequestError
from kling_pricing.gateways.checks import (
    Body,
    is_said,
    items,
    known_model,
    needed,
    part,
    refuse_if_any,
    reread,
    sum_problems,
)
from kling_pricing.gateways.defaults import Reading, documented, left_out
from kling_pricing.gateways.evolink.contract import MODELS, V3_IMAGE, Model, seconds_of
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
    Shot,
    as_it_is,
    listed,
    write,
)

_WHOSE: Final = {"kling-o3": "EvoLink's Kling 3.0"}
_ON_OFF: Final = {True: "on", False: "off"}
_SPELLINGS: Final[Spellings] = {
    "duration": as_number,
    "quality": as_lower,
    "sound": lambda said: _ON_OFF[said] if isinstance(said, bool) else as_lower(said),
}


def _written_shots(shots: Sequence[Shot]) -> list[dict[str, Any]]:
    return [
        {"index": index, "prompt": shot.prompt, "duration": str(shot.seconds)}
        for index, shot in enumerate(shots, start=1)
    ]


_PLACES: Final[Places] = {
    **as_it_is("prompt", "negative_prompt", "aspect_ratio", "callback_url"),
    "seconds": (Place("duration"),),
    "resolution": (Place("quality"),),
    "sound": (Place("sound", words={True: "on", False: "off"}),),
    "multi_shot": (Place("model_params.multi_shot"),),
    "orientation": (Place("model_params.character_orientation"),),
    "image_url": (Place("image_start"), Place("image_urls", shape=listed)),
    "last_image_url": (Place("image_end"),),
    "reference_image_urls": (Place("image_urls", shape=listed),),
    "video_url": (Place("video_url"), Place("video_urls", shape=listed)),
    "shots": (Place("model_params.multi_prompt", shape=_written_shots),),
}


def read(body: dict[str, Any], action: str | None) -> Reading:
    """Read the body of a generation; the model's id gives the action."""
    name = known_model(body, "kling-v3-text-to-video")
    model = _documented(name)
    spelled = respelled(body, model.table, _spellings_of(model))
    said = {**body, **spelled}
    audio = _sound_by_its_other_name(model, said)
    defaults = left_out({**said, **audio}, model.defaults)
    full = {**said, **audio, **defaults}
    refuse_if_any(
        [*model.table.problems("", said), *_between_fields(model, full), *_sound_problems(said)]
    )
    heard = {key: value for key, value in defaults.items() if _is_heard(model, key)}
    assumed = (
        *spelling_notes(body, spelled),
        *_notes(body, audio),
        *documented(defaults, _WHOSE.get(name[:8], "EvoLink")),
    )
    return Reading(reread(_clip(name, model, full), action), assumed, {**spelled, **audio, **heard})


def write_body(clip: Clip, inputs: Inputs, by_id: Options) -> dict[str, Any]:
    """Write the body of a generation; if the clip has no shots, EvoLink chooses them."""
    model = _documented(clip.model)
    if clip.action != model.action:
        raise RequestError([Problem("action", clip.action, model.action)])
    pictures = inputs.reference_image_urls
    if clip.model == V3_IMAGE and pictures is not None:
        # EvoLink takes it there as the first frame.
        allowed = f"nothing: {clip.model} documents no field for it"
        raise RequestError([Problem("reference_image_urls", pictures, allowed)])
    body = write(clip, inputs, _PLACES, model.table, by_id)
    if clip.multi_shot:
        shot_type = "intelligence" if inputs.shots is None else "customize"
        body["model_params"]["shot_type"] = shot_type
    return body


def _documented(name: str) -> Model:
    model = MODELS.get(name)
    if model is None:
        raise NoPriceError(f"evolink {name}", known=list(MODELS))
    return model


def _spellings_of(model: Model) -> Spellings:
    return {name: read for name, read in _SPELLINGS.items() if name in model.fields}


def _sound_by_its_other_name(model: Model, body: Body) -> dict[str, Any]:
    """Return the sound that `generate_audio` asks for if `sound` is not given."""
    audio = body.get("generate_audio")
    has_sound = "sound" in model.fields and _is_heard(model, "sound")
    is_needed = has_sound and body.get("sound") is None
    return {"sound": _ON_OFF[audio]} if is_needed and isinstance(audio, bool) else {}


def _notes(body: Body, audio: Body) -> Iterator[str]:
    for sound in audio.values():
        yield f"generate_audio is not documented by EvoLink: sound is sent as {sound}"
    if body["model"] == V3_IMAGE and body.get("image_urls") is not None:
        yield (
            "image_urls is taken as the first frame, as EvoLink's own client sends it:"
            " its page asks for image_start"
        )
    if part(body, "model_params").get("keep_sound") is not None:
        yield "model_params.keep_sound is not documented by EvoLink: no price hangs on it"


def _is_heard(model: Model, option: str) -> bool:
    """Whether an option has an effect: sound has none with a reference video."""
    return option != "sound" or model.action != "reference_to_video"


def _clip(name: str, model: Model, body: Body) -> Clip:
    params = part(body, "model_params")
    options = {option: body[option] for option in model.defaults}
    return Clip(
        provider="evolink",
        model=name,
        action=model.action,
        seconds=options.get("duration"),
        resolution=options.get("quality"),
        sound=options["sound"] == "on" if "sound" in options else None,
        multi_shot=params.get("multi_shot") is True,
        video_input=any(is_said(body.get(field)) for field in ("video_url", "video_urls")),
        elements=bool(items(params, "element_list")),
        frames=_frames(name, body),
        orientation=params.get("character_orientation"),
    )


def _frames(name: str, body: Body) -> str:
    if not is_said(body.get("image_start")):
        # For O3 these are reference pictures.
        return "first" if name == V3_IMAGE and items(body, "image_urls") else "none"
    return "first_last" if is_said(body.get("image_end")) else "first"


# --- what one field says about another --------------------------------------------------------


def _between_fields(model: Model, body: Body) -> Iterator[Problem]:
    params = part(body, "model_params")
    if model.action in {"text_to_video", "image_to_video", "reference_to_video", "edit_video"}:
        yield from _prompt_problems(body, params)
    if "model_params" in model.fields and params.get("multi_shot") is True:
        yield from _multi_shot_problems(body.get("duration"), params)
        yield from _index_problems(params)
    if "image_end" in model.fields:
        yield from _frame_problems(body)
    if "video_url" in model.fields:
        yield from _reference_problems(body, params)


def _prompt_problems(body: Body, params: Body) -> Iterator[Problem]:
    is_multi_shot = params.get("multi_shot") is True
    if not (is_multi_shot and params.get("shot_type") == "customize"):
        why = "a text, required unless multi_shot is true and shot_type is customize"
        yield from needed(body, "prompt", "prompt", why)


def _multi_shot_problems(seconds: object, params: Body) -> Iterator[Problem]:
    shot_type = params.get("shot_type")
    if shot_type is None:
        got = params.get("shot_type", MISSING)
        allowed = "customize, intelligence where multi_shot is true"
        yield Problem("model_params.shot_type", got, allowed)
    if shot_type != "customize":
        return
    path = "model_params.multi_prompt"
    if params.get("multi_prompt") is None:
        got = params.get("multi_prompt", MISSING)
        yield Problem(path, got, "1 to 6 shots where shot_type is customize")
    yield from sum_problems(items(params, "multi_prompt"), seconds, path, _shot_seconds)


def _index_problems(params: Body) -> Iterator[Problem]:
    """Report shots with the index of an earlier one: which of them would be made is unknown."""
    seen: set[int] = set()
    for position, shot in enumerate(items(params, "multi_prompt")):
        index = shot.get("index") if isinstance(shot, dict) else None
        if not isinstance(index, int) or isinstance(index, bool):
            continue
        if index in seen:
            path = f"model_params.multi_prompt[{position}].index"
            yield Problem(path, index, "each index once")
        seen.add(index)


def _shot_seconds(shot: object) -> int | None:
    return seconds_of(shot.get("duration")) if isinstance(shot, dict) else None


def _sound_problems(body: Body) -> Iterator[Problem]:
    audio, sound = body.get("generate_audio"), body.get("sound")
    if isinstance(audio, bool) and sound in _ON_OFF.values() and sound != _ON_OFF[audio]:
        allowed = f"{str(not audio).lower()}, as sound {sound} says"
        yield Problem("generate_audio", audio, allowed)


def _frame_problems(body: Body) -> Iterator[Problem]:
    start, end = is_said(body.get("image_start")), is_said(body.get("image_end"))
    images = items(body, "image_urls")
    if end and not start:
        got = body.get("image_start", MISSING)
        yield Problem("image_start", got, "the first frame, required beside image_end")
    if end and images and len(images) + start + end > 2:
        allowed = "nothing where there are more than 2 images in all"
        yield Problem("image_end", body["image_end"], allowed)
    if body["model"] == V3_IMAGE and start and images:
        yield Problem("image_urls", images, "nothing beside image_start")
    if not start and not end and not images:
        got = body.get("image_start", MISSING)
        yield Problem("image_start", got, "an image: image_start or image_urls")


def _reference_problems(body: Body, params: Body) -> Iterator[Problem]:
    images, elements = items(body, "image_urls"), items(params, "element_list")
    if elements and len(images) + len(elements) > 4:
        got = f"{len(images)} images and {len(elements)} elements"
        yield Problem("image_urls", got, "at most 4 images and elements beside a video")
