"""Tariff: what a gateway charges, as plain numbers; each gateway has its own table of them.

The numbers are the sandbox's own reading of the sources, never those of our price books: only so
does a rehearsal show where a book is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from kling_ledger.sandbox.bodies import Asked
from kling_ledger.sandbox.replies import ApiError
from kling_pricing.money import Money, round_to

Sold = tuple[str, str]
"""A model and an action."""

Cells = Mapping[tuple[str, ...], Decimal]


@dataclass(frozen=True, slots=True)
class Price:
    """What one model costs a second, or a request where no seconds are billed.

    `keys` are the fields that it hangs on, in the order in which a cell names their words; without
    keys the one cell is `()`. A cell that is not there is a combination that is not sold.
    """

    cells: Cells
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tariff:
    """All prices of one gateway, in its own unit, of which a dollar buys `per_usd`."""

    unit: str
    per_usd: Decimal
    prices: Mapping[Sold, Price]

    def charge(self, asked: Asked) -> Money:
        """Return what a clip costs; 422 as for an unknown model where nobody names a price."""
        price = self.prices.get((asked.model, asked.action))
        cell = tuple(asked.words.get(key, "") for key in price.keys) if price else ()
        if price is None or cell not in price.cells:
            said = " ".join([asked.action, *cell])
            raise ApiError(
                422, f"{asked.model!a} is not available for {said}", code="model_not_available"
            )
        seconds = 1 if asked.seconds is None else asked.seconds
        return Money(price.cells[cell] * seconds, self.unit)

    def bought(self, usd: Money) -> Money:
        """Return what an amount of dollars buys here."""
        return Money(round_to(usd.amount * self.per_usd), self.unit)

    def extended(self, prices: Mapping[Sold, Price]) -> Tariff:
        """Return the tariff with other prices over its own."""
        return replace(self, prices={**self.prices, **prices})


def flat(amount: str) -> Price:
    """Return the price of what costs the same however it is made."""
    return Price({(): Decimal(amount)})


def by(*keys: str, **amounts: str) -> Price:
    """Return a price that hangs on fields: `by("quality", "sound", **{"720p off": "5.4"})`."""
    cells = {tuple(words.split()): Decimal(amount) for words, amount in amounts.items()}
    return Price(cells, keys)
