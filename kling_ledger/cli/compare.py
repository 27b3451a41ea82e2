"""`kling-ledger compare`: one clip at every provider that can make it, cheapest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import click

from kling_ledger.cli.books import book_option
from kling_ledger.cli.output import format_option, print_many, say
from kling_ledger.cli.quote import Seconds
from kling_pricing.clip import ACTIONS, FRAMES, ORIENTATIONS, RESOLUTIONS, Clip
from kling_pricing.compare import Comparison, Unable, wanted_clip
from kling_pricing.compare import compare as compared
from kling_pricing.errors import ClipError
from kling_pricing.library import Library
from kling_pricing.money import plain
from kling_pricing.quote import Quote

Command = TypeVar("Command", bound=Callable[..., Any])

_COLUMNS = ("provider", "model", "usd", "amount", "unit", "evidence", "checked", "notes", "reason")
_SHOWN = _COLUMNS[:7]
_OPTIONAL = ("checked", "evidence")
_NO_MATCH_EXIT = 2
_NO_PRICE_EXIT = 7


def clip_options(command: Command) -> Command:
    """Add the options that describe a clip of a model family, whoever makes it, and `--at`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--model", "family", required=True, metavar="FAMILY", help="The model, such as kling-3.0."
    ),
    click.option(
        "--action",
        type=click.Choice(ACTIONS),
        default=ACTIONS[0],
        show_default=True,
        help="What the model is asked to do.",
    ),
    click.option("--seconds", type=Seconds(), help="The length of the clip."),
    click.option("--resolution", type=click.Choice(RESOLUTIONS), help="The size of the picture."),
    click.option("--sound/--no-sound", default=None, help="With the model's own sound, or silent."),
    click.option("--multi-shot", is_flag=True, help="Several shots in one clip."),
    click.option("--voice", is_flag=True, help="With a chosen or cloned voice."),
    click.option("--video-input", is_flag=True, help="A video is given."),
    click.option("--elements", is_flag=True, help="Reference elements are given."),
    click.option(
        "--frames",
        type=click.Choice(FRAMES),
        default=FRAMES[0],
        show_default=True,
        help="Which frames are given as images.",
    ),
    click.option("--orientation", type=click.Choice(ORIENTATIONS), help="What leads a motion."),
    click.option("--input-seconds", type=Seconds(), help="The length of the video that is given."),
    click.option(
        "--at",
        type=click.DateTime(["%Y-%m-%d"]),
        help="Price it as on that day (00:00 UTC) instead of now.",
    ),
)


def read_clip(options: dict[str, Any]) -> Clip:
    """Return the clip that the options describe; ClipError for one that nobody could make."""
    lengths = {name: _whole(options[name]) for name in ("seconds", "input_seconds")}
    return wanted_clip(**{**options, **lengths})


def instant_of(at: datetime | None) -> datetime:
    """Return the start of a day in UTC, or now."""
    return at.replace(tzinfo=UTC) if at else datetime.now(UTC)


def no_offer_code(unable: Sequence[Unable]) -> int:
    """Return the exit code where nobody has an offer: bad input if that is the only reason."""
    is_input = all(isinstance(one.error, ClipError) for one in unable)
    return _NO_MATCH_EXIT if is_input else _NO_PRICE_EXIT


@click.command()
@clip_options
@book_option
@format_option
def compare(
    family: str, at: datetime | None, library: Library, form: str, **options: Any
) -> int | None:
    """Price one clip at every provider that can make it, cheapest first.

    \b
    kling-ledger compare --model kling-3.0 --seconds 5 --resolution 1080p --sound

    JSON has those that cannot make it too, each with its reason; a table tells them on stderr.
    """
    found = compared(read_clip(options), family=family, at=instant_of(at), library=library)
    _print(found, form)
    return None if found.offers else no_offer_code(found.unable)


def _print(found: Comparison, form: str) -> None:
    offers = [_offer(quoted) for quoted in found.offers]
    if form == "table":
        print_many(offers, _SHOWN, form, empty="no provider can make this clip", optional=_OPTIONAL)
        for offer in offers:
            for note in offer["notes"]:
                say(f"note: {offer['provider']}: {note}")
        say_unable(found.unable, served={quoted.clip.provider for quoted in found.offers})
    else:
        print_many([*offers, *map(unable_row, found.unable)], _COLUMNS, form, empty="")


def unable_row(one: Unable) -> dict[str, Any]:
    """Return a model that cannot make the clip as a row: no price, and the reason."""
    return {"provider": one.provider, "model": one.model, "usd": None, "reason": one.reason}


def say_unable(unable: Sequence[Unable], *, served: set[str]) -> None:
    """Tell why the providers that are not served otherwise cannot make the clip."""
    for one in unable:
        if one.provider not in served:
            say(f"unable: {one.provider} {one.model}: {one.reason}")


def _offer(quoted: Quote) -> dict[str, Any]:
    unconverted = [] if quoted.usd else [f"no known conversion of {quoted.unit} into USD"]
    return {
        "provider": quoted.clip.provider,
        "model": quoted.clip.model,
        "usd": plain(quoted.usd.amount) if quoted.usd else None,
        "amount": plain(quoted.amount.amount),
        "unit": quoted.unit,
        "evidence": quoted.rate.source.evidence,
        "checked": quoted.rate.source.checked.isoformat(),
        "notes": [*unconverted, *quoted.warnings, *quoted.assumptions],
        "reason": None,
    }


def _whole(seconds: Decimal | None) -> int | Decimal | None:
    return int(seconds) if seconds is not None and seconds == int(seconds) else seconds
