"""Said: why the gateway refused, in words that pages, logs and spans can show to others.

An error about a body quotes its value, which may be a caller's prompt, image or address. Here that
is left out: only the place in the body and the allowed values remain.
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
"""How many characters of a reason are shown; field names may have any length."""
_LONGEST_WORD: Final = 120


def reason(refusal: KlingError) -> str:
    """Return in one line of printable characters why a request was refused."""
    return cut(on_one_line(_reason(refusal)), _LONGEST)


def hint(refusal: KlingError) -> str | None:
    """Return what would be admitted, or who can change it; only for our own limits."""
    return refusal.hint if isinstance(refusal, RefusedError) else None


def asked(refusal: KlingError) -> Money | None:
    """Return the requested amount, if that was the reason."""
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
        # Without the list of everything that has a price.
        return f"no price known for {refusal.subject}"
    return refusal.message
