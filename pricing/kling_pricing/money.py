"""Money: an exact amount and its unit. The only place that rounds.

An amount is a `Decimal` at every edge and an integer of millionths in the database. A float is
never accepted, because it does not hold exactly what was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    Inexact,
)
from functools import lru_cache
from typing import Final, Literal

from kling_pricing.errors import AmountError

MICRO_PER_UNIT: Final = 1_000_000
"""Millionths in one unit: the finest amount that the ledger can hold."""

MAX_MICRO: Final = 2**53 - 1
"""The largest amount in millionths: above it, JSON readers that use doubles lose digits."""

USD: Final = "USD"
_CURRENCIES: Final = frozenset({USD, "CNY", "EUR", "GBP", "JPY"})

RoundingMode = Literal["half_up", "half_even", "up", "down"]

_ROUNDING: Final[dict[RoundingMode, str]] = {
    "half_up": ROUND_HALF_UP,
    "half_even": ROUND_HALF_EVEN,
    "up": ROUND_CEILING,
    "down": ROUND_DOWN,
}
_MILLIONTH: Final = Decimal("0.000001")
# Sixty digits: any product of two amounts is exact, whatever the caller's own decimal context.
_EXACT: Final = Context(prec=60)
_NO_LOSS: Final = Context(prec=60, traps=[Inexact])
_SIX_DECIMALS: Final = "at most six decimals"
_UNIT: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,31}")
# Compiled on first use: a quote from bundled books needs neither.
_NUMBER: Final = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
# Commas group thousands only if three digits follow each, and the number does not start with zero.
_WRITTEN: Final = (
    r"\s*([+-]?)(\$?)((?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
    r"\s*((?![eE][0-9])[A-Za-z][A-Za-z0-9-]*)?\s*"
)


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An exact amount and what it counts, for example `Money(Decimal("0.675"), "USD")`.

    Raises AmountError for a float, NaN, infinity, more than six decimals or 2**53 millionths.
    Amounts of different units never add or compare. `str` writes the exact amount; a format of two
    decimals, `f"{money:,.2f}"`, writes it for people, rounded half up.
    """

    amount: Decimal
    unit: str

    def __post_init__(self) -> None:
        to_micro(self.amount)
        if not _is_unit(str(self.unit)):
            raise AmountError("unit", got=self.unit, allowed="a name such as USD or crun-credit")

    @classmethod
    def parse(cls, text: str, *, default_unit: str | None = None) -> Money:
        """Read `"10 USD"`, `"10usd"`, `"$10"`, `"1,000 USD"`, or `"10"` with a `default_unit`.

        Letter case is ignored for currencies and for `default_unit`.
        """
        match = re.fullmatch(_WRITTEN, text)
        unit = _unit_of(match[2], match[4], default_unit) if match else None
        if match is None or unit is None:
            raise AmountError("amount", got=text, allowed='an amount and its unit, as in "10 USD"')
        return cls(Decimal(match[1] + match[3].replace(",", "")), unit)

    @classmethod
    def from_micro(cls, micro: int, unit: str) -> Money:
        """Return the money that an integer of millionths stands for."""
        # Millionths of a known unit need no check: reports and refusals make many of them.
        if type(micro) is int and -MAX_MICRO <= micro <= MAX_MICRO and _is_unit(str(unit)):
            return cls.exact(from_micro(micro), unit)
        return cls(from_micro(micro), unit)

    @classmethod
    def exact(cls, amount: Decimal, unit: str) -> Money:
        """Return money from an amount and unit that a price book's reader has checked."""
        money = object.__new__(cls)
        object.__setattr__(money, "amount", amount)
        object.__setattr__(money, "unit", unit)
        return money

    @classmethod
    def zero(cls, unit: str) -> Money:
        """Return an amount of zero in a unit."""
        return cls(Decimal(0), unit)

    @classmethod
    def total(cls, moneys: Iterable[Money], *, unit: str) -> Money:
        """Return the sum of any number of amounts in a unit; zero if there are none.

        `sum()` works too, but returns 0 without a unit if there are none.
        """
        return sum(moneys, start=cls.zero(unit))

    @classmethod
    def by_unit(cls, moneys: Iterable[Money]) -> dict[str, Money]:
        """Return the sum of the amounts in each unit."""
        sums: dict[str, Money] = {}
        for one in moneys:
            sums[one.unit] = sums[one.unit] + one if one.unit in sums else one
        return sums

    @property
    def micro(self) -> int:
        """The amount in millionths of the unit."""
        return int(_EXACT.scaleb(self.amount, 6))

    def __add__(self, other: Money) -> Money:
        return Money.from_micro(self.micro + self._same_unit(other).micro, self.unit)

    def __radd__(self, other: object) -> Money:
        # sum() starts from 0. Other numbers have no unit and cannot be added.
        if type(other) is not int or other != 0:
            raise AmountError("amount", got=other, allowed=f"money in {self.unit}")
        return self

    def __sub__(self, other: Money) -> Money:
        return Money.from_micro(self.micro - self._same_unit(other).micro, self.unit)

    def __mul__(self, factor: int | Decimal) -> Money:
        if isinstance(factor, bool) or not isinstance(factor, (int, Decimal)):
            raise AmountError("factor", got=factor, allowed="an int or a Decimal, never a float")
        try:
            product = _NO_LOSS.multiply(self.amount, Decimal(factor))
        except Inexact:
            raise AmountError("factor", got=factor, allowed=_SIX_DECIMALS) from None
        return Money(product, self.unit)

    __rmul__ = __mul__

    def __lt__(self, other: Money) -> bool:
        return self.amount < self._same_unit(other).amount

    def __le__(self, other: Money) -> bool:
        return self.amount <= self._same_unit(other).amount

    def __gt__(self, other: Money) -> bool:
        return self.amount > self._same_unit(other).amount

    def __ge__(self, other: Money) -> bool:
        return self.amount >= self._same_unit(other).amount

    def __str__(self) -> str:
        return f"{plain(self.amount)} {self.unit}"

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        decimals = re.fullmatch(r",?\.([0-6])f", spec)
        if decimals is None:
            raise ValueError(f"{spec!r} writes no money: use .2f or ,.2f, of up to 6 decimals")
        rounded = round_to(self.amount, Decimal(1).scaleb(-int(decimals[1])))
        # Add zero: a small negative amount would otherwise be written as -0.00.
        return f"{rounded + 0:{spec}} {self.unit}"

    def _same_unit(self, other: Money) -> Money:
        if not isinstance(other, Money):
            raise AmountError("amount", got=other, allowed=f"money in {self.unit}")
        if other.unit != self.unit:
            raise AmountError("unit", got=other.unit, allowed=self.unit)
        return other


@lru_cache(maxsize=256)
def _is_unit(name: str) -> bool:
    return _UNIT.fullmatch(name) is not None


def _unit_of(sign: str, written: str | None, default: str | None) -> str | None:
    """Return the unit that is meant; None if there is none or there are two."""
    if written is None:
        return USD if sign else default
    # `1 usd` can only mean the currency.
    unit = written.upper() if written.upper() in _CURRENCIES else written
    if default is not None and unit.casefold() == default.casefold():
        unit = default
    return None if sign and unit != USD else unit


def to_micro(amount: Decimal) -> int:
    """Return an amount in millionths; it must be a finite Decimal that they hold exactly."""
    if not isinstance(amount, Decimal):
        raise AmountError("amount", got=amount, allowed="a Decimal, never a float")
    if not amount.is_finite():
        raise AmountError("amount", got=str(amount), allowed="a finite number")
    # Before multiplying: 1e999999 written out has a million digits.
    if amount.adjusted() > 20:
        largest = plain(from_micro(MAX_MICRO))
        raise AmountError("amount", got=str(amount), allowed=f"at most {largest}")
    try:
        scaled = _NO_LOSS.multiply(amount, MICRO_PER_UNIT)
    # Digits beyond the sixtieth: the product below would have silently dropped them.
    except Inexact:
        raise AmountError("amount", got=str(amount), allowed=_SIX_DECIMALS) from None
    if abs(scaled) > MAX_MICRO:
        largest = plain(from_micro(MAX_MICRO))
        raise AmountError("amount", got=str(amount), allowed=f"at most {largest}")
    micro = int(scaled)
    if micro != scaled:
        raise AmountError("amount", got=str(amount), allowed=_SIX_DECIMALS)
    return micro


def from_micro(micro: int) -> Decimal:
    """Return millionths as an exact Decimal."""
    return _EXACT.scaleb(Decimal(micro), -6)


def round_to(
    amount: Decimal, quantum: Decimal = _MILLIONTH, mode: RoundingMode = "half_up"
) -> Decimal:
    """Round an amount to a multiple of a quantum (by default a millionth, the ledger's own).

    `up` is towards positive infinity, `down` towards zero.
    """
    # Counted in quanta, because a quantum need not be a power of ten: 0.05, or 2.5 credits.
    steps = _EXACT.divide(amount, quantum).to_integral_value(rounding=_ROUNDING[mode])
    return _EXACT.multiply(steps, quantum)


def read_decimal(value: object) -> Decimal:
    """Read a number that an outside party wrote: an int, a Decimal, or a JSON float or string.

    A JSON float is read by its shortest decimal form, which is what was sent: 0.675 is 0.675.
    Raises AmountError for anything else, and for NaN and infinity.
    """
    if isinstance(value, (float, str)):
        written = str(value).strip()
        if re.fullmatch(_NUMBER, written):
            return Decimal(written)
    elif isinstance(value, Decimal) and value.is_finite():
        return value
    elif isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise AmountError("amount", got=value, allowed="a finite number")


def plain_or_none(money: Money | None) -> str | None:
    """Write an amount without its unit, None if unknown."""
    return None if money is None else plain(money.amount)


def plain(amount: Decimal) -> str:
    """Write a Decimal without exponent or trailing zeros: `7.1982`, `27`, `0`."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
