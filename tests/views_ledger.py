"""A ledger for the views: eventful, with budgets and jobs of which more or less is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kling_ledger.ledger import Ledger, Scope
from kling_pricing.money import Money
from tests.export_ledger import EVENTFUL, ledger_of
from tests.ledgers import usd, write


@contextmanager
def viewed(url: str) -> Iterator[Ledger]:
    """The eventful ledger with three budgets, one without a window, one that never begins anew."""
    with ledger_of(url, EVENTFUL) as (ledger, clock):
        ledger.budgets.set("month", usd("50"), scope=Scope(wallet="team"), window="month")
        ledger.budgets.set("all", usd("9"), scope=Scope(label="team=ads"), mode="warn")
        ledger.budgets.set("unused", usd("0.5"), scope=Scope(project="none/"), window="day")
        # A moment that shows whether microseconds are exact, and leading zeros kept.
        clock.forward(microseconds=40_007)
        made = [
            ledger.reserve("team", Money.from_micro(1_000_001 + number, "USD"), labels=labels).id
            for number, labels in enumerate([{"team": "a/b+c:d@e"}, {"team": "ads", "z": "1"}, {}])
        ]
        known = ("quoted_micro = 900000", "estimated_micro = 800000", "provider_held_micro = 5")
        for one, told in zip(made, known, strict=True):
            write(ledger, f"UPDATE reservation SET {told} WHERE id = '{one}'")
        yield ledger
