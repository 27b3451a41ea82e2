"""What a body leaves to its provider: the documented default, or else the most expensive value.

A documented default is written into the body that is sent. An option without one stays left out,
and the clip is priced with its most expensive value: too much may be held, never too little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kling_pricing.clip import Clip
from kling_pricing.gateways.checks import Body

Options = Mapping[str, Any]
"""Values of priced options, by their field names in a body."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a body asks for, what had to be assumed, and which defaults are written out.

    `written_out` has whole fields of the body, which replace its own or are added.
    """

    clip: Clip
    assumptions: tuple[str, ...] = ()
    written_out: Options = field(default_factory=dict)


def left_out(body: Body, values: Options) -> dict[str, Any]:
    """Return the options that a body leaves out; null counts as left out."""
    return {name: value for name, value in values.items() if body.get(name) is None}


def documented(options: Options, provider: str) -> Iterator[str]:
    """Note, for each option, that its documented default is used."""
    for name, value in options.items():
        yield f"{name} is not given: priced with {_words(value)}, {provider}'s documented default"


def undocumented(options: Options, provider: str) -> Iterator[str]:
    """Note, for each option without a documented default, that the dearest value is used."""
    for name, value in options.items():
        why = f"the dearest, because {provider} documents no default"
        yield f"{name} is not given: priced with {_words(value)}, {why}"


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "sound" if value else "no sound"
    return f"{value} seconds" if isinstance(value, int) else _TEXTS.get(str(value), str(value))


_TEXTS: Final[Mapping[str, str]] = {
    "off": "no sound",
    "std": "mode std, which is 720p",
    "pro": "mode pro, which is 1080p",
}
