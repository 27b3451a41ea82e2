"""The options that describe a clip, the same for every command that prices one."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

import click

from kling_pricing.clip import (
    ACTIONS,
    FRAMES,
    LENGTH_WORDS,
    LONGEST_S,
    ORIENTATIONS,
    RESOLUTIONS,
)

Command = TypeVar("Command", bound=Callable[..., Any])

# Python's own parsers also accept 1_0, other digits and 2026W47: nobody means those.
_DECIMAL: Final = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_TIME: Final = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
_INSTANT: Final = (
    rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_TIME}(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})?)?"
)
_LINES: Final = {one.removesuffix("p"): one for one in RESOLUTIONS if one.endswith("p")}
_INSTANT_WORDS: Final = "a day or an instant, such as 2026-11-21 or 2026-11-21T12:30:00Z"


class Seconds(click.ParamType[Decimal]):
    """A length in seconds, `5` or `5s`: above 0, at most a day."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        """Return the number; a usage error for anything else."""
        written = re.fullmatch(rf"({_DECIMAL})\s*(?:s|sec|seconds?)?", str(value).lower())
        number = Decimal(written[1]) if written else Decimal(0)
        if not 0 < number <= LONGEST_S:
            self.fail(f"got {value}, allowed: {LENGTH_WORDS}", param, ctx)
        return number


class Resolution(click.Choice[str]):
    """A resolution; a bare number counts lines: `1080` is 1080p."""

    name = "resolution"

    def __init__(self) -> None:
        super().__init__(RESOLUTIONS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the resolution as price books write it; a usage error for anything else."""
        return super().convert(_LINES.get(str(value), value), param, ctx)


class Instant(click.ParamType[datetime]):
    """An instant in ISO 8601, in UTC unless it says otherwise; a day stands for its start."""

    name = "instant"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the instant in UTC; a usage error for anything else."""
        try:
            return _instant(str(value))
        except (ValueError, OverflowError):
            self.fail(f"got {value}, allowed: {_INSTANT_WORDS}", param, ctx)


def _instant(text: str) -> datetime:
    if not re.fullmatch(_INSTANT, text):
        raise ValueError(text)
    read = datetime.fromisoformat(text)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)


_OPTIONS: Final = (
    click.option("--action", type=click.Choice(ACTIONS), help="What the model does."),
    click.option("--seconds", type=Seconds(), metavar="SECONDS", help="The length of the clip."),
    click.option("--resolution", type=Resolution(), help="The resolution of the clip."),
    click.option("--sound/--no-sound", default=None, help="With or without generated sound."),
    click.option(
        "--input-seconds",
        type=Seconds(),
        metavar="SECONDS",
        help="The length of the input video.",
    ),
    click.option(
        "--orientation",
        type=click.Choice(ORIENTATIONS),
        help="What motion control follows: the image or the video.",
    ),
    click.option(
        "--video-input", is_flag=True, default=None, help="The request has an input video."
    ),
    click.option(
        "--elements", is_flag=True, default=None, help="The request has reference elements."
    ),
    click.option(
        "--frames",
        type=click.Choice(FRAMES),
        help="Which frames are given as images. [default: none]",
    ),
    click.option("--multi-shot", is_flag=True, default=None, help="Several shots in one clip."),
    click.option("--voice", is_flag=True, default=None, help="With a chosen or cloned voice."),
    click.option(
        "--at",
        type=Instant(),
        metavar="INSTANT",
        help="Use the prices of this day (00:00 UTC) or instant instead of now.",
    ),
)


def clip_options(command: Command) -> Command:
    """Add the options that describe a clip to a command, and `--at`.

    Omitted options reach the command as None.
    """
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def clip_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a clip that were given; whole lengths are whole numbers."""
    given = {name: value for name, value in options.items() if value is not None}
    for name in ("seconds", "input_seconds"):
        if name in given and given[name] == int(given[name]):
            given[name] = int(given[name])
    return given
