"""Clip: what is to be made, in neutral words. It carries no price and no provider's spelling."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from types import NoneType
from typing import Final, Literal, get_args

from kling_pricing.errors import ClipError, Problem

Resolution = Literal["720p", "1080p", "4k"]
Action = Literal[
    "text_to_video",
    "image_to_video",
    "motion_control",
    "ai_avatar",
    "extend_video",
    "edit_video",
]
RESOLUTIONS: Final[tuple[str, ...]] = get_args(Resolution)
ACTIONS: Final[tuple[str, ...]] = get_args(Action)

Seconds = int | Decimal
"""A length in seconds: an int, or a Decimal where someone asked for part of a second."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip at one provider, as a person would describe it.

    `seconds` is the length asked for. None in `seconds`, `resolution` or `sound` means that
    nobody said: pricing then asks for it if the price depends on it.
    Raises ClipError for a value that no provider could make.
    """

    provider: str
    model: str
    action: str = "text_to_video"
    seconds: Seconds | None = None
    resolution: str | None = None
    sound: bool | None = None
    multi_shot: bool = False

    def __post_init__(self) -> None:
        if self._is_possible():
            return
        raise ClipError(self._problems())

    def _is_possible(self) -> bool:
        return (
            (self.seconds is None or _is_length(self.seconds))
            and (self.resolution is None or self.resolution in RESOLUTIONS)
            and self.action in ACTIONS
            and isinstance(self.sound, (bool, NoneType))
        )

    def _problems(self) -> list[Problem]:
        problems = []
        if self.seconds is not None and not _is_length(self.seconds):
            problems.append(Problem("seconds", self.seconds, "a number of seconds above 0"))
        if self.resolution is not None and self.resolution not in RESOLUTIONS:
            problems.append(Problem("resolution", self.resolution, ", ".join(RESOLUTIONS)))
        if not isinstance(self.sound, (bool, NoneType)):
            problems.append(Problem("sound", self.sound, "true or false"))
        if self.action not in ACTIONS:
            problems.append(Problem("action", self.action, ", ".join(ACTIONS)))
        return problems


def _is_length(seconds: object) -> bool:
    if isinstance(seconds, int):
        return seconds > 0 and not isinstance(seconds, bool)
    return isinstance(seconds, Decimal) and seconds.is_finite() and seconds > 0
