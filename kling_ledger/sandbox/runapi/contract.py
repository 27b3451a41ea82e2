"""RunAPI's contract: which fields each model takes for each action, and which must not be combined.

Source: https://github.com/runapi-ai/mcp data/contract.json (v0.12.0 of 2026-08-21),
https://runapi.ai/zh-CN/openclaw-kling.md, and the README and docstrings of the package runapi-kling
0.5.1, checked 2026-11-26. What they leave open is decided here: a field that the contract does not
list is refused, so that a rehearsal reveals a typing error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kling_ledger.sandbox.bodies import MEASURED_S, Asked, Body
from kling_ledger.sandbox.fields import (
    Check,
    Fields,
    anything,
    flag,
    listed,
    number,
    one_of,
    problems,
    refuse,
    text,
    whole,
)
from kling_ledger.sandbox.replies import ApiError


@dataclass(frozen=True, slots=True)
class Model:
    """One model for one action: the fields it takes, those it requires, and its defaults."""

    takes: Fields
    needs: frozenset[str] = frozenset()
    usual: Mapping[str, Any] = field(default_factory=dict)


_LINK: Final = text(shortest=1)
_PROMPT: Final = text(shortest=1, longest=2500)
_SHAPE: Final = one_of("16:9", "9:16", "1:1")
_WHOLE: Final = whole(3, 15)
_TWO: Final = one_of(5, 10)
_TIER: Final = one_of("std", "pro")
_HD: Final = one_of("720p", "1080p")
_UHD: Final = one_of("720p", "1080p", "4k")

_EVERY: Final[Fields] = {"model": text(shortest=1), "callback_url": text()}
_WORDS: Final[Fields] = {"negative_prompt": text(), "cfg_scale": number(0, 1)}
_FRAMES: Final[Fields] = {"first_frame_image_url": _LINK, "last_frame_image_url": _LINK}
_OLD: Final[Fields] = {**_EVERY, **_WORDS, "prompt": text(), "duration_seconds": _TWO}
_O1: Final[Fields] = {
    **_EVERY,
    "prompt": _PROMPT,
    "mode": _TIER,
    "enable_sound": flag,
    "duration_seconds": one_of(5),
    "aspect_ratio": _SHAPE,
    "reference_image_urls": listed(_LINK, least=1, most=7),
    "reference_video_url": _LINK,
    "reference_video_type": one_of("base", "feature"),
    "preserve_reference_video_audio": flag,
}
_V26: Final[Fields] = {
    **_EVERY,
    "prompt": _PROMPT,
    "mode": _TIER,
    "enable_sound": flag,
    "duration_seconds": _TWO,
    "aspect_ratio": _SHAPE,
}
_OMNI: Final[Fields] = {
    **_EVERY,
    "prompt": _PROMPT,
    "enable_sound": flag,
    "duration_seconds": _WHOLE,
    "aspect_ratio": _SHAPE,
    "output_resolution": _UHD,
}
_TURBO: Final[Fields] = {
    **_EVERY,
    "prompt": _PROMPT,
    "duration_seconds": _WHOLE,
    "output_resolution": _HD,
}
_EDIT: Final[Fields] = {
    **_OMNI,
    "aspect_ratio": one_of("auto", "16:9", "9:16", "1:1"),
    "source_video_url": _LINK,
    "source_task_id": _LINK,
    "reference_image_urls": listed(_LINK, least=1, most=4),
}
_AVATAR: Final[Fields] = {
    **_EVERY,
    "prompt": text(),
    "source_image_url": _LINK,
    "source_audio_url": _LINK,
}
_MOTION: Final[Fields] = {
    **_EVERY,
    "source_image_url": _LINK,
    "reference_video_url": _LINK,
    "output_resolution": _HD,
    "character_orientation": one_of("video", "image"),
}
_EXTEND: Final[Fields] = {**_EVERY, "source_task_id": _LINK, "mode": _TIER, "prompt": text()}

_SILENT: Final = {"enable_sound": False}
# The contract has no defaults for kling-3.0 and the 2.x models, yet the package's own example sends
# only a model and a prompt. They are assumed to have those of the other models.
_USUAL_3: Final = {**_SILENT, "duration_seconds": 5, "output_resolution": "720p"}
_USUAL_2: Final = {**_SILENT, "duration_seconds": 5}
_USUAL_TIER: Final = {**_USUAL_2, "mode": "std"}


def _model(
    takes: Fields, *needs: str, usual: Mapping[str, Any] | None = None, **more: Check
) -> Model:
    return Model({**takes, **more}, frozenset({"model", *needs}), usual or {})


_TEXT: Final[Mapping[str, Model]] = {
    "kling-3.0": _model(
        {**_EVERY, **_WORDS, **_FRAMES},
        usual=_USUAL_3,
        prompt=text(),
        enable_sound=flag,
        duration_seconds=_WHOLE,
        aspect_ratio=_SHAPE,
        output_resolution=_UHD,
        # The home page, https://runapi.ai, writes it so; only `duration_seconds` counts.
        duration=anything,
        multi_shots=flag,
        shot_type=text(),
        multi_prompt=listed(anything),
        kling_elements=listed(anything),
    ),
    "kling-o1": _model(_O1, "prompt", usual=_USUAL_TIER),
    "kling-v2.1-master-text-to-video": _model(
        _OLD, "prompt", usual=_USUAL_2, enable_sound=flag, aspect_ratio=_SHAPE
    ),
    "kling-v2.5-turbo-text-to-video-pro": _model(
        _OLD, "prompt", usual=_USUAL_2, enable_sound=flag, aspect_ratio=_SHAPE
    ),
    "kling-v2.6": _model(_V26, "prompt", usual=_USUAL_TIER),
    "kling-v3-omni": _model(_OMNI, "prompt", usual=_USUAL_3),
    "kling-v3-omni-reference": _model(
        _OMNI,
        *("prompt", "aspect_ratio", "reference_image_urls"),
        usual=_USUAL_3,
        reference_image_urls=listed(_LINK, least=1, most=7),
    ),
    "kling-v3-turbo-text-to-video": _model(_TURBO, "prompt", usual=_USUAL_3, aspect_ratio=_SHAPE),
}
_OLD_IMAGE: Final = _model(
    {**_OLD, **_FRAMES}, "prompt", "first_frame_image_url", usual=_USUAL_2, aspect_ratio=text()
)
_IMAGE: Final[Mapping[str, Model]] = {
    "kling-o1": _model({**_O1, **_FRAMES}, "prompt", "first_frame_image_url", usual=_USUAL_TIER),
    "kling-v2.1-master-image-to-video": _OLD_IMAGE,
    "kling-v2.1-pro": _OLD_IMAGE,
    "kling-v2.1-standard": _OLD_IMAGE,
    "kling-v2.5-turbo-image-to-video-pro": _OLD_IMAGE,
    "kling-v2.6": _model({**_V26, **_FRAMES}, "prompt", "first_frame_image_url", usual=_USUAL_TIER),
    "kling-v3-omni": _model(
        {**_OMNI, **_FRAMES}, "prompt", "first_frame_image_url", usual=_USUAL_3
    ),
    "kling-v3-turbo-image-to-video": _model(
        _TURBO, "prompt", "first_frame_image_url", usual=_USUAL_3, first_frame_image_url=_LINK
    ),
}
_MEDIA: Final = ("source_image_url", "reference_video_url")
_AVATARS: Final = _model(_AVATAR, "prompt", "source_image_url", "source_audio_url")

CONTRACT: Final[Mapping[str, Mapping[str, Model]]] = {
    "text_to_video": _TEXT,
    "image_to_video": _IMAGE,
    "motion_control": {
        "kling-3.0": _model(
            _MOTION,
            *_MEDIA,
            usual={"output_resolution": "720p"},
            prompt=text(),
            background_source=one_of("video", "image"),
        ),
        "kling-v2.6": _model(
            _MOTION,
            *(*_MEDIA, "output_resolution", "character_orientation"),
            prompt=text(longest=2500),
        ),
    },
    "extend_video": {
        "kling-v2.5-turbo-image-to-video-pro": _model(
            _EXTEND, "source_task_id", usual={"mode": "std"}
        ),
        "kling-v2.5-turbo-text-to-video-pro": _model(
            _EXTEND, "source_task_id", usual={"mode": "std"}
        ),
    },
    "ai_avatar": {
        "kling-ai-avatar-pro": _AVATARS,
        "kling-ai-avatar-standard": _AVATARS,
        "kling-ai-avatar-v1-pro": _AVATARS,
        "kling-v1-avatar-standard": _AVATARS,
    },
    "edit_video": {
        "kling-v3-omni-edit": _model(_EDIT, "prompt", "aspect_ratio", usual=_USUAL_3),
        "kling-v3-omni-reference": _model(_EDIT, "prompt", "aspect_ratio", usual=_USUAL_3),
    },
}
"""Every model by action, as RunAPI lists them; kling-3.0 takes its frames in text_to_video."""

ACTIONS: Final = tuple(CONTRACT)

_PRICED_BY: Final[tuple[str, ...]] = ("mode", "enable_sound", "output_resolution")


def read(body: Body, action: str) -> Asked:
    """Read a body; 422 for one that the contract does not allow."""
    model = _model_of(body, action)
    refuse(problems(body, model.takes, needs=model.needs))
    said = {**model.usual, **{name: body[name] for name in body if body[name] is not None}}
    refuse([*_RULES[action](said)] if action in _RULES else [])
    words = {name: _word(said[name]) for name in _PRICED_BY if name in said}
    # Without a duration in its contract, the clip is as long as a file that the sandbox cannot
    # fetch.
    return Asked(action, body["model"], said.get("duration_seconds", MEASURED_S), words)


def _model_of(body: Body, action: str) -> Model:
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise ApiError(422, f"model: got {ascii(name)[:60]}, allowed: a model for {action}")
    if name not in CONTRACT[action]:
        raise ApiError(
            422, f"unknown model {ascii(name)[:60]} for {action}", code="model_not_available"
        )
    return CONTRACT[action][name]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- forbidden combinations, for each action that has such rules --------------------------------


def _text_rules(said: Body) -> Iterator[str]:
    yield from _prompt_rule(said)
    yield from _mode_rules(said)
    yield from _o1_rules(said)


def _image_rules(said: Body) -> Iterator[str]:
    yield from _mode_rules(said)
    yield from _o1_rules(said)


def _prompt_rule(said: Body) -> Iterator[str]:
    """A storyboard of the user's own has prompts in its shots, anything else its prompt."""
    is_storyboard = said.get("multi_shots", False)
    is_own = is_storyboard and str(said.get("shot_type", "custom")).startswith("custom")
    if is_own and not said.get("multi_prompt"):
        yield "multi_prompt: it is missing, and multi_shots asks for it"
    if not is_own and not said.get("prompt"):
        yield "prompt: it is missing"


def _mode_rules(said: Body) -> Iterator[str]:
    """kling-v2.6 makes sound, and uses a last frame, only in its pro mode."""
    if said["model"] != "kling-v2.6":
        return
    if said["enable_sound"] and said["mode"] != "pro":
        yield "enable_sound: got true, allowed: false, or mode pro"
    if "last_frame_image_url" in said and (said["mode"], said["duration_seconds"]) != ("pro", 5):
        yield "last_frame_image_url: it needs mode pro and 5 seconds"


def _o1_rules(said: Body) -> Iterator[str]:
    if said["model"] != "kling-o1":
        return
    has_video = "reference_video_url" in said
    images = said.get("reference_image_urls", [])
    if said["enable_sound"]:
        yield "enable_sound: got true, allowed: false"
    if "last_frame_image_url" in said and (has_video or images):
        yield "last_frame_image_url: it cannot be combined with references"
    if has_video and len(images) > 4:
        yield "reference_image_urls: at most 4 beside a video"
    is_base = has_video and said.get("reference_video_type", "base") == "base"
    if is_base and "first_frame_image_url" in said:
        yield "reference_video_type: base cannot be combined with frames"


def _edit_rules(said: Body) -> Iterator[str]:
    """An edit without reference images keeps the source's shape and is five seconds long."""
    if ("source_video_url" in said) == ("source_task_id" in said):
        yield "source_video_url: give either it or source_task_id"
    has_images = "reference_image_urls" in said
    if has_images == (said["aspect_ratio"] == "auto"):
        yield "aspect_ratio: auto without reference images, and a ratio with them"
    if not has_images and said["duration_seconds"] != 5:
        yield "duration_seconds: 5 without reference images"
    if said["model"] == "kling-v3-omni-reference" and said["enable_sound"]:
        yield "enable_sound: got true, allowed: false"


_RULES: Final = {
    "text_to_video": _text_rules,
    "image_to_video": _image_rules,
    "edit_video": _edit_rules,
}
