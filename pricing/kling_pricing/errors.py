"""The root of all our errors, and the family that pricing raises.

KlingError
├── PricingError
│   ├── AmountError        an amount that cannot be money, or units that do not meet
│   ├── BookError          a price book that says something it must not
│   ├── ClipError          a clip that no provider could make, or that is not said in full
│   ├── RequestError       a request body that the provider would refuse
│   └── NoPriceError       nothing is known that prices this clip: never zero, never a guess
└── (the families of the other rooms: see kling_ledger.errors)

Each class builds its own sentence from its facts; callers pass facts and never format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Final


class KlingError(Exception):
    """Every error that this project raises on purpose.

    `code` is stable and for programs, the message is one sentence for people, `hint` is the next
    step, and `retryable` says whether the same call, unchanged, may succeed later.
    """

    code: ClassVar[str] = "error"
    retryable: bool = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = on_one_line(message)
        super().__init__(self.message)
        self.hint = hint
        if hint is not None:
            # A traceback shows it below the message: that is all the advice a script gets.
            self.add_note(f"hint: {hint}")


MOST_TOLD: Final = 20
"""The most problems that are listed one by one."""


class PricingError(KlingError):
    """An error of pricing: it comes before any money moves."""

    code = "pricing"


class AmountError(PricingError):
    """A value that is not an amount of money, or two amounts in different units."""

    code = "amount"

    def __init__(self, problem: str, *, got: object, allowed: str) -> None:
        super().__init__(f"{problem}: got {_shown(got)}, allowed: {allowed}")
        self.got = got
        self.allowed = allowed


class BookError(PricingError):
    """A price book that cannot be trusted: `key` is the path inside the file."""

    code = "book"

    def __init__(self, book: str, key: str, problem: str) -> None:
        super().__init__(f"{book}: {key}: {problem}" if key else f"{book}: {problem}")
        self.book = book
        self.key = key
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input: where, what it got, what is allowed."""

    path: str
    got: object
    allowed: str

    def __str__(self) -> str:
        return on_one_line(f"{self.path}: got {_shown(self.got)}, allowed: {self.allowed}")


class Missing:
    """Stands in `Problem.got` for a required value that is missing."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()


class _InputError(PricingError):
    """Invalid input with all its problems, one per place; the message shows the first twenty."""

    subject: ClassVar[str]

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        told = [str(problem) for problem in problems[:MOST_TOLD]]
        more = len(problems) - len(told)
        super().__init__("; ".join([*told, f"and {more:,} more"] if more else told), hint=hint)
        self.problems = tuple(problems)


class ClipError(_InputError):
    """A clip with an impossible value, or without one that its price depends on."""

    code = "clip"


class RequestError(_InputError):
    """A request body that the provider would refuse; the paths are JSON paths in the body."""

    code = "request"


class NoPriceError(PricingError):
    """No price is known for this clip at this instant."""

    code = "no_price"

    def __init__(self, subject: str, *, known: Sequence[str] = (), hint: str | None = None) -> None:
        listed = f"; known: {', '.join(known)}" if known else ""
        super().__init__(f"no price known for {cut(subject, _LONGEST)}{listed}", hint=hint)
        self.subject = subject
        self.known = tuple(known)


_LONGEST: Final = 300
"""The most characters of an unpriced subject that an error shows: its name may be anything."""


def on_one_line(text: str) -> str:
    """Return a text with unprintable characters written as escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _shown(value: object) -> str:
    """Return a value as JSON, so that its author recognises it, cut to fit one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"a number of about {value.bit_length() * 3 // 10} digits"
    if isinstance(value, Decimal):
        return str(value)
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    text = text.encode("utf-8", "backslashreplace").decode()
    return cut(text, 60)


def reason_of(error: Exception) -> str:
    """Explain why text could not be parsed, without terms of Python."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    # Python's own message names a setting of the interpreter.
    return "a number has thousands of digits" if "int_max_str_digits" in str(error) else str(error)


def cut(text: str, most: int) -> str:
    """Return at most `length` characters of a text, with a mark where it was cut."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
