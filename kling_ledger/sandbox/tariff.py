"""Tariff: what a gateway charges, as plain numbers; each gateway has its own table.

The numbers are the sandbox's own reading of the sources, never those of our price books: otherwise
a rehearsal could not show that a book is wrong.
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
    """What one model costs per second, or per request if no seconds are billed.

    `keys` are the fields that it depends on, in the order of the words in a cell; without keys, the
    only cell is `()`. A missing cell is a combination that is not sold.
    """

    cells: Cells
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tariff:
    """All prices of one gateway, in its own unit; a dollar buys `per_usd` of it."""

    unit: str
    per_usd: Decimal
    prices: Mapping[Sold, Price]

    def charge(self, asked: Asked) -> Money:
        """Return what a clip costs; 422, as for an unknown model, if it has no price."""
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
        """Return the units that an amount of dollars buys."""
        return Money(round_to(usd.amount * self.per_usd), self.unit)

    def extended(self, prices: Mapping[Sold, Price]) -> Tariff:
        """Return the tariff with other prices overriding its own."""
        return replace(self, prices={**self.prices, **prices})


def flat(amount: str) -> Price:
    """Return a price that is the same for every option."""
    return Price({(): Decimal(amount)})


def by(*keys: str, **amounts: str) -> Price:
    """Return a price that depends on fields: `by("quality", "sound", **{"720p off": "5.4"})`."""
    cells = {tuple(words.split()): Decimal(amount) for words, amount in amounts.items()}
    return Price(cells, keys)
