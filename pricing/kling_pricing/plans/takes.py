"""Takes and failure rates, as people and programs write them: exact numbers, never floats."""

from __future__ import annotations

import re
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

from kling_pricing.errors import AmountError, ClipError, Problem
from kling_pricing.money import plain, read_decimal

TAKES: Final = "takes"
FAILURE_RATE: Final = "failure_rate"
TAKES_WORDS: Final = "a number from 1 to 1000000, such as 3, 2.5 or 5/2"
RATE_WORDS: Final = "a share from 0 to below 1, such as 0.1, 10% or 1/10"

_EXACT: Final = Context(prec=60)
_MOST_TAKES: Final = 1_000_000
# A longer number is a mistake, and every sum would carry its digits.
_NUMBER: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}")
_FRACTION: Final = re.compile(r"([0-9]{1,9})\s*/\s*([0-9]{1,9})")


def read_takes(value: object) -> Fraction:
    """Read how many takes make one accepted clip; ClipError unless it is a number from 1."""
    takes = _number(value)
    if takes is None or not 1 <= takes <= _MOST_TAKES:
        raise ClipError([Problem(TAKES, value, TAKES_WORDS)])
    return takes


def read_failure_rate(value: object) -> Fraction:
    """Read the share of submissions that fail; ClipError unless it is from 0 to below 1."""
    text = value.strip() if isinstance(value, str) else value
    is_percent = isinstance(text, str) and text.endswith("%")
    rate = _number(text[:-1].rstrip() if is_percent else text)  # type: ignore[index]
    rate = rate / 100 if rate is not None and is_percent else rate
    if rate is None or not 0 <= rate < 1:
        raise ClipError([Problem(FAILURE_RATE, value, RATE_WORDS)])
    return rate


def number_in_words(number: Fraction) -> str:
    """Write a number exactly: `3`, `2.5`, or as a fraction if its decimals never end."""
    rest = number.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return str(number)
    return plain(_EXACT.divide(Decimal(number.numerator), Decimal(number.denominator)))


def _number(value: object) -> Fraction | None:
    """Return the exact number that a value spells; None if it is not a number."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str):
        ratio = _FRACTION.fullmatch(text)
        if ratio is not None:
            return Fraction(int(ratio[1]), int(ratio[2])) if int(ratio[2]) else None
        return Fraction(text) if _NUMBER.fullmatch(text) else None
    try:
        read = read_decimal(text)
    except AmountError:
        return None
    # 1e999999 would have a million digits as a fraction.
    return Fraction(read) if abs(read.adjusted()) <= 12 else None
