"""Costs: the most that a kling-ledger call would reserve, and whether a person must be asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kling_ledger.agents.hooks.verdicts import LEAVE, Verdict, ask
from kling_pricing.errors import AmountError, KlingError
from kling_pricing.gateways import read_request
from kling_pricing.library import Library
from kling_pricing.money import Money


@dataclass(frozen=True, slots=True)
class AskAbove:
    """The amount above which a person is asked, and the price books and instant for pricing."""

    most: Money | None
    library: Library
    at: datetime

    def of_ceiling(self, written: str | None) -> Verdict | None:
        """Check a call by its own ceiling; None if that decides nothing."""
        if self.most is None:
            return LEAVE
        try:
            # A bare number is in the wallet's unit, which is unknown here.
            is_below = written is not None and _is_at_most(Money.parse(written), self.most)
        except AmountError:
            return None
        return LEAVE if is_below else None

    def of_body(self, provider: str, body: dict[str, Any], action: str | None) -> Verdict:
        """Judge a provider's own body by what a reservation for it would hold."""
        if self.most is None:
            return LEAVE
        try:
            request = read_request(provider, body, action=action)
            quoted = request.quote(at=self.at, book=self.library.book(provider))
        except KlingError as error:
            return ask(f"the cost of this job is unknown before it runs: {error.message}")
        hold = quoted.hold
        counted = hold if hold.unit == self.most.unit else quoted.in_usd(hold.amount)
        if counted is None or counted.unit != self.most.unit:
            return ask(f"this job would hold {hold}; its value in {self.most.unit} is unknown")
        if counted <= self.most:
            return LEAVE
        return ask(f"this job would hold {hold}, above the {self.most} allowed without approval")


def _is_at_most(money: Money, most: Money) -> bool:
    return money.unit == most.unit and money <= most
