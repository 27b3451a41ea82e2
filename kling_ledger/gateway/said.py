"""Said: why the gateway refused, in words that pages, logs and spans may show to others.

An error of a body quotes what it was given, and that may be a prompt, a picture or an address of
the caller's own. Here it is told without: where in the body, and what is allowed there.
"""

from __future__ import annotations

from typing import Final

from kling_ledger.errors import RefusedError
from kling_pricing.errors import (
    MOST_TOLD,
    AmountError,
    ClipError,
    KlingError,
    NoPriceError,
    RequestError,
    cut,
    on_one_line,
)
from kling_pricing.money import Money

_LONGEST: Final = 500
"""How many characters of a reason are told; a name of a field may be of any length."""
_LONGEST_WORD: Final = 120


def reason(refusal: KlingError) -> str:
    """Say in one line of printable characters why a request was refused."""
    return cut(on_one_line(_reason(refusal)), _LONGEST)


def hint(refusal: KlingError) -> str | None:
    """Say what would be admitted, or who can change it; only where the limits are our own."""
    return refusal.hint if isinstance(refusal, RefusedError) else None


def asked(refusal: KlingError) -> Money | None:
    """Return how much was asked for, where that is what was refused."""
    amounts = (getattr(refusal, name, None) for name in ("asked", "needed", "cost"))
    return next((one for one in amounts if isinstance(one, Money)), None)


def word(given: str | None) -> str | None:
    """Return a name that a caller gave, such as a model's, as one short line."""
    return None if given is None else cut(on_one_line(given), _LONGEST_WORD)


def _reason(refusal: KlingError) -> str:
    if isinstance(refusal, (RequestError, ClipError)):
        told = [
            f"{cut(problem.path, _LONGEST_WORD)}: allowed: {problem.allowed}"
            for problem in refusal.problems[:MOST_TOLD]
        ]
        return "; ".join(told) or refusal.code
    if isinstance(refusal, AmountError):
        return f"not an amount; allowed: {refusal.allowed}"
    if isinstance(refusal, NoPriceError):
        # Without the list of all that has one.
        return f"no price known for {refusal.subject}"
    return refusal.message
