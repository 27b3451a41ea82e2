"""RunAPI's documented fields, per action and model: which are taken or required, and their values.

RunAPI's contract allows leaving out the options that a price depends on. Most models document the
default they then use; kling-3.0, the 2.1 models and 2.5 turbo do not.

Source: https://github.com/runapi-ai/kling-sdk (python/src/runapi/kling/contract_gen.py at 2ed7c1a,
js/src/types.ts at e7c5b53) and https://runapi.ai/zh-CN/openclaw-kling.md, checked 2026-11-20;
defaults: https://github.com/runapi-ai/mcp (data/contract.json at 9e99875), checked 2026-11-26.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kling_pricing.gateways.checks import (
    ADDRESS,
    ANY_TEXT,
    FLAG,
    RATIO,
    TEXT,
    WHOLE,
    Check,
    ListOf,
    Table,
    Value,
    addresses,
    number,
    one_of,
    text,
    whole,
)
from kling_pricing.gateways.defaults import Options

Fields = dict[str, Check]

_THREE_TO_FIFTEEN: Final[Fields] = {"duration_seconds": whole(3, 15)}
_FIVE_OR_TEN: Final[Fields] = {"duration_seconds": one_of(5, 10)}
_FIVE: Final[Fields] = {"duration_seconds": one_of(5)}
_TO_1080P: Final[Fields] = {"output_resolution": one_of("720p", "1080p")}
_TO_4K: Final[Fields] = {"output_resolution": one_of("720p", "1080p", "4k")}
_MODE: Final[Fields] = {"mode": one_of("std", "pro")}
_SOUND: Final[Fields] = {"enable_sound": FLAG}
_RATIO: Final[Fields] = {"aspect_ratio": RATIO}
_GUIDANCE: Final[Fields] = {"negative_prompt": ANY_TEXT, "cfg_scale": number(0, 1)}
_FRAME: Final[Fields] = {"first_frame_image_url": ADDRESS}
_FRAMES: Final[Fields] = {**_FRAME, "last_frame_image_url": ADDRESS}
_PROMPT: Final[Fields] = {"prompt": TEXT}
_SHORT_PROMPT: Final[Fields] = {"prompt": text(2500, empty=False)}
_REFERENCES: Final[Fields] = {
    "reference_image_urls": addresses(1, 7),
    "reference_video_url": ADDRESS,
    "reference_video_type": one_of("base", "feature"),
    "preserve_reference_video_audio": FLAG,
}
_SILENT: Final[Fields] = {"enable_sound": one_of(False)}

_SHOT: Final = Table(
    {
        "prompt": TEXT,
        "duration_seconds": Value(
            "whole seconds, at least 1", lambda value: WHOLE.allows(value) and value >= 1
        ),
    },
    frozenset({"prompt", "duration_seconds"}),
)
_ELEMENT: Final = Table(
    {
        "name": TEXT,
        "description": ANY_TEXT,
        "element_input_urls": ListOf(ADDRESS, "a list of addresses"),
        "element_input_video_urls": ListOf(ADDRESS, "a list of addresses"),
        "element_input_audio_urls": ListOf(ADDRESS, "a list of addresses"),
        "start_time": WHOLE,
        "end_time": WHOLE,
    },
    frozenset({"name", "description"}),
)
_SHOTS: Final[Fields] = {
    "multi_shots": FLAG,
    "shot_type": ANY_TEXT,
    "multi_prompt": ListOf(_SHOT, "a list of shots"),
    "kling_elements": ListOf(_ELEMENT, "a list of elements"),
}
_EDIT: Final[Fields] = {
    **_SHORT_PROMPT,
    "source_video_url": ADDRESS,
    "source_task_id": TEXT,
    "reference_image_urls": addresses(1, 4),
    "aspect_ratio": one_of("auto", "16:9", "9:16", "1:1"),
    "duration_seconds": whole(3, 15),
    "output_resolution": one_of("720p", "1080p", "4k"),
}
_MOTION: Final[Fields] = {
    "source_image_url": ADDRESS,
    "reference_video_url": ADDRESS,
    "character_orientation": one_of("video", "image"),
    **_TO_1080P,
}
_AVATAR: Final[Fields] = {**_PROMPT, "source_image_url": ADDRESS, "source_audio_url": ADDRESS}
_EXTEND: Final[Fields] = {"source_task_id": TEXT, **_MODE, "prompt": ANY_TEXT}

# These defaults, if documented, are the same for every model that takes the option.
_DEFAULTS: Final[Options] = {
    "duration_seconds": 5,
    "output_resolution": "720p",
    "mode": "std",
    "enable_sound": False,
}


@dataclass(frozen=True, slots=True)
class LeftOpen:
    """The priced options that a model's bodies may leave out, with the value then used.

    `defaults` are documented; `dearest` has the most expensive value of the others.
    """

    defaults: Options
    dearest: Options


@dataclass(frozen=True, slots=True)
class _Model:
    fields: Fields
    required: frozenset[str]
    left_open: LeftOpen


def _taking(*fields: Fields, also: str = "", dearest: Options | None = None) -> _Model:
    """Return a model from its fields and required ones; those in `dearest` have no default."""
    taken: Fields = {"model": TEXT}
    for some in fields:
        taken.update(some)
    required = frozenset({"model", *also.split()})
    open_to_all = taken.keys() - required - (dearest or {}).keys()
    defaults = {name: value for name, value in _DEFAULTS.items() if name in open_to_all}
    left_open = LeftOpen(defaults, dearest or {})
    return _Model({**taken, "callback_url": ADDRESS}, required, left_open)


_TEN: Final[Options] = {"duration_seconds": 10}
_V2: Final[Fields] = {**_PROMPT, **_FIVE_OR_TEN, **_RATIO, **_GUIDANCE}
_V2_TEXT: Final = _taking(_V2, also="prompt", dearest=_TEN)
_V2_IMAGE: Final = "prompt first_frame_image_url"
_V2_FRAME: Final = _taking(_V2, _FRAME, also=_V2_IMAGE, dearest=_TEN)
_V2_FRAMES: Final = _taking(_V2, _FRAMES, also=_V2_IMAGE, dearest=_TEN)
_AVATAR_MODEL: Final = _taking(_AVATAR, also="prompt source_image_url source_audio_url")
_EXTENDED: Final = _taking(_EXTEND, also="source_task_id")

_ACTIONS: Final[Mapping[str, Mapping[str, _Model]]] = {
    "text_to_video": {
        "kling-3.0": _taking(
            {"prompt": ANY_TEXT},
            _THREE_TO_FIFTEEN,
            _TO_4K,
            _SOUND,
            _RATIO,
            _GUIDANCE,
            _FRAMES,
            _SHOTS,
            # Its page gives a default for sound only: none.
            dearest={"duration_seconds": 15, "output_resolution": "4k"},
        ),
        "kling-o1": _taking(
            _SHORT_PROMPT, _FIVE, _RATIO, _MODE, _SILENT, _REFERENCES, also="prompt"
        ),
        "kling-v2.1-master-text-to-video": _V2_TEXT,
        "kling-v2.5-turbo-text-to-video-pro": _V2_TEXT,
        "kling-v2.6": _taking(_SHORT_PROMPT, _FIVE_OR_TEN, _RATIO, _MODE, _SOUND, also="prompt"),
        "kling-v3-omni": _taking(
            _SHORT_PROMPT, _THREE_TO_FIFTEEN, _RATIO, _TO_4K, _SOUND, also="prompt"
        ),
        "kling-v3-omni-reference": _taking(
            _SHORT_PROMPT,
            _THREE_TO_FIFTEEN,
            _RATIO,
            _TO_4K,
            _SOUND,
            {"reference_image_urls": addresses(1, 7)},
            also="prompt aspect_ratio reference_image_urls",
        ),
        "kling-v3-turbo-text-to-video": _taking(
            _SHORT_PROMPT, _THREE_TO_FIFTEEN, _RATIO, _TO_1080P, also="prompt"
        ),
    },
    "image_to_video": {
        "kling-o1": _taking(
            _SHORT_PROMPT, _FIVE, _RATIO, _MODE, _SILENT, _FRAMES, _REFERENCES, also=_V2_IMAGE
        ),
        "kling-v2.1-master-image-to-video": _V2_FRAME,
        "kling-v2.1-pro": _V2_FRAMES,
        "kling-v2.1-standard": _V2_FRAME,
        "kling-v2.5-turbo-image-to-video-pro": _V2_FRAMES,
        "kling-v2.6": _taking(
            _SHORT_PROMPT, _FIVE_OR_TEN, _RATIO, _MODE, _SOUND, _FRAMES, also=_V2_IMAGE
        ),
        "kling-v3-omni": _taking(
            _SHORT_PROMPT, _THREE_TO_FIFTEEN, _RATIO, _TO_4K, _SOUND, _FRAMES, also=_V2_IMAGE
        ),
        "kling-v3-turbo-image-to-video": _taking(
            _SHORT_PROMPT, _THREE_TO_FIFTEEN, _TO_1080P, _FRAME, also=_V2_IMAGE
        ),
    },
    "motion_control": {
        "kling-3.0": _taking(
            _MOTION,
            {"prompt": ANY_TEXT, "background_source": one_of("video", "image")},
            also="source_image_url reference_video_url",
            dearest={"output_resolution": "1080p"},
        ),
        "kling-v2.6": _taking(
            _MOTION,
            {"prompt": text(2500)},
            also="source_image_url reference_video_url output_resolution character_orientation",
        ),
    },
    "edit_video": {
        "kling-v3-omni-edit": _taking(_EDIT, _SOUND, also="prompt aspect_ratio"),
        "kling-v3-omni-reference": _taking(_EDIT, _SILENT, also="prompt aspect_ratio"),
    },
    "extend_video": {
        "kling-v2.5-turbo-image-to-video-pro": _EXTENDED,
        "kling-v2.5-turbo-text-to-video-pro": _EXTENDED,
    },
    "ai_avatar": dict.fromkeys(
        (
            "kling-ai-avatar-pro",
            "kling-ai-avatar-standard",
            "kling-ai-avatar-v1-pro",
            "kling-v1-avatar-standard",
        ),
        _AVATAR_MODEL,
    ),
}


def known() -> list[str]:
    """Return every model and action that is documented, `kling-3.0 text_to_video` first."""
    return [f"{model} {action}" for action, models in _ACTIONS.items() for model in models]


def actions_of(model: str) -> tuple[str, ...]:
    """Return the actions that are documented for a model."""
    return tuple(action for action, models in _ACTIONS.items() if model in models)


def table_of(action: str, model: str) -> Table | None:
    """Return what a body for an action and model may say; None if it is not documented."""
    models = _ACTIONS.get(action, {})
    if model not in models:
        return None
    fields = models[model].fields
    others = {name for one in models.values() for name in one.fields if name not in fields}
    forbidden = dict.fromkeys(sorted(others), f"nothing: {model} does not take it")
    return Table(fields, models[model].required, forbidden)


def left_open(action: str, model: str) -> LeftOpen:
    """Return the values used for the priced options that a body of a known model leaves out."""
    return _ACTIONS[action][model].left_open


def frame_hint(model: str) -> str | None:
    """Return how to start from an image with a model that is not documented for image_to_video."""
    text = table_of("text_to_video", model)
    if text is None or "first_frame_image_url" not in text.fields:
        return None
    return (
        f"RunAPI's contract has no image_to_video of {model}:"
        " text_to_video takes the first frame, as first_frame_image_url"
    )
