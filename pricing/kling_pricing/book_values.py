"""What one value of a price book may be: a number, a day, a length, options, a table of prices."""

# No postponed annotations: see entry.py.
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from kling_pricing.clip import LONGEST_S, option_problem
from kling_pricing.entry import Limits, Written
from kling_pricing.vocabulary import FRAMES, ORIENTATIONS, RESOLUTIONS, OptionValue

Evidence = Literal["published", "live", "third_party", "assumed", "user"]
"""How a rate is known, from the provider's own page down to a declared guess."""

Charged = Literal["yes", "no", "unknown"]
"""Whether a job without a result is charged; treat `unknown` as possibly charged."""

Per = Literal["second", "clip", "request", "block"]
"""What one price pays for: a second, a whole clip, a request of any size, a started block."""

Count = Literal["requested", "produced", "input", "input_and_output"]
"""Which seconds are billed: those requested, those of the produced file, those of the input video,
or input and output together."""

DIMENSIONS: Final[dict[str, dict[str, OptionValue]]] = {
    "resolution": {word: word for word in RESOLUTIONS},
    "frames": {word: word for word in FRAMES},
    "orientation": {word: word for word in ORIENTATIONS},
    **{
        name: {"off": False, "on": True}
        for name in ("sound", "voice", "video_input", "multi_shot", "elements")
    },
    # Flat prices are listed per length; none is listed for more than a minute.
    "seconds": {str(seconds): seconds for seconds in range(1, 61)},
}
"""The words that price tables are keyed by, and the value that each stands for."""

# Twelve decimals: a multiplier with six decimals on a base with six is still exact.
_MAX_DECIMALS: Final = 12
_PLAIN: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,40})?")


def written_decimal(value: object) -> Decimal:
    """Read a positive number that was written as text; ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError("write the number as a string in quotes: a float would change it")
    if not _PLAIN.fullmatch(value):
        raise ValueError(f"{value!r} is not a number")
    number = Decimal(value)
    decimals = len(value.partition(".")[2])
    if number <= 0 or number >= 10**9 or decimals > _MAX_DECIMALS:
        raise ValueError(
            f"{value!r} is not above 0, below 10^9, with {_MAX_DECIMALS} decimals at most"
        )
    return number


def instant_of(written: object) -> datetime:
    """Return when something begins or ends: a date is 00:00 UTC; ValueError for anything else."""
    if type(written) is date:
        return datetime.combine(written, time.min, tzinfo=UTC)
    if not isinstance(written, datetime):
        raise ValueError("Input should be a date, or an instant such as 2026-11-26T01:00:00Z")
    if written.tzinfo is None:
        raise ValueError("an instant needs its offset, such as 2026-11-26T01:00:00Z")
    return written.astimezone(UTC)


def day_or_instant(at: datetime) -> str:
    """Write an instant in UTC the way a book does: as a date if it is 00:00."""
    if at.time() == time.min:
        return at.date().isoformat()
    return at.replace(tzinfo=None).isoformat() + "Z"


def _https(url: object) -> object:
    if isinstance(url, str) and not re.fullmatch(r"https://[^/\s]+\.[^\s]+", url):
        raise ValueError("a source is an https:// address")
    return url


def _clip_options(options: object) -> object:
    for name, value in options.items() if isinstance(options, dict) else ():
        if problem := option_problem(name, value):
            raise ValueError(problem)
    return options


def _table(table: object) -> object:
    if not isinstance(table, (dict, str)):
        raise ValueError("write numbers as strings in quotes, nested by dimension")
    return table


Options = Mapping[str, OptionValue]
"""Some fields of a clip, each with a value."""

Number = Annotated[
    Decimal,
    Written(written_decimal, lambda _: {"type": "string", "pattern": r"^[0-9]*\.?[0-9]+$"}),
]
Instant = Annotated[
    datetime,
    Written(
        instant_of,
        lambda _: {
            "anyOf": [
                {"type": "string", "format": "date"},
                {"type": "string", "format": "date-time"},
            ]
        },
    ),
]
Address = Annotated[str, Written(_https)]
Length = Annotated[int, Limits(strict=True, ge=1, le=LONGEST_S)]
Flag = Annotated[bool, Limits(strict=True)]
Word = Annotated[str, Limits(min_length=1)]
ClipOptions = Annotated[dict[str, bool | int | str], Written(_clip_options)]
SomeOptions = Annotated[dict[str, bool | int | str], Limits(min_length=1), Written(_clip_options)]
PriceTable = Annotated[
    Any,
    Written(
        _table,
        lambda _: {
            "anyOf": [{"type": "object", "additionalProperties": True}, {"type": "string"}],
            "description": "numbers in quotes, nested by dimension",
        },
    ),
]
