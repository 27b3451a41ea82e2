"""What commands read: files and standard input, future instants, labels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, BinaryIO, Final

import click

from kling_ledger.cli.clip_options import Instant
from kling_ledger.cli.output import Command
from kling_pricing.errors import Problem, RequestError

_SPAN: Final = r"([0-9]{1,5})([mhdw])"
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Wait(click.FloatRange):
    """How long to wait, in seconds: `30` or `30s`, also `5m` or `1h`."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds; a usage error for anything else."""
        written = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]*)?)\s*([smh])", str(value).strip().lower())
        seconds = value if written is None else float(written[1]) * _UNIT_S[written[2]]
        found = float(super().convert(seconds, param, ctx))
        if math.isnan(found):
            self.fail(f"got {value}, allowed: seconds, such as 30 or 5m", param, ctx)
        return found


class Span(click.ParamType[timedelta]):
    """A duration in minutes, hours, days or weeks, as in `30m`, `2h`, `3d`, `1w`."""

    name = "span"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return the duration; a usage error for anything else."""
        span = re.fullmatch(_SPAN, str(value))
        if span is None or int(span[1]) == 0:
            self.fail(f"got {value}, allowed: a duration, such as 30m, 2h, 3d or 1w", param, ctx)
        return timedelta(seconds=int(span[1]) * _UNIT_S[span[2]])


class When(Instant):
    """An ISO 8601 instant, in UTC unless it says otherwise, or a duration from now: `2h`, `3d`."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the instant in UTC; a usage error for anything else."""
        if not re.fullmatch(_SPAN, str(value)):
            return super().convert(value, param, ctx)
        return datetime.now(UTC) + Span().convert(value, param, ctx)


def label_option(command: Command) -> Command:
    """Add `--label NAME=VALUE` to a command; the labels reach it as `labels`."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="NAME=VALUE",
        help="A label for budgets and reports, such as team=a; may be repeated.",
    )(command)


def strict_option(command: Command) -> Command:
    """Add `--strict` to a command that reads a provider's own body."""
    return click.option(
        "--strict",
        is_flag=True,
        help="Refuse fields that the provider does not document, since their cost is unknown."
        " [default: warn and price the rest]",
    )(command)


def key_option(command: Command) -> Command:
    """Add `--key` to a command: a call repeated with its key takes effect once."""
    return click.option("--key", help="Your own id for this call, which makes it safe to repeat.")(
        command
    )


def read_labels(written: Sequence[str]) -> dict[str, str]:
    """Parse the values of `--label`; ConfigError for an invalid or repeated label."""
    from kling_ledger.errors import ConfigError
    from kling_ledger.ledger.labels import read_label

    labels: dict[str, str] = {}
    for name, value in map(read_label, written):
        if labels.setdefault(name, value) != value:
            raise ConfigError(f"label {name} is given twice: {labels[name]} and {value}")
    return labels


def read_text(file: BinaryIO) -> str:
    """Return a file's text; RequestError if it is not UTF-8. A byte order mark is removed."""
    try:
        return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at {error.start}"
        raise RequestError([Problem("$", found, "text in UTF-8")]) from None


def gathered(kind: type[Any], name: str = "options") -> Callable[[Command], Command]:
    """Return a decorator that passes the options matching a dataclass's fields as one value.

    It goes below the options themselves, which are matched by name. A field without an option keeps
    its default.
    """
    names = [field.name for field in fields(kind)]

    def decorate(command: Command) -> Command:
        @wraps(command)
        def call(*args: Any, **given: Any) -> Any:
            value = kind(**{one: given.pop(one) for one in names if one in given})
            return command(*args, **{name: value}, **given)

        return call  # type: ignore[return-value]

    return decorate
