"""What a documented body may say, as data: one check per field, every problem found at once.

A check takes a JSON path and a value and returns the problems. `null` counts as not given in a
field that is not required, even in an unknown one, because clients write out every field that they
have. Beyond that, types are never converted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from kling_pricing.clip import Clip
from kling_pricing.errors import MISSING, Problem, RequestError

Body = Mapping[str, Any]
"""A request body, or a table inside one, as parsed from JSON."""


MOST_PARTS: Final = 1_000
"""The most parts that a list or an object in a body may have; no documented one comes near."""


@dataclass(frozen=True)
class UnknownField(Problem):
    """An undocumented field; `documented` are the names that its table documents."""

    name: str
    documented: tuple[str, ...]


class Check(Protocol):
    """What a value may be, and the text that says so."""

    @property
    def allowed(self) -> str:
        """The text that an error shows."""

    def problems(self, path: str, value: object) -> Iterator[Problem]:
        """Return every problem of a value at a JSON path."""


@dataclass(frozen=True, slots=True)
class Value:
    """A check of a value that has no parts."""

    allowed: str
    allows: Callable[[Any], bool]

    def problems(self, path: str, value: object) -> Iterator[Problem]:
        """Return a problem if the value is not allowed."""
        if not self.allows(value):
            yield Problem(path, value, self.allowed)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A check of a list: its number of items, inclusive, and what each may be."""

    each: Check
    allowed: str
    at_least: int = 0
    at_most: int | None = None

    def problems(self, path: str, value: object) -> Iterator[Problem]:
        """Return the problems of the list, then those of each item."""
        if (too_many := _too_many(path, value)) is not None:
            yield too_many
            return
        if not isinstance(value, list) or not self._holds(len(value)):
            yield Problem(path, value, self.allowed)
        if isinstance(value, list):
            for position, item in enumerate(value):
                yield from self.each.problems(f"{path}[{position}]", item)

    def _holds(self, count: int) -> bool:
        return self.at_least <= count and (self.at_most is None or count <= self.at_most)


@dataclass(frozen=True, slots=True)
class Table:
    """A check of an object: its documented fields, and which are required or forbidden.

    `forbidden` maps a documented field that must not be sent to the reason.
    """

    fields: Mapping[str, Check]
    required: frozenset[str] = frozenset()
    forbidden: Mapping[str, str] | None = None
    allowed: str = "an object"

    def problems(self, path: str, value: object) -> Iterator[Problem]:
        """Return the problems of the object's fields, and which fields are missing or unknown."""
        if not isinstance(value, dict):
            yield Problem(path, value, self.allowed)
            return
        if (too_many := _too_many(path, value)) is not None:
            yield too_many
            return
        for name, inner in value.items():
            yield from self._field(at(path, name), name, inner)
        for name, check in self.fields.items():
            if name in self.required and name not in value:
                yield Problem(at(path, name), MISSING, check.allowed)

    def _field(self, path: str, name: str, value: object) -> Iterator[Problem]:
        check = self.fields.get(name)
        if check is not None:
            if value is not None or name in self.required:
                yield from check.problems(path, value)
        elif self.forbidden and name in self.forbidden:
            if value is not None:
                yield Problem(path, value, self.forbidden[name])
        elif value is not None:
            said = f"no such field; documented: {', '.join(self.fields)}"
            yield UnknownField(path, value, said, str(name), tuple(self.fields))


def _too_many(path: str, value: object) -> Problem | None:
    """Report a list or an object with so many parts that none of them is checked."""
    if not isinstance(value, (list, dict)) or len(value) <= MOST_PARTS:
        return None
    return Problem(path or "$", f"{len(value):,} of them", f"at most {MOST_PARTS:,}")


def at(path: str, name: str) -> str:
    """Return the JSON path of a field."""
    return f"{path}.{name}" if path else str(name)


_OFFICIAL: Final = "model_name is a field of Kling's own API, whose bodies no gateway here takes"


def refuse_if_any(problems: Iterable[Problem]) -> None:
    """Raise RequestError with every problem, each place and reason once."""
    found: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        found.setdefault((problem.path, problem.allowed), problem)
    if found:
        raise RequestError(list(found.values()))


def known_model(body: Body, example: str) -> str:
    """Return the body's model, or raise RequestError if it is not a name."""
    model = body.get("model", MISSING)
    if not isinstance(model, str):
        is_official = model is MISSING and "model_name" in body
        problem = Problem("model", model, f"the id of a model, such as {example}")
        raise RequestError([problem], hint=_OFFICIAL if is_official else None)
    return model


# --- values -----------------------------------------------------------------------------------


def is_whole(value: object) -> bool:
    """Whether a value is a whole number: not true, not 5.0."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_said(value: object) -> bool:
    """Whether a value was given: not null, not empty, not only blanks."""
    return value is not None and (not isinstance(value, str) or value.strip() != "")


def one_of(*allowed: object, note: str = "") -> Value:
    """Check that a value is one of a few, of the same type."""
    # Types are compared too: True == 1 and 5.0 == 5, but a provider does not mix them up.
    pairs = {(type(value), value) for value in allowed}
    words = ", ".join(
        str(value).lower() if value in (True, False) else str(value) for value in allowed
    )
    return Value(words + note, lambda value: _is_plain(value) and (type(value), value) in pairs)


def whole(low: int, high: int, note: str = "") -> Value:
    """Check a whole number between two limits, inclusive."""
    return Value(
        f"whole seconds, {low} to {high}{note}",
        lambda value: is_whole(value) and low <= value <= high,
    )


def number(low: float, high: float) -> Value:
    """Check a number between two limits, inclusive."""
    return Value(
        f"a number, {low} to {high}",
        lambda value: _is_number(value) and low <= value <= high,
    )


def text(most: int | None = None, *, empty: bool = True) -> Value:
    """Check a text of at most `longest` characters."""
    least = "" if empty else ", not empty"
    limit = f" of at most {most} characters" if most else ""
    return Value(
        f"a text{limit}{least}",
        lambda value: (
            isinstance(value, str)
            and (most is None or len(value) <= most)
            and (empty or is_said(value))
        ),
    )


FLAG: Final = Value("true or false", lambda value: isinstance(value, bool))
ANY_TEXT: Final = text()
TEXT: Final = text(empty=False)
ADDRESS: Final = Value("an address", lambda value: isinstance(value, str) and is_said(value))
WHOLE: Final = Value("a whole number", is_whole)
RATIO: Final = one_of("16:9", "9:16", "1:1")


def addresses(at_least: int, at_most: int) -> ListOf:
    """Check a list of addresses between two counts, inclusive."""
    count = str(at_least) if at_least == at_most else f"{at_least} to {at_most}"
    return ListOf(
        ADDRESS, f"a list of {count} address{'' if at_most == 1 else 'es'}", at_least, at_most
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int, float, bool))


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) if isinstance(value, float) else True


# --- between fields ---------------------------------------------------------------------------


def part(body: object, name: str) -> dict[str, Any]:
    """Return a table inside a body; an empty one if there is no table there."""
    inner = body.get(name) if isinstance(body, dict) else None
    return inner if isinstance(inner, dict) else {}


def items(body: Body, name: str) -> list[Any]:
    """Return a list inside a body; an empty one if there is no list there."""
    inner = body.get(name)
    return inner if isinstance(inner, list) else []


def needed(body: Body, name: str, path: str, why: str) -> Iterator[Problem]:
    """Report a field that another one requires but that is not given."""
    value = body.get(name)
    if not is_said(value) or value == []:
        yield Problem(path, value if name in body else MISSING, why)


def sum_problems(
    shots: Iterable[object], seconds: object, path: str, read: Callable[[object], int | None]
) -> Iterator[Problem]:
    """Report shots whose lengths do not add up to the clip's; nothing if one is not a length."""
    lengths = [read(shot) for shot in shots]
    # An invalid length is reported where it stands; reporting the sum would only repeat that.
    if not lengths or None in lengths or not is_whole(seconds):
        return
    total = sum(length for length in lengths if length is not None)
    if total != seconds:
        yield Problem(
            path, f"{total} seconds in all", f"shots that add up to the duration, {seconds} seconds"
        )


def length_in(name: str) -> Callable[[object], int | None]:
    """Return a reader of a shot's whole seconds, which gives None for an invalid length."""

    def read(shot: object) -> int | None:
        value = shot.get(name) if isinstance(shot, dict) else None
        return value if isinstance(value, int) and is_whole(value) and 0 < value < 1000 else None

    return read


def reread(clip: Clip, action: str | None) -> Clip:
    """Return the clip that a body asks for; RequestError if the caller gave another action."""
    if action not in {None, clip.action}:
        raise RequestError([Problem("$", f"action {action}", f"a body asking for {clip.action}")])
    return clip
