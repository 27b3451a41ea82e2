"""`run --quote`: run only what was quoted, at that price or lower, while the quote is valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kling_ledger.cli.output import say

if TYPE_CHECKING:
    from kling_ledger.jobs.meter import Meter
    from kling_ledger.jobs.saved_quotes import SavedQuote
    from kling_ledger.ledger import Reservation
    from kling_pricing.money import Money


def lower_of(ceiling: Money | None, saved: SavedQuote | None) -> Money | None:
    """Return the lower of the caller's limit and the quote."""
    if saved is None or ceiling is None:
        return ceiling if saved is None else saved.amount
    return min(ceiling, saved.amount)


def reserve(
    meter: Meter, body: dict[str, Any], *, action: str | None, key: str | None, saved: SavedQuote
) -> Reservation:
    """Reserve the current cost of a quoted request, if that is not above its quote.

    A job already started under this key is simply followed. Raises InputChangedError,
    QuoteExpiredError and PriceChangedError before anything is reserved.
    """
    from kling_pricing.gateways import read_request

    request = read_request(meter.provider.name, body, action=action)
    at = meter.clock()
    book = meter.library.book(meter.provider.name)
    is_known = key is not None and bool(meter.ledger.reservations.of_keys([key]))
    saved.check(request, request.quote(at=at, book=book), at=None if is_known else at)
    asked = meter.asked(body, action=action, key=key)
    if not is_known:
        saved.check_price(asked.amount)
        if asked.amount < saved.amount:
            say(f"it now costs {asked.amount}, less than the quoted {saved.amount}")
    return meter.reserve_asked(asked)
