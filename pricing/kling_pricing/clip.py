"""Clip: what is to be made, in neutral words, without a price and without a provider's spelling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from types import NoneType
from typing import Any, Final, NamedTuple

from kling_pricing.errors import ClipError, Problem
from kling_pricing.vocabulary import (
    ACTIONS,
    FRAMES,
    ORIENTATIONS,
    RESOLUTIONS,
    OptionValue,
    Seconds,
    option_in_words,
)

__all__ = [
    "ACTIONS",
    "CLIP_FIELDS",
    "FRAMES",
    "LENGTH_WORDS",
    "LONGEST_S",
    "ORIENTATIONS",
    "REQUIRED",
    "RESOLUTIONS",
    "Clip",
    "option_in_words",
    "option_problem",
]


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip at one provider, as a person would describe it.

    `seconds` is the requested length, `input_seconds` the length of the input video. None in
    `seconds`, `resolution` or `sound` means not given; if the price depends on it, pricing raises
    ClipError. `frames` says which frames are given as images, `video_input` that a video is given,
    `voice` that a voice is cloned or chosen, `orientation` what the motion follows.
    Raises ClipError for a value that no provider could make.
    """

    provider: str
    model: str
    action: str = "text_to_video"
    seconds: Seconds | None = None
    resolution: str | None = None
    sound: bool | None = None
    multi_shot: bool = False
    voice: bool = False
    video_input: bool = False
    elements: bool = False
    frames: str = "none"
    orientation: str | None = None
    input_seconds: Seconds | None = None

    def __post_init__(self) -> None:
        if not _is_possible(self):
            raise ClipError(_problems(self))

    def meets(self, when: Mapping[str, OptionValue]) -> bool:
        """Whether the clip has the value that a condition names for each of its options."""
        return all(getattr(self, name) == value for name, value in when.items())

    def with_options(self, options: Mapping[str, OptionValue]) -> Clip:
        """Return the clip with options changed to values that a price book's reader has checked."""
        # Skips the checks: the book's values were checked once, and a quote need not repeat them.
        changed = object.__new__(Clip)
        for name in CLIP_FIELDS:
            object.__setattr__(changed, name, options.get(name, getattr(self, name)))
        return changed


class _Rule(NamedTuple):
    allows: Callable[[Any], bool]
    allowed: str


def _one_of(*words: str, optional: bool = False) -> _Rule:
    allowed = frozenset(words)
    return _Rule(
        lambda value: (optional and value is None) or (isinstance(value, str) and value in allowed),
        ", ".join(words),
    )


LONGEST_S: Final = 86_400
LENGTH_WORDS: Final = "a number of seconds above 0, a day at most"
_LENGTH: Final = _Rule(lambda value: value is None or _is_length(value), LENGTH_WORDS)
_FLAG: Final = _Rule(lambda value: isinstance(value, bool), "true or false")
_TEXT: Final = _Rule(lambda value: isinstance(value, str) and value != "", "a name")
_RULES: Final[Mapping[str, _Rule]] = {
    "provider": _TEXT,
    "model": _TEXT,
    "action": _one_of(*ACTIONS),
    "seconds": _LENGTH,
    "resolution": _one_of(*RESOLUTIONS, optional=True),
    "sound": _Rule(lambda value: isinstance(value, (bool, NoneType)), "true or false"),
    "multi_shot": _FLAG,
    "voice": _FLAG,
    "video_input": _FLAG,
    "elements": _FLAG,
    "frames": _one_of(*FRAMES),
    "orientation": _one_of(*ORIENTATIONS, optional=True),
    "input_seconds": _LENGTH,
}
CLIP_FIELDS: Final = tuple(field.name for field in fields(Clip))
"""The names of a clip's fields, in their order."""
REQUIRED: Final = ("provider", "model")
"""The fields that every clip must have."""


def _is_possible(clip: Clip) -> bool:
    return all(rule.allows(getattr(clip, name)) for name, rule in _RULES.items())


def _problems(clip: Clip) -> list[Problem]:
    return [
        Problem(name, getattr(clip, name), rule.allowed)
        for name, rule in _RULES.items()
        if not rule.allows(getattr(clip, name))
    ]


def _is_length(seconds: object) -> bool:
    # True would be a clip of one second, and a float is rarely exactly what was written.
    if isinstance(seconds, bool) or not isinstance(seconds, (int, Decimal)):
        return False
    is_number = isinstance(seconds, int) or seconds.is_finite()
    return is_number and 0 < seconds <= LONGEST_S


def option_problem(name: str, value: object) -> str | None:
    """Return what a clip's option may be, or None if this value is valid."""
    rule = _RULES.get(name)
    if rule is None or name in {"provider", "model", "action"}:
        return f"no option of a clip is called {name}"
    return None if rule.allows(value) else f"{name} is one of: {rule.allowed}"
