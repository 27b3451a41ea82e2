"""What the ledger's tests share: amounts, and a whole database before and after."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal

from kling_ledger.ledger import Ledger
from kling_pricing.money import Money


def usd(amount: str) -> Money:
    """An amount in US dollars."""
    return Money(Decimal(amount), "USD")


def dump(ledger: Ledger) -> list[str]:
    """Everything in the ledger's file, table by table."""
    with closing(sqlite3.connect(ledger.database.url.removeprefix("sqlite:///"))) as connection:
        return list(connection.iterdump())


@contextmanager
def unchanged(ledger: Ledger) -> Iterator[None]:
    """Everything in the file is byte for byte what it was."""
    before = dump(ledger)
    yield
    assert dump(ledger) == before
