"""Saved quotes that are no longer valid: nothing was reserved and nothing was sent."""

from __future__ import annotations

from datetime import datetime

from kling_ledger.errors.refusals import RefusedError
from kling_pricing.errors import KlingError
from kling_pricing.money import Money


class QuoteExpiredError(RefusedError):
    """A saved quote has expired."""

    code = "quote_expired"

    def __init__(self, quote_id: str, *, expired_at: datetime) -> None:
        super().__init__(
            f"quote {quote_id} expired at {expired_at:%Y-%m-%d %H:%M:%S} UTC",
            hint="make a new quote",
        )
        self.quote_id = quote_id
        self.expired_at = expired_at


class PriceChangedError(RefusedError):
    """A job costs more now than its saved quote says, by the book or by the provider's estimate."""

    code = "price_changed"

    def __init__(self, quote_id: str, *, quoted: Money, now: Money) -> None:
        super().__init__(
            f"quote {quote_id} says {quoted}, but the job now costs {now}", hint="make a new quote"
        )
        self.quote_id = quote_id
        self.quoted = quoted
        self.now = now


class InputChangedError(KlingError):
    """A saved quote is for another request than the one to run; `field` is what differs."""

    code = "input_changed"

    def __init__(self, quote_id: str, *, field: str, quoted: object, given: object) -> None:
        super().__init__(
            f"quote {quote_id} is for {field} {quoted}, not {given}",
            hint="run what was quoted, or make a new quote",
        )
        self.quote_id = quote_id
        self.field = field
        self.quoted = quoted
        self.given = given
