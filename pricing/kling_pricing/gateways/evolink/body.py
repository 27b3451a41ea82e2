"""EvoLink's request bodies: `POST /v1/videos/generations`, one address for every model.

The defaults are documented (5 seconds, 720p, no sound), written into what is sent, and said. The
pages of Kling O3 show the same values as examples only; they are taken and written there too,
because EvoLink names no cost afterwards: only a body that says everything has a certain price.
Beside a video that O3 refers to there is no sound anyway, and none is written.
Where EvoLink is silent: the shots' lengths, which "should match" the duration, must; without
`multi_shot`, `shot_type` and `multi_prompt` have no effect; motion control and video editing have
no length of their own, because the video that is given decides.

Source: https://evolink.ai/zh/kling-3 and https://docs.evolink.ai/en/api-manual/video-series/kling/
(one page per model), checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kling_pricing.book_values import Options
from kling_pricing.clip import Clip
from kling_pricing.errors import MISSING, NoPriceError, Problem, RequestError
from kling_pricing.gateways.addresses import web_address
from kling_pricing.gateways.checks import (
    ADDRESS,
    FLAG,
    RATIO,
    TEXT,
    Body,
    Check,
    ListOf,
    Table,
    Value,
    addresses,
    is_said,
    is_whole,
    items,
    known_model,
    needed,
    one_of,
    part,
    refuse_if_any,
    reread,
    sum_problems,
    text,
    whole,
)
from kling_pricing.gateways.defaults import Reading, documented, left_out
from kling_pricing.gateways.writing import (
    Inputs,
    Place,
    Places,
    Shot,
    as_it_is,
    listed,
    write,
)

_DEFAULTS: Final[Mapping[str, object]] = {"duration": 5, "quality": "720p", "sound": "off"}
_WHOSE: Final = {"kling-o3": "EvoLink's Kling 3.0"}

_SHOT_SECONDS: Final = Value(
    'a text of whole seconds, at least "1"',
    lambda value: isinstance(value, str) and _seconds(value) is not None,
)
_SHOT: Final = Table(
    {
        "index": Value("a whole number from 1", lambda value: is_whole(value) and value >= 1),
        "prompt": TEXT,
        "duration": _SHOT_SECONDS,
    },
    frozenset({"index", "prompt", "duration"}),
)
_SHOTS: Final[dict[str, Check]] = {
    "multi_shot": FLAG,
    "shot_type": one_of("customize", "intelligence"),
    "multi_prompt": ListOf(_SHOT, "a list of 1 to 6 shots", 1, 6),
    "watermark_info": Table({"enabled": FLAG}),
}
_ELEMENTS: Final[dict[str, Check]] = {
    "element_list": ListOf(Value("an object", lambda value: isinstance(value, dict)), "a list")
}
_COMMON: Final[dict[str, Check]] = {
    "model": TEXT,
    "callback_url": web_address("https", most=2048),
}
_PROMPTED: Final[dict[str, Check]] = {**_COMMON, "prompt": text(2500)}
_QUALITY: Final[dict[str, Check]] = {"quality": one_of("720p", "1080p")}
_MADE: Final[dict[str, Check]] = {
    **_PROMPTED,
    **_QUALITY,
    "duration": whole(3, 15),
    "sound": one_of("on", "off"),
    "aspect_ratio": RATIO,
}
_MADE_V3: Final[dict[str, Check]] = {**_MADE, "negative_prompt": text(2500)}
_WITH_ELEMENTS: Final[dict[str, Check]] = {"model_params": Table({**_SHOTS, **_ELEMENTS})}
_FRAMES: Final[dict[str, Check]] = {"image_start": ADDRESS, "image_end": ADDRESS}
_VIDEO: Final[dict[str, Check]] = {"video_url": ADDRESS, "keep_original_sound": FLAG}
_MOTION: Final = Table(
    {"character_orientation": one_of("image", "video", note=" (no default is documented)")},
    frozenset({"character_orientation"}),
)


@dataclass(frozen=True, slots=True)
class _Model:
    action: str
    fields: dict[str, Check]
    required: tuple[str, ...] = field(default=())

    @property
    def table(self) -> Table:
        return Table(self.fields, frozenset({"model", *self.required}))

    @property
    def defaults(self) -> Mapping[str, object]:
        return {name: value for name, value in _DEFAULTS.items() if name in self.fields}


_MODELS: Final[Mapping[str, _Model]] = {
    "kling-v3-text-to-video": _Model("text_to_video", {**_MADE_V3, "model_params": Table(_SHOTS)}),
    "kling-v3-image-to-video": _Model(
        "image_to_video",
        {**_MADE_V3, **_WITH_ELEMENTS, **_FRAMES, "quality": one_of("720p", "1080p", "4k")},
        ("image_start",),
    ),
    "kling-v3-motion-control": _Model(
        "motion_control",
        {
            **_PROMPTED,
            **_QUALITY,
            "image_urls": addresses(1, 1),
            "video_urls": addresses(1, 1),
            "keep_original_sound": FLAG,
            "model_params": _MOTION,
        },
        ("image_urls", "video_urls", "model_params"),
    ),
    "kling-o3-text-to-video": _Model("text_to_video", {**_MADE, **_WITH_ELEMENTS}),
    "kling-o3-image-to-video": _Model(
        "image_to_video",
        {**_MADE, **_WITH_ELEMENTS, **_FRAMES, "image_urls": addresses(1, 7)},
    ),
    "kling-o3-reference-to-video": _Model(
        "reference_to_video",
        {
            **_MADE,
            **_WITH_ELEMENTS,
            **_VIDEO,
            "duration": whole(3, 10),
            "image_urls": addresses(1, 4),
        },
        ("video_url",),
    ),
    "kling-o3-video-edit": _Model(
        "edit_video",
        {**_PROMPTED, **_QUALITY, **_WITH_ELEMENTS, **_VIDEO, "image_urls": addresses(1, 4)},
        ("video_url",),
    ),
    "kling-custom-element": _Model(
        "custom_element",
        {
            **_COMMON,
            "model_params": Value(
                "an object", lambda value: isinstance(value, dict) and value != {}
            ),
        },
        ("model_params",),
    ),
    **{
        model: _Model(
            "edit_video",
            {
                **_PROMPTED,
                "video_urls": addresses(1, 1),
                "image_urls": ListOf(ADDRESS, "a list of addresses", 1),
            },
            ("prompt", "video_urls"),
        )
        for model in ("kling-o1-video-edit", "kling-o1-video-edit-fast")
    },
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
    """Read the body of a generation; the model's id says the action."""
    name = known_model(body, "kling-v3-text-to-video")
    model = _documented(name)
    defaults = left_out(body, model.defaults)
    full = {**body, **defaults}
    refuse_if_any([*model.table.problems("", body), *_between_fields(model, full)])
    written = {key: value for key, value in defaults.items() if _is_heard(model, key)}
    assumed = tuple(documented(defaults, _WHOSE.get(name[:8], "EvoLink")))
    return Reading(reread(_clip(name, model, full), action), assumed, written)


def write_body(clip: Clip, inputs: Inputs, by_id: Options) -> dict[str, Any]:
    """Write the body of a generation; without shots of its own, EvoLink chooses them."""
    model = _documented(clip.model)
    if clip.action != model.action:
        raise RequestError([Problem("action", clip.action, model.action)])
    body = write(clip, inputs, _PLACES, model.table, by_id)
    if clip.multi_shot:
        shot_type = "intelligence" if inputs.shots is None else "customize"
        body["model_params"]["shot_type"] = shot_type
    return body


def _documented(name: str) -> _Model:
    model = _MODELS.get(name)
    if model is None:
        raise NoPriceError(f"evolink {name}", known=list(_MODELS))
    return model


def _is_heard(model: _Model, option: str) -> bool:
    """Whether an option makes a difference: sound makes none beside a video to refer to."""
    return option != "sound" or model.action != "reference_to_video"


def _clip(name: str, model: _Model, body: Body) -> Clip:
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
        frames=_frames(body),
        orientation=params.get("character_orientation"),
    )


def _frames(body: Body) -> str:
    if not is_said(body.get("image_start")):
        return "none"
    return "first_last" if is_said(body.get("image_end")) else "first"


# --- what one field says about another --------------------------------------------------------


def _between_fields(model: _Model, body: Body) -> Iterator[Problem]:
    params = part(body, "model_params")
    if model.action in {"text_to_video", "image_to_video", "reference_to_video", "edit_video"}:
        yield from _prompt_problems(body, params)
    if "model_params" in model.fields and params.get("multi_shot") is True:
        yield from _multi_shot_problems(body.get("duration"), params)
    if "image_end" in model.fields:
        yield from _frame_problems(model, body)
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


def _shot_seconds(shot: object) -> int | None:
    return _seconds(shot.get("duration")) if isinstance(shot, dict) else None


def _seconds(said: object) -> int | None:
    """Return the seconds that a text such as "5" says; None for any other text or value."""
    if not isinstance(said, str) or not (said.isascii() and said.isdigit()) or len(said) > 3:
        return None
    return int(said) or None


def _frame_problems(model: _Model, body: Body) -> Iterator[Problem]:
    start, end = is_said(body.get("image_start")), is_said(body.get("image_end"))
    images = items(body, "image_urls")
    if end and not start:
        got = body.get("image_start", MISSING)
        yield Problem("image_start", got, "the first frame, required beside image_end")
    if end and images and len(images) + start + end > 2:
        allowed = "nothing where there are more than 2 images in all"
        yield Problem("image_end", body["image_end"], allowed)
    if not start and not end and "image_start" not in model.required and not images:
        got = body.get("image_start", MISSING)
        yield Problem("image_start", got, "an image: image_start or image_urls")


def _reference_problems(body: Body, params: Body) -> Iterator[Problem]:
    images, elements = items(body, "image_urls"), items(params, "element_list")
    if elements and len(images) + len(elements) > 4:
        got = f"{len(images)} images and {len(elements)} elements"
        yield Problem("image_urls", got, "at most 4 images and elements beside a video")
