"""EvoLink's documented models: the action of each, the fields it takes, and their values.

Source: https://docs.evolink.ai/en/api-manual/video-series/kling/ (one page per model), checked
2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kling_pricing.gateways.addresses import web_address
from kling_pricing.gateways.checks import (
    ADDRESS,
    FLAG,
    RATIO,
    TEXT,
    Check,
    ListOf,
    Table,
    Value,
    addresses,
    is_whole,
    one_of,
    text,
    whole,
)


def seconds_of(said: object) -> int | None:
    """Return the seconds that a text such as "5" says; None for anything else."""
    if not isinstance(said, str) or not (said.isascii() and said.isdigit()) or len(said) > 3:
        return None
    return int(said) or None


V3_IMAGE: Final = "kling-v3-image-to-video"
"""The only model whose first frame comes in either of two fields."""
_DEFAULTS: Final[Mapping[str, object]] = {"duration": 5, "quality": "720p", "sound": "off"}

_SHOT_SECONDS: Final = Value(
    'a text of whole seconds, at least "1"',
    lambda value: isinstance(value, str) and seconds_of(value) is not None,
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
    "generate_audio": FLAG,
    "aspect_ratio": RATIO,
}
_MADE_V3: Final[dict[str, Check]] = {**_MADE, "negative_prompt": text(2500)}
_WITH_ELEMENTS: Final[dict[str, Check]] = {"model_params": Table({**_SHOTS, **_ELEMENTS})}
_FRAMES: Final[dict[str, Check]] = {"image_start": ADDRESS, "image_end": ADDRESS}
_VIDEO: Final[dict[str, Check]] = {"video_url": ADDRESS, "keep_original_sound": FLAG}
_MOTION: Final = Table(
    {
        "character_orientation": one_of("image", "video", note=" (no default is documented)"),
        "keep_sound": FLAG,
    },
    frozenset({"character_orientation"}),
)


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its action, the fields it takes, and those it requires."""

    action: str
    fields: dict[str, Check]
    required: tuple[str, ...] = field(default=())

    @property
    def table(self) -> Table:
        """What a body may say."""
        return Table(self.fields, frozenset({"model", *self.required}))

    @property
    def defaults(self) -> Mapping[str, object]:
        """The defaults of the priced options that a body leaves out."""
        return {name: value for name, value in _DEFAULTS.items() if name in self.fields}


MODELS: Final[Mapping[str, Model]] = {
    "kling-v3-text-to-video": Model("text_to_video", {**_MADE_V3, "model_params": Table(_SHOTS)}),
    V3_IMAGE: Model(
        "image_to_video",
        {
            **_MADE_V3,
            **_WITH_ELEMENTS,
            **_FRAMES,
            "quality": one_of("720p", "1080p", "4k"),
            "image_urls": addresses(1, 1),
        },
    ),
    "kling-v3-motion-control": Model(
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
    "kling-o3-text-to-video": Model("text_to_video", {**_MADE, **_WITH_ELEMENTS}),
    "kling-o3-image-to-video": Model(
        "image_to_video",
        {**_MADE, **_WITH_ELEMENTS, **_FRAMES, "image_urls": addresses(1, 7)},
    ),
    "kling-o3-reference-to-video": Model(
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
    "kling-o3-video-edit": Model(
        "edit_video",
        {**_PROMPTED, **_QUALITY, **_WITH_ELEMENTS, **_VIDEO, "image_urls": addresses(1, 4)},
        ("video_url",),
    ),
    "kling-custom-element": Model(
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
        model: Model(
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
"""Every documented model by its id."""
