"""The neutral words that describe clips, and how people read them."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal, get_args

Resolution = Literal["720p", "1080p", "4k"]
Action = Literal[
    "text_to_video",
    "image_to_video",
    "reference_to_video",
    "motion_control",
    "edit_video",
    "extend_video",
    "ai_avatar",
    "lip_sync",
    "custom_element",
]
Frames = Literal["none", "first", "first_last"]
Orientation = Literal["image", "video"]
RESOLUTIONS: Final[tuple[str, ...]] = get_args(Resolution)
ACTIONS: Final[tuple[str, ...]] = get_args(Action)
FRAMES: Final[tuple[str, ...]] = get_args(Frames)
ORIENTATIONS: Final[tuple[str, ...]] = get_args(Orientation)
Seconds = int | Decimal
"""A length in seconds: an int, or a Decimal for part of a second."""

OptionValue = str | bool | int | None
"""A value of a clip's option; None means not given."""


def option_in_words(name: str, value: object) -> str:
    """Write a clip's option in words: `1080p`, `with sound`, `5 s`."""
    # First of all, because True is an int too.
    if isinstance(value, bool):
        words = name.replace("_", " ")
        return f"with {words}" if value else f"without {words}"
    if value is None:
        return f"any {name}"
    return f"{value} s" if name == "seconds" else str(value)
