"""What `plan` and `plan diff` share: takes, failures, ids, and rows without a price."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli import EXIT_NO_PRICE, EXIT_USAGE
from kling_ledger.cli.output import Command, say, say_first
from kling_pricing.counting import counted
from kling_pricing.errors import ClipError, NoPriceError
from kling_pricing.plans.takes import read_failure_rate, read_takes

if TYPE_CHECKING:
    from kling_ledger.manifests.planning import Storyboard, Usual
    from kling_pricing.plans import Plan, Unpriced


_AMOUNT: Final = re.compile(r"\b\d[\d.]* (?=[A-Za-z])")
"""An amount in a note, up to its unit."""


class _Exact(click.ParamType[Fraction]):
    """A number kept exactly as written."""

    def __init__(self, name: str, read: Callable[[object], Fraction]) -> None:
        self.name = name
        self._read = read

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        """Return the number; a usage error for anything else."""
        if isinstance(value, Fraction):
            return value
        try:
            return self._read(value)
        except ClipError as error:
            (problem,) = error.problems
            self.fail(f"got {value}, allowed: {problem.allowed}", param, ctx)


_OPTIONS: Final = (
    click.option(
        "--takes",
        type=_Exact("number", read_takes),
        default="1",
        show_default=True,
        metavar="N",
        help="How many finished takes make one usable clip, for rows without `takes`.",
    ),
    click.option(
        "--failure-rate",
        type=_Exact("share", read_failure_rate),
        default="0",
        show_default=True,
        metavar="SHARE",
        help="The share of submissions that fail, such as 0.1, 10% or 1/10, for rows without"
        " `failure_rate`.",
    ),
    click.option(
        "--id-column",
        default="id",
        show_default=True,
        metavar="NAME",
        help="The column that names a row.",
    ),
)


def planning_options(command: Command) -> Command:
    """Add --takes, --failure-rate and --id-column to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def usual(takes: Fraction, failure_rate: Fraction) -> Usual:
    """Return the defaults for rows without their own values."""
    from kling_ledger.manifests.planning import Usual

    return Usual(takes, failure_rate)


def say_misspelt(board: Storyboard) -> None:
    """Warn about unused columns with a name close to a known one."""
    for column, meant in board.misspelt.items():
        say(f"warning: {board.name}: the column {column} is not used; did you mean {meant}?")


def named(place: int, name: str | None) -> str:
    """Return the name of a row: its number, and its own id if it has one."""
    return f"row {place}" if name is None else f"row {place} ({name})"


def say_unpriced(rows: Sequence[Unpriced], *, source: str | None = None) -> None:
    """Print which rows have no price, and why."""
    where = "" if source is None else f"{source}: "
    say_first(
        rows,
        lambda row: f"error: {where}{named(row.wanted.place, row.wanted.id)}: {row.error.message}",
        lambda more: f"error: {where}and {counted(more, 'more row')}",
    )


def unpriced_code(rows: Iterable[Unpriced]) -> int:
    """Return the exit code of rows without a price: bad input comes before a missing price."""
    errors = [row.error for row in rows]
    if not errors:
        return 0
    is_unknown = all(isinstance(error, NoPriceError) for error in errors)
    return EXIT_NO_PRICE if is_unknown else EXIT_USAGE


def notes_of(planned: Plan) -> list[str]:
    """Return the notes on a plan's figures, each once and by provider."""
    notes = (
        f"{row.quote.clip.provider}: {note}"
        for row in planned.clips
        for note in (*row.assumptions, row.quote.rate.note)
        if note
    )
    return list(dict.fromkeys(notes))


def say_notes(notes: Sequence[str]) -> None:
    """Print the notes on the figures to stderr; those that differ in amounts alone, once."""
    alike: dict[str, list[str]] = {}
    for note in notes:
        alike.setdefault(_AMOUNT.sub("", note), []).append(note)
    say_first(
        [
            first if not more else f"{first} (so for {len(more)} more of these prices)"
            for first, *more in alike.values()
        ],
        lambda note: f"note: {note}",
        lambda more: f"note: and {more} more notes; --format json has all",
    )
